use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use faults::{Acts, ReadSite, Scope, Values};

use super::*;
use crate::verify::{DEADLINE, Reach, reads};

const BEGIN: &str =
    "<!-- rows: begin. UPDATE_DOCS=1 ./pitboss test -p pitboss page_describes_every_row -->\n";
const END: &str = "<!-- rows: end -->\n";
const READS_BEGIN: &str =
    "<!-- reads: begin. UPDATE_DOCS=1 ./pitboss test -p pitboss page_describes_every_row -->\n";
const READS_END: &str = "<!-- reads: end -->\n";

#[test]
fn every_fault_has_its_row() {
    let order: Vec<FaultId> =
        rows().into_iter().filter(|row| row.variant.is_empty()).map(|row| row.fault).collect();
    assert_eq!(order, FaultId::ALL);
}

#[test]
fn every_row_has_its_own_name() {
    let names: BTreeSet<String> = rows().iter().map(Row::name).collect();
    assert_eq!(names.len(), rows().len());
    assert!(names.contains("clock.skew") && names.contains("clock.skew@behind"));
}

/// Otherwise a variant would prove the same again.
#[test]
fn variant_differs_from_the_row_of_its_fault() {
    for variant in rows().iter().filter(|row| !row.variant.is_empty()) {
        let usual = row(variant.fault);
        let differs = variant.params != usual.params
            || variant.reach != usual.reach
            || variant.evidence.to_string() != usual.evidence.to_string();
        assert!(differs, "{}", variant.name());
    }
}

#[test]
fn only_alerts_of_the_fault_are_exempt() {
    for row in rows() {
        for (alert, reason) in row.exempt {
            let name = row.name();
            assert!(row.fault.definition().alerts.contains(alert) && !reason.is_empty(), "{name}: {alert}");
        }
    }
    let waived: usize = rows().iter().map(|row| row.exempt.len()).sum();
    let expected: usize = rows().iter().map(|row| row.expected_alerts().count()).sum();
    assert!(waived * 4 < expected, "{waived} of {}", waived + expected);
}

#[test]
fn params_are_valid() {
    for row in rows() {
        let values = Values::new(row.fault, row.params.iter().copied());
        assert!(values.is_ok(), "{}: {values:?}", row.fault);
        let has_partition = row.fault.definition().params.iter().any(|spec| spec.name == "partition");
        assert!(row.partition_of.is_none() || has_partition, "{}", row.fault);
    }
}

#[test]
fn scope_is_all_traffic_or_one_service() {
    for row in rows() {
        assert!(matches!(row.scope(), Scope::All | Scope::Service(_)), "{}", row.fault);
        row.fault.definition().check_scope(&row.scope()).unwrap();
    }
}

#[test]
fn longer_deadline_has_a_reason() {
    for row in rows() {
        assert_eq!(row.deadline > DEADLINE, !row.deadline_reason.is_empty(), "{}", row.fault);
    }
}

#[test]
fn only_faults_of_the_supervisor_are_waited_for() {
    for row in rows().iter().filter(|row| row.begins != Begins::Armed) {
        assert_eq!(row.fault.definition().acts, Acts::Supervisor, "{}", row.fault);
    }
}

/// Otherwise a phase without a fault could be over before its evidence had the time to hold.
#[test]
fn quiet_phase_lasts_as_long_as_its_signals_need() {
    let seconds = |row: &Row| row.quiet().as_secs();
    assert_eq!(seconds(&row(FaultId::UserUnauthorized)), 5, "spans and issues arrive at once");
    assert_eq!(seconds(&row(FaultId::UserSlowQuery)), 10);
    assert_eq!(seconds(&row(FaultId::PaymentRandomFailure)), 15);
    assert_eq!(seconds(&row(FaultId::GameRtpDrift)), 15);
    assert_eq!(seconds(&row(FaultId::SentryDown)), 15);
    assert_eq!(seconds(&row(FaultId::ConsumerStuck)), 20);
    assert!(rows().iter().all(|row| row.quiet() <= row.deadline));
}

#[test]
fn only_slow_supervisor_faults_prolong_the_work() {
    let lasting: Vec<String> = rows().iter().filter(|row| row.lasts_until_applied).map(Row::name).collect();
    assert_eq!(lasting, ["kafka.broker-restart", "kafka.records-deleted"]);
    for row in rows().iter().filter(|row| row.lasts_until_applied) {
        assert_eq!((row.fault.definition().acts, row.begins), (Acts::Supervisor, Begins::Armed));
    }
}

#[test]
fn quick_run_leaves_few_rows_out() {
    let slow = rows().iter().filter(|row| row.is_slow).count();
    assert!(slow < rows().len() / 4, "{slow}");
}

/// Otherwise the injector would be its own witness.
#[test]
fn evidence_does_not_look_into_the_injector() {
    for row in rows() {
        let words = row.evidence.to_string();
        assert!(!words.contains("flag.") && !words.contains("fault"), "{}: {words}", row.fault);
    }
}

/// Otherwise a row could hold at any time.
#[test]
fn evidence_has_a_signal_that_can_be_missing() {
    let nothing = crate::evidence::Observation::default();
    for row in rows() {
        assert!(row.evidence.find(&nothing).is_none(), "{}", row.fault);
        assert!(!row.evidence.signals().is_empty(), "{}", row.fault);
    }
}

fn table() -> String {
    let mut table =
        "| fault | evidence | alerts | work of each phase | deadline |\n|---|---|---|---|---|\n".to_owned();
    for row in rows() {
        let params: String = row.params.iter().map(|(name, value)| format!(", `{name}={value}`")).collect();
        let seconds = row.deadline.as_secs();
        let reason = row.deadline_reason;
        let because = if reason.is_empty() { String::new() } else { format!(", because {reason}") };
        let (name, evidence, alerts, reach) = (row.name(), &row.evidence, alerts_of(&row), reach_of(&row));
        let work = format!("{}{params}{reach}", row.workload);
        writeln!(table, "| `{name}` | {evidence} | {alerts} | {work} | {seconds} s{because} |").unwrap();
    }
    table
}

/// The alert conditions that have to hold, and those that cannot, with the reason.
fn alerts_of(row: &Row) -> String {
    let expected = row.expected_alerts().map(str::to_owned);
    let exempt = row.exempt.iter().map(|(alert, reason)| format!("not {alert}: {reason}"));
    let all: Vec<String> = expected.chain(exempt).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

fn reach_of(row: &Row) -> String {
    match row.reach {
        Reach::Usual => String::new(),
        Reach::Share(percent) => format!(", for a share of {percent} %"),
        Reach::Player => ", for the first player".to_owned(),
        Reach::Release => ", for the release that runs".to_owned(),
    }
}

/// The reads of every fault that is read more than once: whether its row has to notice each, or why not.
fn reads_table() -> String {
    let mut table = "| read | its row without the read |\n|---|---|\n".to_owned();
    for sites in FaultId::ALL.into_iter().map(ReadSite::all_of).filter(|sites| sites.len() > 1) {
        for site in sites {
            let result = reads::unnoticed(site)
                .map_or("has to be red".to_owned(), |why| format!("is not run, because {why}"));
            writeln!(table, "| `{site}` | {result} |").unwrap();
        }
    }
    table
}

/// The page with this table between the two marks.
fn with_table(page: &str, (begin, end): (&str, &str), table: &str) -> String {
    let (before, rest) = page.split_once(begin).expect("the begin of the table");
    let (_, after) = rest.split_once(end).expect("the end of the table");
    format!("{before}{begin}{table}{end}{after}")
}

#[test]
fn page_describes_every_row() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/EVIDENCE.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let wanted = with_table(&page, (BEGIN, END), &table());
    let wanted = with_table(&wanted, (READS_BEGIN, READS_END), &reads_table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert_eq!(page, wanted, "docs/EVIDENCE.md is stale: UPDATE_DOCS=1 rewrites it");
    }
}

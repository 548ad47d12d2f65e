use std::fmt::Write as _;
use std::path::PathBuf;

use faults::{Acts, Scope, Values};

use super::*;
use crate::verify::DEADLINE;

const BEGIN: &str =
    "<!-- rows: begin. UPDATE_DOCS=1 ./pitboss test -p pitboss page_describes_every_row -->\n";
const END: &str = "<!-- rows: end -->\n";

#[test]
fn every_fault_has_its_row() {
    let order: Vec<FaultId> = rows().into_iter().map(|row| row.fault).collect();
    assert_eq!(order, FaultId::ALL);
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
    let mut table = "| fault | evidence | work of each phase | deadline |\n|---|---|---|---|\n".to_owned();
    for row in rows() {
        let workload = row.workload.map_or_else(|| "none yet".to_owned(), |workload| workload.to_string());
        let params: String = row.params.iter().map(|(name, value)| format!(", `{name}={value}`")).collect();
        let seconds = row.deadline.as_secs();
        let reason = row.deadline_reason;
        let because = if reason.is_empty() { String::new() } else { format!(", because {reason}") };
        let line =
            format!("| `{}` | {} | {workload}{params} | {seconds} s{because} |", row.fault, row.evidence);
        writeln!(table, "{line}").unwrap();
    }
    table
}

#[test]
fn page_describes_every_row() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/EVIDENCE.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the begin of the table");
    let (written, after) = rest.split_once(END).expect("the end of the table");
    let table = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(written, table, "docs/EVIDENCE.md is stale: UPDATE_DOCS=1 rewrites it");
    }
}

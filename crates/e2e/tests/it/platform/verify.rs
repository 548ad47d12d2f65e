//! `verify` on a whole platform: two faults are proven. A control that shows the fault too is reported, and so are a fault without
//! an effect, one that the work hardly meets, one that does not end, a read that is off, and wrong money.

use std::time::Duration;

use faults::{Armed, FaultId, Scope, Values};
use pitboss::checkout::Checkout;
use pitboss::evidence::Evidence;
use pitboss::flag_file::FlagFile;
use pitboss::target::{Target, TargetArgs};
use pitboss::verify::report::Report;
use pitboss::verify::run::Runner;
use pitboss::verify::verdict::Verdict;
use pitboss::verify::{Row, Workload};
use serde_json::Value;

use super::{cli, exclusive, output_text, ports, state_folder};

const SEED: u64 = 7;
/// Bets of a phase. One in five pays, and payouts are wrong in three phases.
const BETS: u32 = 20;
/// Time after which a fault of these tests expires.
const ARMED_MS_MAX: i64 = 300_000;

/// The rows of a report. Fails if the command did not exit with 0.
fn rows(faults: &[&str]) -> Vec<Value> {
    let output = cli(&[&["verify", "--json", "--seed", "7"], faults].concat(), None);
    assert!(output.status.success(), "{}", output_text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["seed"], SEED);
    report["rows"].as_array().expect("rows").clone()
}

fn no_fault_is_armed() -> bool {
    let output = cli(&["fault", "status", "--json"], None);
    let status: Value = serde_json::from_slice(&output.stdout).expect("a status");
    status["armed"].as_array().is_some_and(Vec::is_empty)
}

#[tokio::test]
async fn two_faults_are_proven() {
    // Its controls need a platform that no other test uses.
    let _guard = exclusive().await;
    let faults = ["user.unauthorized", "payment.provider-slow"];
    let rows = rows(&faults);
    for fault in faults {
        let row = rows.iter().find(|row| row["id"] == fault).expect("a row");
        assert_eq!(row["result"], "PROVEN", "{row}");
        assert!(row["time_to_signal_s"].as_f64().is_some_and(|seconds| seconds <= 5.0), "{row}");
        assert!(row["applied"].as_u64().is_some_and(|count| count >= 3), "{row}");
        assert!(row["recovery_s"].is_number() && row["trace_id"].is_string(), "{row}");
    }
    assert!(no_fault_is_armed());
}

/// Rows of the debug endpoints hold with their fault, and with no other one.
#[tokio::test]
async fn debug_endpoints_are_proven() {
    // A crash would be an event in the control of another row.
    let _guard = exclusive().await;
    let names = ["debug.user.crash", "debug.payment.error-custom", "debug.gateway.timeout"];
    let proven = rows(&names);
    assert_eq!(proven.len(), names.len());
    for row in &proven {
        assert_eq!((&row["result"], &row["seen"]), (&"PROVEN".into(), &true.into()), "{row}");
        assert!(row["recovery_s"].is_number() && row["trace_id"].is_string(), "{row}");
    }
    let output = cli(&[&["verify", "--json", "--sabotage"], names.as_slice()].concat(), None);
    assert!(output.status.success(), "{}", output_text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let red = report["rows"].as_array().expect("rows");
    assert_eq!(red.len(), names.len());
    for row in red {
        assert_eq!((&row["result"], &row["seen"]), (&"NOT VISIBLE".into(), &false.into()), "{row}");
    }
    assert!(no_fault_is_armed());
}

/// The target of the command line, for the parts of `verify` that a row of the command line cannot provoke.
async fn target() -> (Checkout, Target) {
    let base = ports().http(contracts::parts::Part::Gateway);
    let checkout = Checkout::find(Some(base)).expect("a checkout").with_state(state_folder());
    let target = Target::of(&checkout, &TargetArgs::default()).await.expect("a platform");
    (checkout, target)
}

/// The row of a fault as `verify` runs it.
fn usual(fault: FaultId) -> Row {
    let rows = pitboss::verify::rows();
    rows.into_iter().find(|row| row.fault == fault && row.variant.is_empty()).expect("its row")
}

fn arm(flags: &FlagFile, id: FaultId, scope: Scope, values: Values) {
    let expires_at_ms = Some(faults::now_ms().saturating_add(ARMED_MS_MAX));
    flags.arm(Armed { id, scope, values, expires_at_ms }).expect("armed");
}

/// Arms the fault of a row as `verify` does.
fn arm_row(flags: &FlagFile, row: &Row) {
    let values = Values::new(row.fault, row.params.iter().copied()).expect("values");
    arm(flags, row.fault, row.scope(), values);
}

/// The rows of deposits and those of bets mostly wait, and neither's evidence is of the other's work. So they are run at the same
/// time, each with its own players.
#[tokio::test]
async fn each_verdict_can_be_provoked() {
    let (platform, _guard) = exclusive().await;
    let (checkout, target) = target().await;
    let flags = FlagFile::of(&checkout.layout);
    // A new runner disarms all faults, so both are there before the first fault is armed.
    let mut of_deposits = Runner::new(&target, &platform.gateway, &flags, SEED).await.expect("a runner");
    let mut of_bets = Runner::new(&target, &platform.gateway, &flags, SEED).await.expect("a runner");
    tokio::join!(rows_of_deposits(&mut of_deposits, &flags), rows_of_bets(&mut of_bets, &flags));
    assert!(no_fault_is_armed());
}

/// Rows with the same work: the recovery of each is the control of the next one.
async fn rows_of_deposits(runner: &mut Runner<'_>, flags: &FlagFile) {
    // The bets beside the deposits share their processors. The verdicts come from the evidence alone.
    const EXEMPT: &[(&str, &str)] = &[("p95 above 500 ms", "the bets of the other rows can raise it")];
    let proven = Row { exempt: EXEMPT, ..usual(FaultId::PaymentProviderSlow) };
    assert_eq!(proven.expected_alerts().count(), 0, "the alert condition has another name");
    fault_in_the_control_is_noisy(runner, flags, &proven).await;
    fault_without_an_effect_is_not_visible(runner, &proven).await;
}

async fn fault_in_the_control_is_noisy(runner: &mut Runner<'_>, flags: &FlagFile, proven: &Row) {
    // Nothing is paid during the rest, so that ends as usual, and all services know the fault when the control begins.
    let sabotage = |phase: &str| {
        if phase == "resting" {
            arm_row(flags, proven);
        }
    };
    let outcome = runner.run(proven, sabotage).await.expect("an outcome");
    assert_eq!(outcome.result, Verdict::Noisy, "{outcome:?}");
    let report = Report { seed: SEED, rows: vec![outcome], skipped: Vec::new(), duration_s: 0.0 };
    assert!(!report.holds(), "the command would exit with success");
}

async fn fault_without_an_effect_is_not_visible(runner: &mut Runner<'_>, proven: &Row) {
    // The fault acts and is counted, and nothing of the kind reaches the recorder.
    let evidence = Evidence::issue("game", "an issue that no service sends");
    let deadline = Duration::from_secs(1);
    let slow = Row { evidence, deadline, params: &[("delay_ms", 200)], ..proven.clone() };
    // The fault is armed, and no work meets it.
    let unmet = Row { fault: FaultId::UserNPlusOne, params: &[], exempt: &[], ..slow.clone() };
    // The fault acts on all units, which is less often than the row demands.
    let rare = Row { applied_min: 999, ..slow.clone() };
    let provoked = [(slow, Verdict::NotVisible), (unmet, Verdict::Invalid), (rare, Verdict::NotExposed)];
    for (row, verdict) in provoked {
        let outcome = runner.run(&row, |_| {}).await.expect("an outcome");
        assert_eq!(outcome.result, verdict, "{outcome:?}");
        assert!(outcome.times.time_to_signal_s.is_none(), "{outcome:?}");
        assert_eq!(outcome.units, row.workload.units_min(), "{outcome:?}");
    }
}

/// Rows that are proven otherwise, of a fault that must not change the money.
async fn rows_of_bets(runner: &mut Runner<'_>, flags: &FlagFile) {
    let workload = Workload::Bets { count: BETS, earlier_bets: 0 };
    let proven = Row { workload, ..usual(FaultId::ConsumerDuplicate) };
    wrong_payouts_are_money_wrong(runner, flags, &proven).await;
    read_that_is_off_is_noticed(runner, &proven).await;
    fault_that_stays_did_not_end(runner, flags, &proven).await;
}

async fn wrong_payouts_are_money_wrong(runner: &mut Runner<'_>, flags: &FlagFile, proven: &Row) {
    let id = FaultId::GamePayoutScale;
    let change_money = |phase: &str| match phase {
        "resting" => arm(flags, id, Scope::All, Values::defaults(id)),
        "audit" => assert!(flags.disarm(id).expect("a writable file")),
        _ => {}
    };
    let outcome = runner.run(proven, change_money).await.expect("an outcome");
    assert_eq!((outcome.result, outcome.money), (Verdict::MoneyWrong, "findings"), "{outcome:?}");
    assert!(outcome.seen, "{outcome:?}");
}

/// The consumers behind game repeat their records, and answer each with one more. Evidence that mistook these for repetitions of
/// game would not notice that game's own read is off.
async fn read_that_is_off_is_noticed(runner: &mut Runner<'_>, proven: &Row) {
    let read = "consumer.duplicate:effect@game".parse().expect("a read");
    let row = Row { ineffective: Some(read), ..proven.clone() };
    let outcome = runner.run(&row, |_| {}).await.expect("an outcome");
    assert_eq!((outcome.result, outcome.seen), (Verdict::NotVisible, false), "{outcome:?}");
    assert!(outcome.applied > 0 && outcome.id == row.name(), "{outcome:?}");
}

/// The fault acts again in the recovery, as if nobody had disarmed it. The first repetition of the work shows it.
async fn fault_that_stays_did_not_end(runner: &mut Runner<'_>, flags: &FlagFile, proven: &Row) {
    runner.shorten_recovery(Duration::from_secs(1));
    let keep = |phase: &str| match phase {
        "recovery" => arm_row(flags, proven),
        "audit" => assert!(flags.disarm(proven.fault).expect("a writable file")),
        _ => {}
    };
    let outcome = runner.run(proven, keep).await.expect("an outcome");
    assert_eq!((outcome.result, outcome.seen), (Verdict::DidNotEnd, true), "{outcome:?}");
    assert!(outcome.times.recovery_s.is_none(), "{outcome:?}");
}

//! `verify` on a whole platform: two faults are proven. A control that shows the fault too is reported, and so are a fault without
//! an effect, one that the work hardly meets, and wrong money.

use std::thread;
use std::time::{Duration, Instant};

use faults::{Armed, FaultId, Scope, Values};
use pitboss::checkout::Checkout;
use pitboss::evidence::Evidence;
use pitboss::flag_file::FlagFile;
use pitboss::target::{Target, TargetArgs};
use pitboss::verify::run::Runner;
use pitboss::verify::verdict::Verdict;
use pitboss::verify::{Row, Workload};
use serde_json::Value;

use super::{cli, exclusive, output_text, ports, state_folder};

/// Time for which the sabotage arms the fault again and again. It covers the control, which begins after a few seconds.
const SABOTAGE: Duration = Duration::from_secs(12);
/// Bets of which some pay, as one in five does.
const BETS: u32 = 60;
/// Time after which the fault with wrong payouts expires.
const ARMED_MS_MAX: i64 = 120_000;

/// The rows of a report, by fault. Fails if the command did not exit with `code`.
fn rows(args: &[&str], code: i32) -> Vec<Value> {
    let output = cli(&[&["verify", "--json", "--seed", "7"], args].concat(), None);
    assert_eq!(output.status.code(), Some(code), "{}", output_text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["seed"], 7);
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
    let rows = rows(&faults, 0);
    for fault in faults {
        let row = rows.iter().find(|row| row["id"] == fault).expect("a row");
        assert_eq!(row["result"], "PROVEN", "{row}");
        assert!(row["time_to_signal_s"].as_f64().is_some_and(|seconds| seconds <= 5.0), "{row}");
        assert!(row["applied"].as_u64().is_some_and(|count| count >= 3), "{row}");
        assert!(row["recovery_s"].is_number() && row["trace_id"].is_string(), "{row}");
    }
    assert!(no_fault_is_armed());
}

#[tokio::test]
async fn fault_in_the_control_is_noisy() {
    let _guard = exclusive().await;
    let fault = "payment.provider-slow";
    let sabotage = thread::spawn(move || {
        let began = Instant::now();
        while began.elapsed() < SABOTAGE {
            let on = ["fault", "on", fault, "--param", "delay_ms=1000", "--for", "2"];
            assert!(cli(&on, None).status.success());
            thread::sleep(Duration::from_millis(200));
        }
    });
    let rows = rows(&[fault], 1);
    sabotage.join().expect("the fault was armed each time");
    assert_eq!(rows[0]["result"], "NOISY", "{}", rows[0]);
    assert!(cli(&["fault", "off", "--all"], None).status.success());
}

/// The target of the command line, for the parts of `verify` that a row of the command line cannot provoke.
async fn target() -> (Checkout, Target) {
    let base = ports().http(contracts::parts::Part::Gateway);
    let checkout = Checkout::find(Some(base)).expect("a checkout").with_state(state_folder());
    let target = Target::of(&checkout, &TargetArgs::default()).await.expect("a platform");
    (checkout, target)
}

#[tokio::test]
async fn fault_without_an_effect_is_not_visible() {
    let (platform, _guard) = exclusive().await;
    let (checkout, target) = target().await;
    let flags = FlagFile::of(&checkout.layout);
    // The fault acts and is counted, and nothing of the kind reaches the recorder.
    let impossible = Evidence::issue("game", "an issue that no service sends");
    let slow = Row::new(FaultId::PaymentProviderSlow, Workload::Deposits { count: 2 }, impossible);
    let slow = Row { params: &[("delay_ms", 200)], deadline: Duration::from_secs(2), ..slow };
    // The fault is armed, and no work meets it.
    let unmet = Row { fault: FaultId::UserNPlusOne, params: &[], ..slow.clone() };
    // The fault acts on both units, which is less often than the row demands.
    let rare = Row { applied_min: 999, ..slow.clone() };
    let mut runner = Runner::new(&target, &platform.gateway, &flags, 7).await.expect("a runner");
    let provoked = [(slow, Verdict::NotVisible), (unmet, Verdict::Invalid), (rare, Verdict::NotExposed)];
    for (row, verdict) in provoked {
        let outcome = runner.run(&row, |_| {}).await.expect("an outcome");
        assert_eq!(outcome.result, verdict, "{outcome:?}");
        assert!(outcome.times.time_to_signal_s.is_none() && outcome.units == 2, "{outcome:?}");
    }
    assert!(no_fault_is_armed());
}

/// The consumers behind game repeat their records, and answer each with one more. Evidence that mistook these for repetitions of
/// game would not notice that game's own read is off.
#[tokio::test]
async fn read_that_is_off_is_noticed() {
    let (platform, _guard) = exclusive().await;
    let (checkout, target) = target().await;
    let flags = FlagFile::of(&checkout.layout);
    let is_duplicate = |row: &Row| row.fault == FaultId::ConsumerDuplicate;
    let usual = pitboss::verify::rows().into_iter().find(is_duplicate).expect("its row");
    let read = "consumer.duplicate:effect@game".parse().expect("a read");
    let row = Row { ineffective: Some(read), ..usual };
    let mut runner = Runner::new(&target, &platform.gateway, &flags, 7).await.expect("a runner");
    let outcome = runner.run(&row, |_| {}).await.expect("an outcome");
    assert_eq!((outcome.result, outcome.seen), (Verdict::NotVisible, false), "{outcome:?}");
    assert!(outcome.applied > 0 && outcome.id == row.name(), "{outcome:?}");
    assert!(no_fault_is_armed());
}

#[tokio::test]
async fn wrong_payouts_are_money_wrong() {
    let (platform, _guard) = exclusive().await;
    let (checkout, target) = target().await;
    let flags = FlagFile::of(&checkout.layout);
    // A row that is proven otherwise. Its fault must not change the money.
    let is_duplicate = |row: &Row| row.fault == FaultId::ConsumerDuplicate;
    let usual = pitboss::verify::rows().into_iter().find(is_duplicate).expect("its row");
    let row = Row { workload: Workload::Bets { count: BETS, earlier_bets: 0 }, ..usual };
    let id = FaultId::GamePayoutScale;
    let change_money = |phase: &str| match phase {
        "fault" => {
            let (scope, values) = (Scope::All, Values::defaults(id));
            let expires_at_ms = Some(faults::now_ms().saturating_add(ARMED_MS_MAX));
            flags.arm(Armed { id, scope, values, expires_at_ms }).expect("armed");
        }
        "recovery" => assert!(flags.disarm(id).expect("a writable file")),
        _ => {}
    };
    let mut runner = Runner::new(&target, &platform.gateway, &flags, 7).await.expect("a runner");
    let outcome = runner.run(&row, change_money).await.expect("an outcome");
    assert_eq!((outcome.result, outcome.money), (Verdict::MoneyWrong, "findings"), "{outcome:?}");
    assert!(outcome.seen && no_fault_is_armed(), "{outcome:?}");
}

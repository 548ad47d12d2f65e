//! Chaos test on a real broker: members join, leave, are killed and are frozen, by a printed seed.
//!
//! It asserts that no record is missing, and that committed offsets never pass an unhandled record at any check during the run.
//! Records of one key are never handled out of order. A member exits in order on request, even after it was frozen.
//! The same check must fail for members that commit before they work.

mod checker;
mod member;
mod members;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bus::{Config, Producer};
use contracts::{Group, Topic};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use self::checker::{Checker, Report};
use self::member::Work;
use self::members::{Members, Observed};
use crate::support::{committed, place_bet, publish_all, specs_for};

const KEYS: usize = 200;
const EACH_KIND: usize = 6;
const OBSERVED_MIN: usize = 5;
const BROKEN_RUNS_MAX: u64 = 5;
/// Longest time until the group has committed everything. A run that passes never waits for it.
const DRAIN_MAX: Duration = Duration::from_secs(240);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Join,
    Leave,
    Kill,
    Freeze,
}

/// A namespace of its own, with production's time-outs: a frozen or killed member is removed after them.
async fn broker() -> Config {
    let config = Config {
        bootstrap_servers: testkit::kafka(),
        namespace: testkit::unique("chaos"),
        commit_interval_ms: 250,
        ..Config::default()
    };
    let mut specs = specs_for(Group::Game);
    for spec in specs.iter_mut().filter(|spec| spec.name == Topic::BetsCommands.name()) {
        spec.partitions = 16;
    }
    bus::admin::ensure_topics(&config, &specs).await.expect("topics can be created");
    config
}

/// Publishes until the run is over: each key in order, many keys at once. Returns the number of records.
async fn publish_until(config: Config, is_over: Arc<AtomicBool>) -> usize {
    let producer = Producer::new(&config).expect("a producer");
    let mut count = 0;
    while !is_over.load(Ordering::SeqCst) {
        let chunk: Vec<_> = (count..count + 20)
            .map(|index| place_bet(&format!("k{}", index % KEYS), u64::try_from(index / KEYS).expect("few")))
            .collect();
        count += publish_all(&producer, &chunk).await.len();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    count
}

struct Outcome {
    observed: Observed,
    report: Report,
    published: usize,
}

/// One run: members do `work` and the plan's actions run while records arrive. The drain and the last check follow.
async fn run(seed: u64, plan: &[Action], work: Work, member_count: usize) -> Outcome {
    let config = broker().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = StdRng::seed_from_u64(seed);
    let mut members = Members::new(config.clone(), folder.path().to_owned(), work);
    members.start_with(member_count).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let publishing = telemetry::spawn(publish_until(config.clone(), Arc::clone(&is_over)));
    let checker = Checker::new(config.clone(), folder.path().to_owned());
    let checking = telemetry::spawn(checker.until(Arc::clone(&is_over)));

    for action in plan {
        members.act(*action, &mut random).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(500..1_300))).await;
        members.resume_removed();
    }
    members.resume_all().await;
    members.wait_until_ready().await;
    is_over.store(true, Ordering::SeqCst);
    let published = publishing.await.expect("publishes");
    let checker = checking.await.expect("checks");
    drained(&config, published).await;
    let observed = members.stop_all().await;
    let report = checker.finish(published);
    Outcome { observed, report, published }
}

/// Waits until the group has committed everything.
async fn drained(config: &Config, published: usize) {
    let published = i64::try_from(published).expect("few");
    let began = Instant::now();
    loop {
        let config_of_check = config.clone();
        let check = telemetry::spawn_blocking(move || committed(&config_of_check, Group::Game));
        // Without an answer of the broker in time, the next check decides
        let offsets = check.await.expect("does not panic");
        let sum = offsets.map(|offsets| offsets.values().sum::<i64>());
        if sum == Some(published) {
            return;
        }
        assert!(sum < Some(published), "{sum:?} committed of {published} published");
        assert!(began.elapsed() < DRAIN_MAX, "only {sum:?} of {published} were committed");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_leaves_kills_and_freezes_lose_nothing() {
    let seed = testkit::seed();
    let mut plan: Vec<Action> = [Action::Join, Action::Leave, Action::Kill, Action::Freeze]
        .into_iter()
        .flat_map(|action| std::iter::repeat_n(action, EACH_KIND))
        .collect();
    plan.shuffle(&mut StdRng::seed_from_u64(seed));
    let began = Instant::now();
    let Outcome { observed, report, published } = run(seed, &plan, Work::ThenComplete, 5).await;
    eprintln!("chaos: {published} published, {observed:?}, {report:?}, took {:?}", began.elapsed());

    assert!(observed.joined >= OBSERVED_MIN, "{observed:?}");
    assert!(observed.left >= OBSERVED_MIN, "{observed:?}");
    assert!(observed.killed >= OBSERVED_MIN, "{observed:?}");
    assert!(observed.frozen_and_resumed >= OBSERVED_MIN, "{observed:?}");
    assert_eq!(observed.ended_badly, Vec::<String>::new(), "a member did not leave in order");
    assert!(report.frontiers_checked > 100, "too few frontiers were checked: {report:?}");
    assert_eq!(report.frontiers_ahead, 0, "{report:?}");
    assert_eq!(report.missing, 0, "{report:?}");
    assert_eq!(report.reordered, 0, "{report:?}");
}

/// A kill falls between a commit and its work only by chance. A run without such a kill is followed by another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_commit_early_fail_the_check() {
    let plan = [Action::Kill, Action::Join].repeat(3);
    let seed = testkit::seed();
    let mut reports = Vec::new();
    for run_of_seed in 0..BROKEN_RUNS_MAX {
        let seed = seed.wrapping_add(run_of_seed);
        let Outcome { observed, report, published } = run(seed, &plan, Work::CompletesFirst, 3).await;
        eprintln!("chaos, broken on purpose: {published} published, {observed:?}, {report:?}");
        assert!(observed.killed >= 3, "{observed:?}");
        if report.missing > 0 && report.frontiers_ahead > 0 {
            return;
        }
        reports.push(report);
    }
    panic!("the check found no lost record or no frontier that was ahead: {reports:?}");
}

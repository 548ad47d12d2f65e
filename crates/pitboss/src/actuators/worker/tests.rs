use std::cell::{Cell, RefCell};

use anyhow::bail;
use faults::{Scope, Values};
use runtime::Layout;

use super::super::platform::wait_until;
use super::super::receipts;
use super::*;

const ID: FaultId = FaultId::RedisFlush;
const PACE: Pace = Pace {
    attempts_max: 3,
    pause_min: Duration::from_millis(1),
    row_pause: Duration::from_millis(1),
    repeat_min: Duration::from_millis(1),
};
const DEADLINE: Duration = Duration::from_secs(60);

/// Writes down what it was asked for.
struct Fake {
    rhythm: Rhythm,
    /// Number of calls that fail from now on.
    failures: Cell<u32>,
    /// An application never ends.
    hangs: bool,
    log: RefCell<Vec<String>>,
}

impl Fake {
    fn new(rhythm: Rhythm) -> Self {
        Self { rhythm, failures: Cell::new(0), hangs: false, log: RefCell::default() }
    }

    fn note(&self, text: String) -> Result<()> {
        self.log.borrow_mut().push(text);
        if let Some(left) = self.failures.get().checked_sub(1) {
            self.failures.set(left);
            bail!("no broker");
        }
        Ok(())
    }

    fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    async fn logged(&self, count: usize) {
        wait_until("calls", DEADLINE, || self.log.borrow().len() >= count).await.unwrap();
    }
}

impl Actuator for &Fake {
    async fn apply(&self, armed: &Armed) -> Result<u64> {
        self.note(format!("apply {}", armed.values))?;
        if self.hangs {
            std::future::pending::<()>().await;
        }
        Ok(1)
    }

    async fn take_back(&self, armed: Option<&Armed>, cause: Cause) -> Result<()> {
        let values = armed.map_or_else(|| "leftover".to_owned(), |armed| armed.values.to_string());
        self.note(format!("take back {values} {cause:?}"))
    }

    fn rhythm(&self, _: &Armed) -> Rhythm {
        self.rhythm
    }
}

fn armed(interval_ms: i64) -> Wish {
    let values = Values::new(ID, [("interval_ms", interval_ms)]).unwrap();
    let armed = Armed { id: ID, scope: Scope::All, values, expires_at_ms: None };
    Wish { armed: Some(armed), is_platform_up: true, must_end: false }
}

fn layout() -> (tempfile::TempDir, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path(), None, None);
    layout.create().unwrap();
    (folder, layout)
}

/// Runs a worker beside the script that changes its wish, and shuts down after the script.
async fn run(layout: &Layout, fake: &Fake, script: impl AsyncFnOnce(&watch::Sender<Wish>)) {
    let receipts = Receipts::open(layout);
    let (wishes, receiver) = watch::channel(Wish::default());
    let worker = Worker { id: ID, actuator: fake, receipts: &receipts, pace: PACE };
    let scripted = async {
        script(&wishes).await;
        wishes.send_modify(|wish| wish.must_end = true);
    };
    tokio::join!(worker.work(receiver), scripted);
}

fn applied(layout: &Layout) -> u64 {
    receipts::read(layout).get(&ID).copied().unwrap_or_default()
}

#[tokio::test]
async fn armed_fault_is_applied_and_reverted() {
    let ((_folder, layout), fake) = (layout(), Fake::new(Rhythm::Lasting));
    run(&layout, &fake, async |wishes| {
        wishes.send_replace(armed(600));
        fake.logged(1).await;
        wishes.send_replace(Wish::default()); // disarmed, or expired
        fake.logged(2).await;
    })
    .await;
    assert_eq!(fake.log(), ["apply interval_ms=600", "take back interval_ms=600 Disarmed"]);
    assert_eq!(applied(&layout), 1);
}

#[tokio::test]
async fn nothing_is_applied_before_the_platform_is_up() {
    let ((_folder, layout), fake) = (layout(), Fake::new(Rhythm::Lasting));
    run(&layout, &fake, async |wishes| {
        wishes.send_replace(Wish { is_platform_up: false, ..armed(600) });
        tokio::task::yield_now().await;
        assert!(fake.log().is_empty());
        wishes.send_replace(armed(600));
        fake.logged(1).await;
    })
    .await;
    assert_eq!(fake.log(), ["apply interval_ms=600", "take back interval_ms=600 Shutdown"]);
}

#[tokio::test]
async fn other_values_are_another_arming() {
    let ((_folder, layout), fake) = (layout(), Fake::new(Rhythm::Lasting));
    run(&layout, &fake, async |wishes| {
        wishes.send_replace(armed(600));
        fake.logged(1).await;
        wishes.send_replace(armed(700));
        fake.logged(3).await;
    })
    .await;
    let (first, second) = ("apply interval_ms=600", "apply interval_ms=700");
    let between = "take back interval_ms=600 Disarmed";
    assert_eq!(fake.log(), [first, between, second, "take back interval_ms=700 Shutdown"]);
}

#[tokio::test]
async fn failed_application_is_repeated_uncounted() {
    let ((_folder, layout), fake) = (layout(), Fake::new(Rhythm::Lasting));
    fake.failures.set(2);
    run(&layout, &fake, async |wishes| {
        wishes.send_replace(armed(600));
        wait_until("a success", DEADLINE, || applied(&layout) == 1).await.unwrap();
        assert!(receipts::problems(&layout).is_empty());
    })
    .await;
    assert_eq!(fake.log().len(), 4, "three applications, and it was reverted: {:?}", fake.log());
}

#[tokio::test]
async fn repeated_failure_is_given_up_and_reported() {
    let ((_folder, layout), fake) = (layout(), Fake::new(Rhythm::Lasting));
    fake.failures.set(PACE.attempts_max);
    run(&layout, &fake, async |wishes| {
        wishes.send_replace(armed(600));
        fake.logged(3).await;
        wait_until("a problem", DEADLINE, || !receipts::problems(&layout).is_empty()).await.unwrap();
        assert!(receipts::problems(&layout)[&ID].contains("no broker"));
    })
    .await;
    assert_eq!(fake.log().len(), 4, "three attempts, and it was reverted: {:?}", fake.log());
    assert_eq!(applied(&layout), 0);
}

#[tokio::test]
async fn fault_that_repeats_is_counted_each_time() {
    let ((_folder, layout), fake) = (layout(), Fake::new(Rhythm::Every(Duration::from_millis(1))));
    run(&layout, &fake, async |wishes| {
        wishes.send_replace(armed(600));
        wait_until("three applications", DEADLINE, || applied(&layout) >= 3).await.unwrap();
    })
    .await;
    assert!(fake.log().last().is_some_and(|last| last.starts_with("take back")), "{:?}", fake.log());
}

#[tokio::test]
async fn unfinished_application_is_reverted() {
    let ((_folder, layout), mut fake) = (layout(), Fake::new(Rhythm::Lasting));
    fake.hangs = true;
    run(&layout, &fake, async |wishes| {
        wishes.send_replace(armed(600));
        fake.logged(1).await;
        wishes.send_replace(Wish::default());
        fake.logged(2).await;
    })
    .await;
    assert_eq!(fake.log(), ["apply interval_ms=600", "take back interval_ms=600 Disarmed"]);
    assert_eq!(applied(&layout), 0);
}

#[tokio::test]
async fn next_supervisor_reverts_leftover_fault() {
    let ((_folder, layout), fake) = (layout(), Fake::new(Rhythm::Lasting));
    Receipts::open(&layout).begin(ID);
    fake.failures.set(1);
    run(&layout, &fake, async |_| fake.logged(2).await).await;
    assert_eq!(fake.log(), ["take back leftover Disarmed", "take back leftover Disarmed"]);
    let clean = Fake::new(Rhythm::Lasting);
    run(&layout, &clean, async |_| ()).await;
    assert!(clean.log().is_empty(), "nothing is left: {:?}", clean.log());
}

#[tokio::test]
async fn taking_back_is_tried_until_it_succeeds() {
    let ((_folder, layout), fake) = (layout(), Fake::new(Rhythm::Lasting));
    let calls = 6; // an application, four failures, and a success
    run(&layout, &fake, async |wishes| {
        arm_and_wait(&layout, wishes).await;
        fake.failures.set(PACE.attempts_max + 1);
        wishes.send_replace(Wish::default());
        fake.logged(calls).await;
    })
    .await;
    let log = fake.log();
    assert_eq!(log.len(), calls, "{log:?}");
    assert!(log.iter().skip(1).all(|call| call == "take back interval_ms=600 Disarmed"), "{log:?}");
    assert!(!Receipts::open(&layout).is_in_effect(ID) && receipts::problems(&layout).is_empty());
}

async fn arm_and_wait(layout: &Layout, wishes: &watch::Sender<Wish>) {
    wishes.send_replace(armed(600));
    wait_until("an application", DEADLINE, || applied(layout) == 1).await.unwrap();
}

#[tokio::test]
async fn restart_does_not_repeat_a_single_fault() {
    let ((_folder, layout), fake) = (layout(), Fake::new(Rhythm::Once));
    run(&layout, &fake, async |wishes| arm_and_wait(&layout, wishes).await).await;
    run(&layout, &fake, async |wishes| arm_and_wait(&layout, wishes).await).await;
    assert_eq!(applied(&layout), 1, "the second supervisor finds it armed as before");
    run(&layout, &fake, async |wishes| {
        wishes.send_replace(Wish::default());
        // The worker sees that it was disarmed.
        tokio::task::yield_now().await;
        wishes.send_replace(armed(600));
        wait_until("a second application", DEADLINE, || applied(&layout) == 2).await.unwrap();
    })
    .await;
}

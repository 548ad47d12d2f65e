use std::rc::Rc;

use faults::{FaultId, Scope, Values};

use super::*;

const ID: FaultId = FaultId::ConsumerSlow;
const NOW_MS: i64 = 1_796_040_000_000;

fn layout() -> (tempfile::TempDir, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path(), None, None);
    layout.create().unwrap();
    (folder, layout)
}

fn armed(delay_ms: i64, expires_at_ms: Option<i64>) -> Armed {
    let values = Values::new(ID, [("delay_ms", delay_ms)]).unwrap();
    Armed { id: ID, scope: Scope::All, values, expires_at_ms }
}

/// A receiver that gives prepared answers, the last of them again and again, and keeps what it was sent.
#[derive(Clone)]
struct Fake {
    answers: Rc<RefCell<Vec<Result<(), PostError>>>>,
    posts: Rc<RefCell<Vec<Vec<Change>>>>,
}

impl Fake {
    fn new(answers: impl IntoIterator<Item = Result<(), PostError>>) -> Self {
        let answers: Vec<_> = answers.into_iter().collect();
        Self { answers: Rc::new(RefCell::new(answers)), posts: Rc::default() }
    }

    /// Action, author and id of each change, by post.
    fn posts(&self) -> Vec<Vec<(Action, Author, i64)>> {
        let of = |change: &Change| (change.action, change.created_by.clone(), change.change_id);
        self.posts.borrow().iter().map(|post| post.iter().map(of).collect()).collect()
    }
}

impl Receiver for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn post(&self, changes: &[Change]) -> Result<(), PostError> {
        self.posts.borrow_mut().push(changes.to_vec());
        let mut answers = self.answers.borrow_mut();
        if answers.is_empty() { Ok(()) } else { answers.remove(0) }
    }
}

/// Changes that wait for the fake, as (action, author, time).
fn waiting(changes: &FlagChanges<Fake>) -> Vec<(Action, Author, String)> {
    let waiting = changes.waiting("fake").into_iter();
    waiting.map(|change| (change.action, change.created_by, change.created_at)).collect()
}

/// Sends until the fake has taken everything.
async fn send(changes: &FlagChanges<Fake>) {
    let taken = async {
        while !changes.waiting("fake").is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = changes.send() => unreachable!("it never ends"),
        () = taken => {}
    }
}

#[test]
fn each_difference_is_noted_once() {
    let (_folder, layout) = layout();
    let changes = FlagChanges::open(&layout, vec![Fake::new([])]);
    changes.note(&[], NOW_MS);
    assert!(waiting(&changes).is_empty(), "nothing was armed");
    for armed in [armed(200, None), armed(200, None), armed(300, None)] {
        changes.note(&[armed], NOW_MS);
    }
    changes.note(&[], NOW_MS);
    let actions: Vec<Action> = waiting(&changes).into_iter().map(|(action, ..)| action).collect();
    assert_eq!(actions, [Action::Created, Action::Updated, Action::Deleted]);
    let ids: Vec<i64> = changes.waiting("fake").iter().map(|change| change.change_id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

#[test]
fn expired_fault_ended_at_its_expiry() {
    let (_folder, layout) = layout();
    let changes = FlagChanges::open(&layout, vec![Fake::new([])]);
    changes.note(&[armed(200, Some(NOW_MS + 1_000))], NOW_MS);
    changes.note(&[], NOW_MS + 60_000);
    let ended = waiting(&changes).pop().unwrap();
    assert_eq!(ended, (Action::Deleted, Author::named(EXPIRY), "2026-11-30T12:00:01Z".to_owned()));
}

#[test]
fn change_has_the_time_of_the_flag_file() {
    let (_folder, layout) = layout();
    std::fs::write(layout.faults_file(), "{}").unwrap();
    let file = std::fs::File::options().write(true).open(layout.faults_file()).unwrap();
    let at = UNIX_EPOCH + Duration::from_millis(NOW_MS.unsigned_abs() - 150);
    file.set_modified(at).unwrap();
    let changes = FlagChanges::open(&layout, vec![Fake::new([])]);
    changes.note(&[armed(200, None)], NOW_MS);
    assert_eq!(waiting(&changes)[0].2, "2026-11-30T11:59:59.85Z");
}

#[tokio::test]
async fn restart_neither_loses_nor_repeats_a_change() {
    let (_folder, layout) = layout();
    let first = FlagChanges::open(&layout, vec![Fake::new([])]);
    first.note(&[armed(200, None)], NOW_MS);
    drop(first);

    let fake = Fake::new([]);
    let second = FlagChanges::open(&layout, vec![fake.clone()]);
    second.note(&[armed(200, None)], NOW_MS);
    send(&second).await;
    assert_eq!(fake.posts().len(), 1, "the change of the first one");
    drop(second);

    let third = FlagChanges::open(&layout, vec![fake.clone()]);
    third.note(&[armed(200, None)], NOW_MS);
    assert!(waiting(&third).is_empty());
    third.note(&[], NOW_MS);
    send(&third).await;
    let posts = fake.posts();
    assert_eq!(posts[1][0].0, Action::Deleted);
    assert!(posts[1][0].2 > posts[0][0].2, "ids grow over restarts: {posts:?}");
}

#[tokio::test]
async fn failed_post_is_repeated_with_the_same_ids() {
    let (_folder, layout) = layout();
    let failed = || Err(PostError::Failed("no answer".to_owned()));
    let fake = Fake::new([Err(PostError::NotUp), failed(), failed(), Ok(())]);
    let mut changes = FlagChanges::open(&layout, vec![fake.clone()]);
    changes.pause_min = Duration::from_millis(1);
    changes.note(&[armed(200, None)], NOW_MS);
    send(&changes).await;
    let posts = fake.posts();
    assert_eq!(posts.len(), 4);
    assert!(posts.iter().all(|post| *post == posts[0]), "{posts:?}");
}

#[tokio::test]
async fn refused_changes_do_not_hold_up_later_ones() {
    let (_folder, layout) = layout();
    let fake = Fake::new([Err(PostError::Refused("it answered 400".to_owned()))]);
    let changes = FlagChanges::open(&layout, vec![fake.clone()]);
    changes.note(&[armed(200, None)], NOW_MS);
    send(&changes).await;
    changes.note(&[], NOW_MS);
    send(&changes).await;
    assert_eq!(fake.posts().len(), 2);
}

#[test]
fn number_of_waiting_changes_is_bounded() {
    let (_folder, layout) = layout();
    let changes = FlagChanges::open(&layout, vec![Fake::new([])]);
    for number in 0..WAITING_MAX + 5 {
        let armed = if number % 2 == 0 { vec![armed(200, None)] } else { Vec::new() };
        changes.note(&armed, NOW_MS);
    }
    let ids: Vec<i64> = changes.waiting("fake").iter().map(|change| change.change_id).collect();
    assert_eq!((ids.len(), ids[0]), (WAITING_MAX, NOW_MS * 1_000 + 5), "the oldest were dropped");
}

#[test]
fn pause_doubles_up_to_a_limit() {
    let seconds: Vec<u64> = (1..8).map(|failures| pause_after(failures, PAUSE_MIN).as_secs()).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
}

//! Compares the flag file with what is in effect, five times a second, and notifies each worker of the wanted state of its fault.

use std::rc::Rc;
use std::time::Duration;

use faults::{Armed, FaultId, Faults, Options};
use futures::future::join_all;
use runtime::Layout;
use runtime::supervisor::CompanionWork;
use tokio::sync::watch;

use super::fault::{self, Fault};
use super::flag_changes::{FlagChanges, Webhook};
use super::platform::Platform;
use super::receipts::Receipts;
use super::worker::{Pace, Wish, Worker};
use crate::checkout::Running;

/// Interval between two comparisons.
const INTERVAL: Duration = Duration::from_millis(200);

/// Works until the supervisor asks it to end. All faults are reverted then.
pub(super) async fn reconcile(layout: &Layout, work: CompanionWork) {
    let receipts = Receipts::open(layout);
    let platform = Rc::new(Platform::new(layout));
    let (mut wishes, mut workers) = (Vec::new(), Vec::new());
    for id in fault::ids() {
        let (sender, receiver) = watch::channel(Wish::default());
        let actuator = Fault::new(id, Rc::clone(&platform));
        let worker = Worker { id, actuator, receipts: &receipts, pace: Pace::default() };
        workers.push(worker.work(receiver));
        wishes.push((id, sender));
    }
    // The same watcher as in the services, so that all of them read the file alike.
    let options = Options {
        file: layout.faults_file(),
        service: "supervisor",
        release: String::new(),
        secret: Vec::new(),
    };
    let changes = FlagChanges::open(layout, Webhook::all(layout));
    let watcher = watch_file(layout, Faults::watch(options), wishes, work, &changes);
    tokio::select! {
        _ = async { tokio::join!(watcher, join_all(workers)) } => {}
        // What it has not sent then, the next supervisor sends.
        () = changes.send() => {}
    }
}

async fn watch_file(
    layout: &Layout,
    flags: Faults,
    wishes: Vec<(FaultId, watch::Sender<Wish>)>,
    mut work: CompanionWork,
    changes: &FlagChanges,
) {
    let (mut known_problem, mut is_known) = (None, false);
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = work.must_end() => break,
            _ = ticks.tick() => {}
        }
        let problem = flags.problem();
        is_known |= problem.is_none();
        if problem != known_problem {
            if let Some(problem) = &problem {
                tracing::error!("the faults stay as they are: {problem}");
            }
            known_problem = problem;
        }
        let armed = flags.armed();
        // A file that could not be read yet says nothing about what is armed.
        if is_known {
            changes.note(&armed, faults::now_ms());
        }
        let is_platform_up = !armed.is_empty() && Running::of(layout).is_some_and(|running| running.complete);
        tell(&wishes, &armed, is_platform_up, false);
    }
    tell(&wishes, &flags.armed(), false, true);
    // A worker ends when it has taken its fault back.
    join_all(wishes.iter().map(|(_, wish)| wish.closed())).await;
    drop(work);
}

/// Wakes those workers whose wish changes.
fn tell(wishes: &[(FaultId, watch::Sender<Wish>)], armed: &[Armed], is_platform_up: bool, must_end: bool) {
    for (id, wish) in wishes {
        let armed = armed.iter().find(|armed| armed.id == *id).cloned();
        // Without an armed fault the platform does not matter.
        let is_platform_up = is_platform_up && armed.is_some();
        let next = Wish { armed, is_platform_up, must_end };
        wish.send_if_modified(|now| {
            let is_other = *now != next;
            *now = next;
            is_other
        });
    }
}

#[cfg(test)]
mod tests {
    use faults::{Scope, Values};

    use super::*;

    #[test]
    fn only_changed_wishes_wake_their_worker() {
        let (poison, mut poisoned) = watch::channel(Wish::default());
        let (flush, mut flushed) = watch::channel(Wish::default());
        let wishes = [(FaultId::NotificationPoison, poison), (FaultId::RedisFlush, flush)];
        let id = FaultId::RedisFlush;
        let armed = [Armed { id, scope: Scope::All, values: Values::defaults(id), expires_at_ms: None }];
        for _ in 0..2 {
            tell(&wishes, &armed, true, false);
            assert!(!poisoned.has_changed().unwrap());
        }
        assert!(flushed.has_changed().unwrap() && flushed.borrow_and_update().is_platform_up);
        tell(&wishes, &armed, true, false);
        assert!(!flushed.has_changed().unwrap(), "it was notified before");
        tell(&wishes, &[], false, true);
        assert!(poisoned.borrow_and_update().must_end && flushed.borrow_and_update().must_end);
    }
}

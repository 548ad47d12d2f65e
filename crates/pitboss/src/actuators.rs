//! Faults that the supervisor applies itself: to processes, to the broker, to the stores, to the receiver of telemetry.
//!
//! A reconciler on its own thread compares the flag file with what is in effect (`reconciler`). One worker for each fault
//! applies it, repeats it, and reverts it (`worker`). [`receipts`] counts what was really applied, and survives a restart.
//! The effects are in `broker`, `processes`, `records` and `outside`. The same reconciler sends Sentry each change of the armed
//! faults, also of those that act in the services (`flag_changes`).
//!
//! On a platform whose faults have no effect, each is counted and not applied (`ineffective`).
//!
//! It guarantees that every fault is reverted when it is disarmed, when it expires, and before the parts are shut down. The next
//! supervisor reverts what a killed one left behind. Nothing is applied before `up` has finished.

pub(crate) mod ineffective;
pub mod receipts;

mod broker;
mod fault;
mod flag_changes;
mod outside;
mod platform;
mod processes;
mod reconciler;
mod records;
mod worker;

pub(crate) use platform::Platform;
pub(crate) use records::POISON_SOURCE;

use runtime::Layout;
use runtime::supervisor::{Companion, CompanionWork};

use crate::target::Target;

/// Returns true if faults of the supervisor can be applied there: only the local runtime has one.
#[must_use]
pub fn available(target: &Target) -> bool {
    target.layout().is_some()
}

/// Starts the reconciler beside the supervisor. Without a thread for it no fault is applied, and an error is logged.
#[must_use]
pub fn start(layout: &Layout) -> Option<Companion> {
    let (companion, work) = Companion::pair();
    let layout = layout.clone();
    // Its own thread, because the supervisor's thread must not wait for anything.
    let spawned = std::thread::Builder::new().name("actuators".to_owned()).spawn(move || run(&layout, work));
    match spawned {
        Ok(_) => Some(companion),
        Err(error) => {
            tracing::error!("no fault of the supervisor can be applied: no thread could be started: {error}");
            None
        }
    }
}

fn run(layout: &Layout, work: CompanionWork) {
    let tasks = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(tasks) => tasks,
        Err(error) => {
            tracing::error!("no fault of the supervisor can be applied: {error}");
            return;
        }
    };
    tasks.block_on(reconciler::reconcile(layout, work));
    // A member of a group that is just leaving must not hold up the shutdown.
    tasks.shutdown_background();
}

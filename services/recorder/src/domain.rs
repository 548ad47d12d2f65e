//! States of issues, decided as Sentry decides them, and alerts ([`alerting`]).
//!
//! It guarantees that [`decide`] is the only place where an issue changes its state, and that it depends on nothing but its
//! arguments: the state, what happened, the project's releases, and the time. So the same journal leads to the same states.

mod activity;
pub mod alerting;
mod commands;
mod decide;
mod forecast;
mod happened;
mod releases;
mod resolution;
mod state;
mod version;

#[cfg(test)]
mod drills;

pub use activity::{ACTIVITY_MAX, Activity, ActivityKind};
pub use decide::{Decision, decide, due};
pub use forecast::{Forecast, HISTORY_S, HourCount};
pub use happened::{Clock, Command, Happened, How, Until};
pub use releases::{RELEASES_MAX, Release, Releases};
pub use resolution::{Outlook, Resolution, outlook};
pub(crate) use state::further_events;
pub use state::{Snooze, State, Status, Substatus};
pub use version::is_release_name;

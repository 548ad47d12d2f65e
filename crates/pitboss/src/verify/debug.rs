//! Proof of the debug endpoints: each pair of a service and a [`DebugFault`] of the list in [`contracts::debug`] is one row.
//!
//! A row is a request of the operator, and the [`Expectation`]s of its fault are what the recorder has to receive. The rows are one
//! group ([`group`]), so that they are cheap: one control, one audit, and one request after the other.

pub mod expectation;
pub mod group;
mod places;
mod request;

use contracts::debug::{DebugFault, SERVICES};
use contracts::parts::Part;

pub use expectation::Expectation;
pub(crate) use request::is_enabled;
pub use request::{Answer, cause};

/// Begin of the name of each row.
pub const PREFIX: &str = "debug";
/// Reason why a platform has no debug endpoints, and how to start one that has them.
pub const IS_OFF: &str =
    "the debug endpoints are off: PITBOSS__DEBUG__ENABLED=true ./pitboss up restarts the services with them";
/// A part of a pattern that stands for every name.
const ANY: &str = "*";
/// Faults after which the process does not exist any more. Its event is a minidump, which another process sends, and has no trace.
///
/// They are named here and not in the list of faults, where they are as soon as a service offers them.
const DEADLY: [&str; 2] = ["stack-overflow", "abort"];

/// One debug fault at one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebugRow {
    /// The service.
    pub service: Part,
    /// The fault.
    pub fault: DebugFault,
}

impl DebugRow {
    /// Name of the row: `debug.<service>.<fault>`.
    #[must_use]
    pub fn name(self) -> String {
        let Self { service, fault } = self;
        format!("{PREFIX}.{service}.{fault}")
    }

    /// Returns true if the fault ends the process of the service.
    #[must_use]
    pub fn is_deadly(self) -> bool {
        DEADLY.contains(&self.fault.as_str())
    }

    /// The same service with another fault, which `--sabotage` causes instead of this one.
    #[must_use]
    pub fn other(self) -> Self {
        let is_parse = self.fault == DebugFault::ErrorParse;
        let fault = if is_parse { DebugFault::ErrorUtf8 } else { DebugFault::ErrorParse };
        Self { fault, ..self }
    }

    /// Returns true if a pattern selects the row: its name, with `*` for a part, or for all parts from there on.
    #[must_use]
    pub fn is_selected_by(self, pattern: &str) -> bool {
        let name = self.name();
        let mut wanted = pattern.split('.');
        for part in name.split('.') {
            match wanted.next() {
                Some(text) if text == part || text == ANY => {}
                _ => return false,
            }
            if pattern.ends_with(ANY) && wanted.clone().next().is_none() {
                return true;
            }
        }
        wanted.next().is_none()
    }
}

/// All rows, by service and in the order of the faults.
#[must_use]
pub fn rows() -> Vec<DebugRow> {
    let of = |service| DebugFault::of(service).map(move |fault| DebugRow { service, fault });
    SERVICES.into_iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests;

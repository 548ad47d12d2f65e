//! Faults on cue: what can be broken on purpose, for which traffic, and whether it is broken for this request.
//!
//! One fault through this crate: [`FaultId`] names it and its [`Definition`] describes it (parameters, limits, evidence,
//! runbook). An operator arms it in the flag file ([`State`]) with a [`Scope`] and [`Values`]. Every service watches that file
//! ([`Faults::watch`]). The code at the place that the fault names calls [`Faults::active`] with its [`Subject`] and breaks
//! something if it gets values. Each place that asks has a name ([`ReadSite`]). One request can carry its own fault in signed
//! baggage ([`request`]).
//!
//! It guarantees that no fault is active unless the file or a signed request names it, that an unreadable file changes nothing, that
//! an invalid flag is off and disturbs no other, and that an evaluation costs one relaxed load while nothing is armed.
//! `docs/FAULTS.md` is generated from the registry.
//!
//! # Why the evaluator is our own
//!
//! The file has flagd's format, but neither `open-feature` nor `flagd-evaluation-engine` runs in the services. The OpenFeature
//! client is asynchronous, and faults act in synchronous code. The engine compiles a rule at every evaluation, and it pulls a
//! mocking library into every program. `docs/adr/0012-faults-have-their-own-flag-evaluator.md` has the details.

mod definition;
mod evaluation;
mod fault_id;
mod flag_file;
mod read_site;
mod registry;
pub mod request;
mod service_faults;
mod state;
mod values;
mod watcher;

pub use contracts::now_ms;
pub use definition::{Acts, Definition, MoneyVerdict, ParamSpec, ScopeKind};
pub use evaluation::Subject;
pub use fault_id::{FaultId, UnknownFault};
pub use read_site::{Place, ReadSite, UnknownRead};
pub use service_faults::{Faults, Options};
pub use state::{Armed, InvalidFlag, Scope, State, StateError};
pub use values::{ValueError, Values};

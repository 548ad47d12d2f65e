//! HTTP as every service serves it: bounded, traced, and with problems for answers where it says no.

mod accept;
mod extract;
mod layers;

pub use accept::serve;
pub use extract::{Json, Path, Query};
pub use layers::{layered, router, with_problems};

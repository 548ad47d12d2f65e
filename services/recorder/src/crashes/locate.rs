//! Names of addresses: the interface to whatever knows more than the symbol table of a module.

use crate::symbols::{Location, Symbols};

/// Names an address of a module.
pub(crate) trait Locate: Send + Sync {
    /// Returns the places at an address relative to the beginning of the module, the innermost inlined function first. It is empty if
    /// nothing is known.
    fn locate(&self, build_id: &str, relative_address: u64) -> Vec<Location>;
}

impl Locate for Symbols {
    fn locate(&self, build_id: &str, relative_address: u64) -> Vec<Location> {
        self.resolve(build_id, relative_address)
    }
}

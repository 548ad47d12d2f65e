//! Names of addresses: the interface to whatever knows more than the symbol table of a module.

use crate::symbols::Symbols;

/// A place in the source code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// Name of the function, for people.
    pub(crate) function: String,
    /// Source file.
    pub(crate) file: Option<String>,
    /// Line in the source file.
    pub(crate) line: Option<u32>,
}

/// Names an address of a module.
pub(crate) trait Locate: Send + Sync {
    /// Returns the places at an address relative to the beginning of the module, the innermost inlined function first. It is empty if
    /// nothing is known.
    fn locate(&self, build_id: &str, relative_address: u64) -> Vec<Location>;
}

impl Locate for Symbols {
    fn locate(&self, build_id: &str, relative_address: u64) -> Vec<Location> {
        let places = self.resolve(build_id, relative_address).into_iter();
        places
            .map(|place| Location { function: place.function, file: place.file, line: place.line })
            .collect()
    }
}

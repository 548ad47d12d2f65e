//! Reasons why a program has no table.

use std::io;
use std::path::{Path, PathBuf};

use addr2line::gimli;

/// A program or a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SymbolsError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        source: io::Error,
    },
    /// It is no program of this system.
    #[error("is no 64-bit ELF program: {0}")]
    Elf(#[from] object::Error),
    /// Its debug information is damaged.
    #[error("cannot read the debug information: {0}")]
    Dwarf(#[from] gimli::Error),
    /// Nothing would tell which table belongs to it.
    #[error("has no build id (linker option --build-id)")]
    NoBuildId,
    /// It has more places than a table holds.
    #[error("has too much debug information")]
    TooLarge,
}

impl SymbolsError {
    /// Returns the conversion of an input or output error at a file.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

//! The build id of a program, read without the rest of it.

use std::fs::File;
use std::path::Path;

use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ReadCache};

use super::error::SymbolsError;

/// Returns the build id of a program in hexadecimal digits.
///
/// # Errors
/// When the file cannot be read, is no program, or has no build id.
pub(super) fn build_id_of(program: &Path) -> Result<String, SymbolsError> {
    let file = File::open(program).map_err(SymbolsError::file("read", program))?;
    let cache = ReadCache::new(file);
    let elf: ElfFile64<'_, Endianness, &ReadCache<File>> = ElfFile64::parse(&cache)?;
    elf.build_id()?.map(hex::encode).ok_or(SymbolsError::NoBuildId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::tests::{BUILD_ID, PROGRAM};

    #[test]
    fn build_id_of_a_program_and_of_other_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |content: &[u8]| {
            let path = folder.path().join("program");
            std::fs::write(&path, content).expect("written");
            path
        };
        assert_eq!(build_id_of(&file(PROGRAM)).expect("an id"), BUILD_ID);
        for damaged in [&b""[..], b"#!/bin/sh\n", &PROGRAM[..100]] {
            assert!(matches!(build_id_of(&file(damaged)), Err(SymbolsError::Elf(_))));
        }
        let missing = build_id_of(&folder.path().join("missing")).expect_err("there is no such file");
        assert!(missing.to_string().starts_with("cannot read "), "{missing}");
    }
}

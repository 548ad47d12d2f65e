//! A program without its debug information, as `strip --strip-debug` writes it. This needs no tool.
//!
//! Whatever reads debug information in the process (the profiler, and backtraces of std) would take several times its size.

use object::read::elf::{ElfFile64, FileHeader as _};
use object::{Endianness, Object as _, ObjectSegment as _};

/// Begin of the names of the sections with debug information.
const DEBUG: &[u8] = b".debug_";
/// Bytes of an entry of the section table.
const ENTRY_BYTES: usize = 64;
/// Place of the section table's offset in the header of the file.
const TABLE_AT: usize = 40;
/// Type of a section without bytes in the file.
const NO_BITS: u32 = 8;
/// Flag of a section that is loaded into memory.
const LOADED: u64 = 2;
/// Every section that is moved begins at a multiple of this, which is enough for symbols and texts.
const ALIGNMENT: usize = 16;

/// Returns the program without its debug information, or `None` if there is none that can be removed.
///
/// What is loaded into memory stays as it is, and so does the build id.
pub(super) fn without_debug(program: &[u8]) -> Option<Vec<u8>> {
    let elf: ElfFile64<'_, Endianness> = ElfFile64::parse(program).ok()?;
    let (endian, headers) = (elf.endian(), elf.elf_section_table());
    let at = usize::try_from(elf.elf_header().e_shoff(endian)).ok()?;
    let mut table = program.get(at..at.checked_add(headers.len().checked_mul(ENTRY_BYTES)?)?)?.to_vec();
    let is_debug: Vec<bool> = table
        .chunks_exact(ENTRY_BYTES)
        .zip(headers.iter())
        .map(|(entry, header)| {
            let is_named = headers.section_name(endian, header).is_ok_and(|name| name.starts_with(DEBUG));
            is_named && u64_at(entry, 8) & LOADED == 0
        })
        .collect();
    let of_debug = table.chunks_exact(ENTRY_BYTES).zip(&is_debug).filter(|(_, is_debug)| **is_debug);
    let first = usize::try_from(of_debug.map(|(entry, _)| u64_at(entry, 24)).min()?).ok()?;
    let loaded = elf.segments().map(|segment| segment.file_range());
    let loaded_end = loaded.map(|(begin, length)| begin.saturating_add(length)).max().unwrap_or(0);
    if usize::try_from(loaded_end).ok()? > first {
        return None;
    }
    let mut copy = program.get(..first)?.to_vec();
    for (entry, is_debug) in table.chunks_exact_mut(ENTRY_BYTES).zip(is_debug) {
        let (offset, length) = (u64_at(entry, 24), u64_at(entry, 32));
        let begin = usize::try_from(offset).ok()?;
        if is_debug {
            entry.get_mut(4..8)?.copy_from_slice(&NO_BITS.to_le_bytes());
            entry.get_mut(24..40)?.copy_from_slice(&[(first as u64).to_le_bytes(), [0; 8]].concat());
        } else if begin >= first && u32_at(entry, 4) != NO_BITS {
            copy.resize(copy.len().next_multiple_of(ALIGNMENT), 0);
            entry.get_mut(24..32)?.copy_from_slice(&(copy.len() as u64).to_le_bytes());
            copy.extend(program.get(begin..begin.checked_add(usize::try_from(length).ok()?)?)?);
        }
    }
    copy.resize(copy.len().next_multiple_of(ALIGNMENT), 0);
    let moved_to = copy.len() as u64;
    copy.extend(table);
    copy.get_mut(TABLE_AT..TABLE_AT + 8)?.copy_from_slice(&moved_to.to_le_bytes());
    Some(copy)
}

fn u32_at(entry: &[u8], at: usize) -> u32 {
    entry.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(entry: &[u8], at: usize) -> u64 {
    entry.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use object::{ObjectSection as _, ObjectSymbol as _};

    use super::*;
    use crate::symbols::extract::table_of;
    use crate::symbols::tests::{PROGRAM, ROOT};

    #[test]
    fn copy_has_everything_but_debug_information() {
        let copy = without_debug(PROGRAM).expect("a copy");
        assert!(copy.len() + 1_000 < PROGRAM.len(), "{} bytes", copy.len());
        let before: ElfFile64<'_, Endianness> = ElfFile64::parse(PROGRAM).expect("a program");
        let after: ElfFile64<'_, Endianness> = ElfFile64::parse(&*copy).expect("a program");
        assert_eq!(after.build_id(), before.build_id());
        for (old, new) in before.segments().zip(after.segments()) {
            // The header of the file is loaded as well. It names the place of the section table, of which nobody reads the copy
            let skipped = if old.file_range().0 == 0 { 64 } else { 0 };
            assert_eq!(old.data().expect("data")[skipped..], new.data().expect("data")[skipped..]);
        }
        let mut removed = 0;
        for (old, new) in before.sections().zip(after.sections()) {
            let name = old.name().expect("a name");
            assert_eq!(new.name().expect("a name"), name);
            if name.starts_with(".debug_") {
                removed += 1;
                assert!(new.data().expect("no data").is_empty(), "{name}");
            } else {
                assert_eq!(new.data().expect("data"), old.data().expect("data"), "{name}");
            }
        }
        assert_eq!(removed, 6, "all sections with debug information");
        let names = |elf: &ElfFile64<'_, Endianness>| {
            elf.symbols()
                .map(|symbol| (symbol.address(), symbol.name().map(str::to_owned)))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&after), names(&before));
        let (with, without) = (table_of(PROGRAM, ROOT), table_of(&copy, ROOT));
        assert!(without.expect("no places").len() < with.expect("places").len() / 4);
    }

    #[test]
    fn other_files_are_left_alone() {
        let copy = without_debug(PROGRAM).expect("a copy");
        let again = without_debug(&copy).expect("its sections are empty");
        assert_eq!(again.len(), copy.len());
        for length in 0..PROGRAM.len() {
            // No panic, whatever is missing
            drop(without_debug(PROGRAM.get(..length).expect("a part")));
        }
        assert_eq!(without_debug(b"#!/bin/sh\n"), None);
    }
}

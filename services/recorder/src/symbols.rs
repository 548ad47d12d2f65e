//! File and line of the addresses in a stack, from one small file for each program.
//!
//! 1. `recorder symbols …` ([`command`]) is a process of its own, which `./pitboss up` starts after each build. It reads the debug
//!    information of a program (`extract`) and keeps what concerns our code in a table (`table`), in a file that the program's
//!    build id names. Then it copies the program without its debug information (`strip`). The copy is the one that runs.
//! 2. [`Symbols::resolve`] looks an address up. It reads a few kilobytes of the file. Nothing of it stays in memory.
//! 3. [`stack`] replaces the frames of an event when it is shown. What is stored stays what the sender sent.

pub(crate) mod command;
mod elf;
mod error;
mod extract;
mod paths;
pub(crate) mod stack;
mod strip;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use table::Table;

/// Ending of the name of a table's file.
const TABLE_ENDING: &str = "lines";
/// Longest build id in hexadecimal digits. Linkers write 16 or 40.
const BUILD_ID_DIGITS_MAX: usize = 128;

/// Folder of the code that reports errors and takes profiles.
const REPORTING: &str = "crates/telemetry/";

/// A place in the source of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Location {
    /// Name of the function. That of an inlined function has no path, because line tables have none.
    pub(crate) function: String,
    /// Source file, relative to the checkout, to the standard library, or to the registry of crates.
    pub(crate) file: Option<String>,
    /// Line in the file, from 1.
    pub(crate) line: Option<u32>,
}

impl Location {
    /// Returns true for code of this repository, and for code that its builds generate.
    pub(crate) fn is_ours(&self) -> bool {
        self.file.as_deref().is_some_and(paths::is_ours)
    }

    /// Returns true for code of this repository that can cause an error. The crate `telemetry` only reports it, and its frames are in
    /// the stack of every report.
    pub(crate) fn is_in_app(&self) -> bool {
        self.is_ours() && self.file.as_deref().is_some_and(|file| !file.starts_with(REPORTING))
    }
}

/// The tables of a folder. Clones share it. No file stays open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Symbols {
    folder: Option<Arc<Path>>,
}

impl Symbols {
    /// The tables in a folder, which need not exist. Without a folder nothing is known.
    pub(crate) fn open(folder: Option<PathBuf>) -> Self {
        Self { folder: folder.map(Arc::from) }
    }

    /// Returns where an address of a program is, the innermost inlined function first. Empty if nothing is known.
    ///
    /// `relative_address` counts from the lowest address of the program in memory. Code of others has the name of its function only,
    /// unless it was inlined into ours.
    pub(crate) fn resolve(&self, build_id: &str, relative_address: u64) -> Vec<Location> {
        self.table(build_id).map(|table| table.find(relative_address)).unwrap_or_default()
    }

    /// Returns the table of a program, if there is a readable one.
    fn table(&self, build_id: &str) -> Option<Table> {
        let folder = self.folder.as_deref()?;
        let build_id = build_id.to_ascii_lowercase();
        let is_hex = build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !(2..=BUILD_ID_DIGITS_MAX).contains(&build_id.len()) {
            return None;
        }
        Table::open(&table_file(folder, &build_id)).ok()
    }
}

/// Path of the table of a program.
fn table_file(folder: &Path, build_id: &str) -> PathBuf {
    folder.join(format!("{build_id}.{TABLE_ENDING}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A library of 4 KiB with line tables, compiled from `tests/data/payment.rs.txt` as the file says.
    pub(crate) const PROGRAM: &[u8] = include_bytes!("../tests/data/payment.elf");
    /// Its build id.
    pub(crate) const BUILD_ID: &str = "f8d55841c086b6581f9c4571760573470ba6bd79";
    /// The checkout that it was compiled in.
    pub(crate) const ROOT: &str = "/checkout";

    /// A folder with the table of [`PROGRAM`].
    pub(crate) fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let table = extract::table_of(PROGRAM, ROOT).expect("line tables");
        std::fs::write(table_file(folder.path(), BUILD_ID), table).expect("written");
        folder
    }

    fn place(function: &str, file: &str, line: u32) -> Location {
        Location { function: function.to_owned(), file: Some(file.to_owned()), line: Some(line) }
    }

    #[test]
    fn address_in_an_inlined_function_has_both_places() {
        let folder = folder();
        let symbols = Symbols::open(Some(folder.path().to_owned()));
        let found = |address| symbols.resolve(BUILD_ID, address);
        let ours = "services/payment/src/lib.rs";
        assert_eq!(found(0x1362), [place("checked", ours, 7), place("payment::apply", ours, 21)]);
        let core = "library/core/src/num/uint_macros.rs";
        assert_eq!(found(0x136e), [place("checked_add", core, 769), place("payment::apply", ours, 22)]);
        assert_eq!(found(0x1391), [place("payment::refuse", ours, 14)]);
        assert_eq!(found(0x13a1), [place("settle", ours, 28)]);
        for address in [0, 0x134f, 0x13ac, u64::MAX] {
            assert!(found(address).is_empty(), "{address:#x}");
        }
    }

    #[test]
    fn code_that_only_reports_errors_is_not_in_app() {
        for (file, ours, in_app) in [
            ("services/payment/src/lib.rs", true, true),
            ("crates/chassis/src/http.rs", true, true),
            ("crates/telemetry/src/report.rs", true, false),
            ("library/core/src/option.rs", false, false),
        ] {
            let place = place("f", file, 1);
            assert_eq!((place.is_ours(), place.is_in_app()), (ours, in_app), "{file}");
        }
        assert!(!Location::default().is_in_app());
    }

    #[test]
    fn only_a_build_id_names_a_table() {
        let folder = folder();
        std::fs::write(folder.path().join("x.lines"), b"").expect("written");
        let symbols = Symbols::open(Some(folder.path().to_owned()));
        assert!(symbols.table(BUILD_ID).is_some() && symbols.table(&BUILD_ID.to_uppercase()).is_some());
        for other in ["", "x", "../x", "00", "f8d55841", &"0".repeat(200)] {
            assert!(symbols.table(other).is_none(), "{other}");
        }
        assert!(Symbols::open(None).resolve(BUILD_ID, 0x1362).is_empty());
    }
}

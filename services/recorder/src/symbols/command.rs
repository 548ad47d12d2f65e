//! `recorder symbols <folder of tables> <folder of programs> <checkout> <program>…`: makes the tables of programs, and the copies
//! that run.
//!
//! A program whose table and copy are up to date costs a read of its headers. Otherwise the process needs about twice the size of
//! its debug information, which is why it is a process of its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::error::SymbolsError;
use super::table::{HEADER_BYTES, Table};
use super::{TABLE_ENDING, elf, extract, strip, table_file};

/// The argument that selects this command.
pub(crate) const NAME: &str = "symbols";
/// Number of tables that are kept: those of the last four builds. Each has some megabytes.
const TABLES_MAX: usize = 44;
/// Begin of the name of a file that is being written.
const UNFINISHED: &str = ".unfinished-";
/// Age from which an unfinished file is the rest of a process that was killed. Writing takes seconds.
const UNFINISHED_AGE_MAX: Duration = Duration::from_secs(3_600);
/// Exit code for wrong arguments.
const USAGE: u8 = 64;

/// Folders of the command.
#[derive(Debug)]
struct Folders {
    tables: PathBuf,
    programs: PathBuf,
    /// Where the programs were compiled.
    checkout: String,
}

/// What was done for one program.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    /// Table and copy were up to date.
    Nothing,
    /// One or both were written.
    Written,
}

/// Runs the command with the arguments behind its name. It says on standard output what it wrote, and on standard error what failed.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let [tables, programs, checkout, built @ ..] = &*arguments else {
        say_error("usage: recorder symbols <folder of tables> <folder of programs> <checkout> <program>…");
        return ExitCode::from(USAGE);
    };
    let checkout = checkout.to_string_lossy().into_owned();
    let folders = Folders { tables: tables.into(), programs: programs.into(), checkout };
    let mut outcome = ExitCode::SUCCESS;
    for program in built.iter().map(Path::new) {
        match folders.make(program) {
            Ok(Done::Nothing) => {}
            Ok(Done::Written) => say(&program.display().to_string()),
            Err(error) => {
                say_error(&format!("{}: {error}", program.display()));
                outcome = ExitCode::FAILURE;
            }
        }
    }
    let removed = folders.remove_old_tables().and_then(|()| folders.remove_unfinished());
    if let Err(error) = removed {
        say_error(&error.to_string());
        outcome = ExitCode::FAILURE;
    }
    outcome
}

impl Folders {
    /// Writes what is missing of one program.
    fn make(&self, program: &Path) -> Result<Done, SymbolsError> {
        for folder in [&self.tables, &self.programs] {
            fs::create_dir_all(folder).map_err(SymbolsError::file("create", folder))?;
        }
        let build_id = elf::build_id_of(program)?;
        let table = table_file(&self.tables, &build_id);
        let copy = self.programs.join(program.file_name().unwrap_or_default());
        let has_table = was_used(&table);
        let has_copy = elf::build_id_of(&copy).is_ok_and(|of_copy| of_copy == build_id);
        if has_table && has_copy {
            return Ok(Done::Nothing);
        }
        let bytes = fs::read(program).map_err(SymbolsError::file("read", program))?;
        if !has_table {
            replace(&table, &extract::table_of(&bytes, &self.checkout)?, None)?;
        }
        if !has_copy {
            let stripped = strip::without_debug(&bytes);
            replace(&copy, stripped.as_deref().unwrap_or(&bytes), Some(program))?;
        }
        Ok(Done::Written)
    }

    /// Removes the tables that were not used for the longest time. The empty ones of programs without line tables, which the gate
    /// builds, are counted apart, so that they displace no others.
    fn remove_old_tables(&self) -> Result<(), SymbolsError> {
        let failed = |action| SymbolsError::file(action, &self.tables);
        let mut empty: Vec<(SystemTime, PathBuf)> = Vec::new();
        let mut filled = Vec::new();
        for entry in fs::read_dir(&self.tables).map_err(failed("read"))? {
            let entry = entry.map_err(failed("read"))?;
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == TABLE_ENDING) {
                // Another process may have removed it
                let about = entry.metadata().ok();
                let used = about.as_ref().and_then(|about| about.modified().ok());
                let is_empty = about.is_none_or(|about| about.len() <= HEADER_BYTES);
                let tables = if is_empty { &mut empty } else { &mut filled };
                tables.push((used.unwrap_or(SystemTime::UNIX_EPOCH), path));
            }
        }
        for mut tables in [empty, filled] {
            tables.sort();
            for (_, old) in tables.into_iter().rev().skip(TABLES_MAX) {
                // Left for the next run if it cannot be removed
                fs::remove_file(old).ok();
            }
        }
        Ok(())
    }

    /// Removes what killed processes left.
    fn remove_unfinished(&self) -> Result<(), SymbolsError> {
        for folder in [&self.tables, &self.programs] {
            let failed = |action| SymbolsError::file(action, folder);
            for entry in fs::read_dir(folder).map_err(failed("read"))? {
                let entry = entry.map_err(failed("read"))?;
                let written = entry.metadata().and_then(|about| about.modified());
                let age = written.ok().and_then(|written| written.elapsed().ok()).unwrap_or_default();
                let is_unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
                if is_unfinished && age > UNFINISHED_AGE_MAX {
                    // Another process may have removed it
                    fs::remove_file(entry.path()).ok();
                }
            }
        }
        Ok(())
    }
}

/// Returns true if there is such a table that this program can read, and notes that it is used.
fn was_used(table: &Path) -> bool {
    let is_readable = Table::open(table).is_ok();
    let noted =
        File::options().append(true).open(table).and_then(|file| file.set_modified(SystemTime::now()));
    is_readable && noted.is_ok()
}

/// Writes a file as a whole. It gets the permissions of another one, if one is named.
fn replace(path: &Path, content: &[u8], permissions_of: Option<&Path>) -> Result<(), SymbolsError> {
    let write = || -> std::io::Result<()> {
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
        file.write_all(content)?;
        if let Some(model) = permissions_of {
            file.as_file().set_permissions(fs::metadata(model)?.permissions())?;
        }
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(SymbolsError::file("write", path))
}

#[expect(clippy::print_stdout, reason = "a command of the terminal")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "a command of the terminal")]
fn say_error(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::symbols::tests::{BUILD_ID, PROGRAM, ROOT};

    fn prepare() -> (tempfile::TempDir, Folders, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("payment");
        fs::write(&program, PROGRAM).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
        let inner = |name: &str| folder.path().join(name);
        let folders = Folders { tables: inner("tables"), programs: inner("run"), checkout: ROOT.to_owned() };
        (folder, folders, program)
    }

    #[test]
    fn table_and_copy_are_made_once_for_each_build() {
        let (_folder, folders, program) = prepare();
        assert_eq!(folders.make(&program).expect("made"), Done::Written);
        let (table, copy) = (table_file(&folders.tables, BUILD_ID), folders.programs.join("payment"));
        assert!(fs::metadata(&table).expect("a table").len() > 100);
        let about = fs::metadata(&copy).expect("a copy");
        assert!(about.len() < PROGRAM.len() as u64);
        assert_eq!(about.permissions().mode() & 0o777, 0o755);
        assert_eq!(folders.make(&program).expect("up to date"), Done::Nothing);
        fs::write(&copy, b"cut off").expect("written");
        assert_eq!(folders.make(&program).expect("made"), Done::Written);
        assert_eq!(elf::build_id_of(&copy).expect("an id"), BUILD_ID);
        fs::remove_file(&table).expect("removed");
        assert_eq!(folders.make(&program).expect("made"), Done::Written);
        assert!(table.exists());
    }

    /// A program that did not change keeps its build id when the format of the tables changes.
    #[test]
    fn table_of_another_format_is_made_again() {
        let (_folder, folders, program) = prepare();
        folders.make(&program).expect("made");
        let table = table_file(&folders.tables, BUILD_ID);
        let whole = fs::read(&table).expect("a table");
        let mut other = whole.clone();
        other[7] += 1;
        for unusable in [other.as_slice(), &whole[..whole.len() - 1], b""] {
            fs::write(&table, unusable).expect("written");
            assert_eq!(folders.make(&program).expect("made"), Done::Written);
            assert_eq!(fs::read(&table).expect("a table"), whole);
        }
    }

    #[test]
    fn rests_of_killed_processes_are_removed() {
        let (_folder, folders, program) = prepare();
        folders.make(&program).expect("made");
        let old = SystemTime::now() - 2 * UNFINISHED_AGE_MAX;
        for folder in [&folders.tables, &folders.programs] {
            for (name, written) in [(".unfinished-a", old), (".unfinished-b", SystemTime::now()), ("c", old)]
            {
                File::create(folder.join(name)).and_then(|file| file.set_modified(written)).expect("created");
            }
        }
        folders.remove_unfinished().expect("removed");
        for folder in [&folders.tables, &folders.programs] {
            let left = [".unfinished-a", ".unfinished-b", "c"].map(|name| folder.join(name).exists());
            assert_eq!(left, [false, true, true], "{}", folder.display());
        }
        assert!(folders.programs.join("payment").exists());
    }

    #[test]
    fn file_that_is_no_program_fails_and_leaves_nothing() {
        let (_folder, folders, program) = prepare();
        fs::write(&program, b"#!/bin/sh\n").expect("written");
        assert!(folders.make(&program).is_err());
        for folder in [&folders.tables, &folders.programs] {
            assert_eq!(fs::read_dir(folder).expect("a folder").count(), 0);
        }
    }

    #[test]
    fn tables_that_were_not_used_for_long_are_removed() {
        let (_folder, folders, program) = prepare();
        folders.make(&program).expect("made");
        let old = SystemTime::now() - Duration::from_secs(3_600);
        let create = |name: String, content: &[u8], age_s: usize| {
            let path = folders.tables.join(format!("{name}.{TABLE_ENDING}"));
            fs::write(&path, content).expect("written");
            let used = old - Duration::from_secs(u64::try_from(age_s).expect("small"));
            File::options().append(true).open(&path).and_then(|file| file.set_modified(used)).expect("set");
        };
        for number in 0..TABLES_MAX + 3 {
            create(format!("{number:04x}"), &[1; 64], number + 1_000);
            create(format!("e{number:04x}"), &[1; 20], number);
        }
        fs::write(folders.tables.join("other"), b"").expect("written");
        assert_eq!(folders.make(&program).expect("up to date"), Done::Nothing);
        folders.remove_old_tables().expect("removed");
        let left = fs::read_dir(&folders.tables).expect("a folder").count();
        assert_eq!(left, 2 * TABLES_MAX + 1, "and the file that is no table");
        assert!(table_file(&folders.tables, BUILD_ID).exists());
        for (name, is_left) in [
            ("0000", true),
            ("002a", true),
            ("002b", false),
            ("002e", false),
            ("e002b", true),
            ("e002c", false),
        ] {
            assert_eq!(table_file(&folders.tables, name).exists(), is_left, "{name}");
        }
    }
}

//! The place for the tables in a page, between two lines that mark it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Line before the tables.
const BEGIN: &str = "<!-- bench cost: begin -->";
/// Line after them.
const END: &str = "<!-- bench cost: end -->";

/// Checks that the page has a place for the tables, before they are measured.
///
/// # Errors
/// When the page cannot be read, or has no place. A file that does not exist is a place, too.
pub(super) fn check(path: &Path) -> Result<()> {
    around(path).map(drop)
}

/// Replaces what is between the marks.
///
/// # Errors
/// Those of [`check`], and when the page cannot be written.
pub(super) fn write(path: &Path, tables: &str) -> Result<()> {
    let (before, after) = around(path)?;
    let page = format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", tables.trim_end());
    fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

/// The text before the first mark and after the second.
fn around(path: &Path) -> Result<(String, String)> {
    let page = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => format!("{BEGIN}\n{END}\n"),
        page => page.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.with_context(|| {
        format!("{} has no place for the tables: add the lines `{BEGIN}` and `{END}`", path.display())
    })?;
    Ok((before.to_owned(), after.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_marked_place_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.md");
        let page = |tables: &str| format!("# Page\n\n{BEGIN}\n\n{tables}\n\n{END}\n\nMore.\n");
        fs::write(&path, page("old")).unwrap();
        for tables in ["new", "newer\n"] {
            write(&path, tables).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), page(tables.trim_end()));
        }
    }

    #[test]
    fn page_without_a_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.md");
        assert!(check(&path).is_ok(), "a new page can be written");
        for page in ["# Page\n".to_owned(), format!("{END}\n{BEGIN}\n")] {
            fs::write(&path, &page).unwrap();
            assert!(check(&path).is_err() && write(&path, "new").is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), page);
        }
    }
}

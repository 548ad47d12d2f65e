//! Programs of releases: copies in `.pitboss/releases/<release>/<service>`, so that a later build does not replace them.
//!
//! A release is never replaced by other bytes: what was reported under its name would be of two programs then.

use std::fs;
use std::path::{Path, PathBuf};

use contracts::Part;
use serde::{Deserialize, Serialize};

use super::Deployments;
use crate::layout::{private_folder, write_private, write_with_mode};
use crate::{Layout, RuntimeError};

/// Longest name of a release, as in Sentry.
const NAME_BYTES_MAX: usize = 200;
/// Number of programs that are kept. A program has some ten MiB.
const PROGRAMS_MAX: usize = 20;
/// The owner may read and start a program.
const MODE: u32 = 0o700;

/// Where a program comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// It was built from this checkout.
    Checkout,
    /// It was built from this checkout with the regression.
    Regression,
    /// It is a file that somebody named.
    File,
}

/// A program on the shelf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its release.
    pub release: String,
    /// Its service.
    pub service: String,
    /// Where it comes from.
    pub source: Source,
    /// Time at which it was put here, in seconds since 1970.
    pub kept_at_s: i64,
}

/// Checks that a name can be that of a release: a folder can have it, and Sentry accepts it.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(release: &str) -> Result<(), RuntimeError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@+._-".contains(&byte);
    let is_valid = (1..=NAME_BYTES_MAX).contains(&release.len())
        && release.bytes().all(is_plain)
        && release.starts_with(|first: char| first.is_ascii_alphanumeric())
        && release != "latest";
    if is_valid {
        return Ok(());
    }
    Err(RuntimeError::Refused(format!(
        "`{release}` cannot be the name of a release: it needs a letter or a digit, then letters, digits and @ + . _ - \
         (at most {NAME_BYTES_MAX}), such as pitboss@0.2.0"
    )))
}

/// Puts a copy of a program on the shelf. Returns false beside it if the same bytes are there already.
///
/// # Errors
/// When other bytes are there under this name, or a file cannot be read or written.
pub fn put(layout: &Layout, kept: Kept, part: Part, program: &Path) -> Result<(Kept, bool), RuntimeError> {
    check_name(&kept.release)?;
    let folder = layout.releases().join(&kept.release);
    let path = folder.join(part.as_str());
    let bytes = fs::read(program).map_err(RuntimeError::file("read", program))?;
    if let Ok(there) = fs::read(&path) {
        if there != bytes {
            return Err(RuntimeError::Refused(format!(
                "{} of {part} exists already as another program: a release is not replaced, so choose another --version",
                kept.release
            )));
        }
        return Ok((note(&folder, part).unwrap_or(kept), false));
    }
    private_folder(&folder)?;
    let text = serde_json::to_vec(&kept)
        .map_err(|error| RuntimeError::Refused(format!("the note of a release is no JSON: {error}")))?;
    write_private(&folder.join(format!("{part}.json")), &text)?;
    // The program comes last and in one step, so a copy that was interrupted is no program.
    write_with_mode(&path, &bytes, MODE)?;
    Ok((kept, true))
}

/// Program of a release.
///
/// # Errors
/// When there is none. The error names the releases of this service.
pub fn program(layout: &Layout, release: &str, part: Part) -> Result<PathBuf, RuntimeError> {
    check_name(release)?;
    let path = layout.releases().join(release).join(part.as_str());
    if path.is_file() {
        return Ok(path);
    }
    let of_service = list(layout).into_iter().filter(|kept| kept.service == part.as_str());
    let known: Vec<String> = of_service.map(|kept| kept.release).collect();
    let known = if known.is_empty() { "none was built".to_owned() } else { known.join(", ") };
    Err(RuntimeError::Refused(format!(
        "there is no release {release} of {part} ({known}): ./pitboss release build {part} --version V, or --program FILE"
    )))
}

/// All programs on the shelf, oldest first.
#[must_use]
pub fn list(layout: &Layout) -> Vec<Kept> {
    let mut all = Vec::new();
    for folder in fs::read_dir(layout.releases()).into_iter().flatten().flatten() {
        let folder = folder.path();
        for part in Part::SERVICES {
            if folder.join(part.as_str()).is_file() {
                all.extend(note(&folder, *part));
            }
        }
    }
    all.sort_by(|a, b| (a.kept_at_s, &a.release, &a.service).cmp(&(b.kept_at_s, &b.release, &b.service)));
    all
}

/// Deletes the oldest programs beyond the limit, without those of `just_kept`, those that run, and those to which a rollback leads.
/// Returns their releases.
///
/// # Errors
/// When one cannot be deleted.
pub fn prune(
    layout: &Layout,
    deployments: &Deployments,
    just_kept: &str,
) -> Result<Vec<String>, RuntimeError> {
    let all = list(layout);
    let surplus = all.len().saturating_sub(PROGRAMS_MAX);
    let is_used =
        |kept: &&Kept| deployments.releases().chain([just_kept]).any(|release| release == kept.release);
    let mut deleted = Vec::new();
    for Kept { release, service, .. } in all.iter().filter(|kept| !is_used(kept)).take(surplus) {
        let folder = layout.releases().join(release);
        let path = folder.join(service);
        fs::remove_file(&path).map_err(RuntimeError::file("delete", &path))?;
        drop(fs::remove_file(folder.join(format!("{service}.json"))));
        // It fails if the folder has programs of other services, which stay.
        drop(fs::remove_dir(&folder));
        deleted.push(release.clone());
    }
    Ok(deleted)
}

/// Reads the note of a program. Files are deleted by its names, so these are the names of the files, whatever the note says.
fn note(folder: &Path, part: Part) -> Option<Kept> {
    let text = fs::read(folder.join(format!("{part}.json"))).ok()?;
    let noted: Kept = serde_json::from_slice(&text).ok()?;
    let release = folder.file_name()?.to_str()?.to_owned();
    Some(Kept { release, service: part.as_str().to_owned(), ..noted })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn layout(folder: &tempfile::TempDir) -> Layout {
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        layout
    }

    fn kept(release: &str, kept_at_s: i64) -> Kept {
        let service = "analytics".to_owned();
        Kept { release: release.to_owned(), service, source: Source::Checkout, kept_at_s }
    }

    #[test]
    fn release_is_never_another_program() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, program_file) = (layout(&folder), folder.path().join("program"));
        fs::write(&program_file, "one").unwrap();
        let put = |at| put(&layout, kept("pitboss@0.2.0", at), Part::Analytics, &program_file);
        assert_eq!(put(1).unwrap(), (kept("pitboss@0.2.0", 1), true));
        assert_eq!(put(2).unwrap(), (kept("pitboss@0.2.0", 1), false), "the same bytes");
        let path = program(&layout, "pitboss@0.2.0", Part::Analytics).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        fs::write(&program_file, "two").unwrap();
        assert!(put(3).unwrap_err().to_string().contains("choose another --version"));
        assert_eq!(fs::read_to_string(path).unwrap(), "one");
        let unknown = program(&layout, "pitboss@0.3.0", Part::Analytics).unwrap_err().to_string();
        assert!(
            unknown.contains("there is no release pitboss@0.3.0 of analytics (pitboss@0.2.0)"),
            "{unknown}"
        );
        assert!(program(&layout, "pitboss@0.2.0", Part::Game).is_err(), "another service");
    }

    #[test]
    fn name_cannot_leave_the_folder() {
        for name in ["pitboss@0.2.0+20261129T125826.423d6be", "1.0", "e37fa1b"] {
            check_name(name).unwrap();
        }
        for name in ["", "../x", "a/b", ".hidden", "a b", "latest", "-a", "ä", &"a".repeat(201)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn oldest_unused_programs_are_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, program_file) = (layout(&folder), folder.path().join("program"));
        fs::write(&program_file, "one").unwrap();
        for at in 0..22 {
            put(&layout, kept(&format!("pitboss@0.{at}.0"), at), Part::Analytics, &program_file).unwrap();
        }
        let mut deployments = Deployments::default();
        assert_eq!(deployments.deploy(Part::Analytics, "pitboss@0.0.0", "own"), Ok(true));
        assert_eq!(
            prune(&layout, &deployments, "pitboss@0.1.0").unwrap(),
            ["pitboss@0.2.0", "pitboss@0.3.0"]
        );
        let left = list(&layout);
        assert_eq!((left.len(), left[0].release.as_str()), (PROGRAMS_MAX, "pitboss@0.0.0"));
        assert_eq!(prune(&layout, &deployments, "pitboss@0.1.0").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn note_cannot_name_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let (layout, program_file) = (layout(&folder), folder.path().join("program"));
        fs::write(&program_file, "one").unwrap();
        put(&layout, kept("pitboss@0.2.0", 1), Part::Analytics, &program_file).unwrap();
        let note = serde_json::to_vec(&kept("../../elsewhere", 7)).unwrap();
        fs::write(layout.releases().join("pitboss@0.2.0").join("analytics.json"), note).unwrap();
        assert_eq!(list(&layout), [kept("pitboss@0.2.0", 7)]);
    }
}

//! The crash folder: reports that have not been sent yet, one file each, readable by the owner only.
//!
//! It exists once there was a crash. Its content is bounded by number and age, so that a process that crashes in a loop while Sentry
//! cannot be reached does not fill the disk.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

/// Largest number of reports. The oldest are deleted first.
const REPORTS_MAX: usize = 10;
/// Age from which a report is deleted instead of sent: Sentry takes no events that are older than 30 days.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Age from which the reporter that stored a report no longer sends it, so that the next one may.
const SETTLED: Duration = Duration::from_secs(60);
/// Ending of the files.
const ENDING: &str = "envelope";
/// Largest number of files that are looked at.
const FILES_MAX: usize = 1_000;

/// A crash folder, which may not exist yet.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Stores a report before it is sent, and deletes the oldest ones if there are too many. Returns its file.
    pub(super) fn store(&self, id: Uuid, envelope: &[u8]) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        fs::set_permissions(&self.0, Permissions::from_mode(0o700))?;
        let stored = self.reports();
        let excess = (stored.len() + 1).saturating_sub(REPORTS_MAX);
        for (_, report) in stored.iter().take(excess) {
            fs::remove_file(report)?;
        }
        let path = self.0.join(format!("{}.{ENDING}", id.simple()));
        let unfinished = path.with_extension("unfinished");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(envelope)?;
        fs::rename(&unfinished, &path)?;
        Ok(path)
    }

    /// Reports of earlier processes that wait to be sent, oldest first. Those that are too old are deleted.
    pub(super) fn waiting(&self, now: SystemTime) -> Vec<PathBuf> {
        let mut waiting = Vec::new();
        for (stored_at, report) in self.reports() {
            let age = now.duration_since(stored_at).unwrap_or_default();
            if age > AGE_MAX {
                // If it cannot be deleted now, the next process tries again
                fs::remove_file(&report).ok();
            } else if age >= SETTLED {
                waiting.push(report);
            }
        }
        waiting
    }

    /// All reports with their times, oldest first. There are none if the folder cannot be read.
    fn reports(&self) -> Vec<(SystemTime, PathBuf)> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().take(FILES_MAX).filter_map(Result::ok);
        let mut reports: Vec<(SystemTime, PathBuf)> = entries
            .filter(|entry| is_report(&entry.path()))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        reports.sort();
        reports
    }
}

/// Returns true for the name of a whole report.
fn is_report(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending == Some(ENDING)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("pitboss-crashes-{}", Uuid::new_v4().simple())))
        }

        fn folder(&self) -> Folder {
            Folder::at(self.0.join("crashes"))
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn report_is_private_and_waits_after_a_minute() {
        let temporary = Temporary::new();
        let folder = temporary.folder();
        assert!(folder.waiting(SystemTime::now()).is_empty(), "there is no folder");
        let report = folder.store(Uuid::new_v4(), b"{}\n").unwrap();
        assert_eq!((mode(report.parent().unwrap()), mode(&report)), (0o700, 0o600));
        assert_eq!(fs::read(&report).unwrap(), b"{}\n");
        let stored_at = fs::metadata(&report).unwrap().modified().unwrap();
        assert!(folder.waiting(stored_at).is_empty(), "its own reporter sends it");
        assert_eq!(folder.waiting(stored_at + SETTLED), [report]);
    }

    #[test]
    fn old_reports_are_deleted_unsent() {
        let temporary = Temporary::new();
        let folder = temporary.folder();
        let report = folder.store(Uuid::new_v4(), b"{}\n").unwrap();
        let stored_at = fs::metadata(&report).unwrap().modified().unwrap();
        assert!(folder.waiting(stored_at + AGE_MAX + Duration::from_secs(1)).is_empty());
        assert!(!report.exists());
    }

    #[test]
    fn number_of_reports_is_bounded() {
        let temporary = Temporary::new();
        let folder = temporary.folder();
        let first = folder.store(Uuid::new_v4(), b"1").unwrap();
        let early = SystemTime::now() - Duration::from_secs(3_600);
        OpenOptions::new().write(true).open(&first).unwrap().set_modified(early).unwrap();
        for _ in 0..REPORTS_MAX {
            folder.store(Uuid::new_v4(), b"2").unwrap();
        }
        assert_eq!(folder.reports().len(), REPORTS_MAX);
        assert!(!first.exists(), "the oldest one is deleted");
        fs::write(folder.0.join("note.txt"), "not a report").unwrap();
        assert_eq!(folder.reports().len(), REPORTS_MAX);
    }
}

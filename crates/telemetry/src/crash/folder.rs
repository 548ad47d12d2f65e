//! The crash folder: reports that have not been sent yet, one file each, readable by the owner only.
//!
//! It exists once there was a crash. Its content is bounded by number and age, so that a process that crashes in a loop while Sentry
//! cannot be reached does not fill the disk. Services that share a folder do not share its reports, because each has a DSN of its own:
//! the name of the service begins the name of a file.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

/// Largest number of reports of one service. The oldest are deleted first.
const REPORTS_MAX: usize = 10;
/// Age from which a report is deleted instead of sent: Sentry takes no events that are older than 30 days.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Age from which the reporter that stored a report no longer sends it, so that the next one may.
const SETTLED: Duration = Duration::from_secs(60);
/// Ending of the files.
const ENDING: &str = "envelope";
/// Ending of a file that is being written, or whose reporter was killed meanwhile.
const UNFINISHED: &str = "unfinished";
/// Largest number of files that are looked at.
const FILES_MAX: usize = 1_000;

/// The reports of one service in a crash folder, which may not exist yet.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
    service: String,
}

impl Folder {
    pub(super) fn at(path: PathBuf, service: &str) -> Self {
        Self { path, service: service.to_owned() }
    }

    /// Stores a report before it is sent, and deletes the oldest ones if there are too many. Returns its file.
    ///
    /// The folder is created for the owner only. One that exists keeps its permissions, because it may have other uses.
    pub(super) fn store(&self, id: Uuid, envelope: &[u8]) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let now = SystemTime::now();
        let (stored, mut unfinished) = (self.files(ENDING), self.files(UNFINISHED));
        unfinished.retain(|(begun_at, _)| age(now, *begun_at) >= SETTLED);
        let excess = (stored.len() + 1).saturating_sub(REPORTS_MAX);
        for (_, file) in stored.iter().take(excess).chain(&unfinished) {
            // Another reporter may have deleted it
            fs::remove_file(file).ok();
        }
        let path = self.path.join(format!("{}-{}.{ENDING}", self.service, id.simple()));
        let part = path.with_extension(UNFINISHED);
        let written = write_private(&part, envelope).and_then(|()| fs::rename(&part, &path));
        // The disk may be full, and half a report helps nobody
        written.inspect_err(|_| drop(fs::remove_file(&part)))?;
        Ok(path)
    }

    /// Returns true if no report waits, now or later.
    pub(super) fn is_empty(&self) -> bool {
        self.files(ENDING).is_empty()
    }

    /// Reports of earlier processes that wait to be sent, oldest first. Those that are too old are deleted.
    pub(super) fn waiting(&self, now: SystemTime) -> Vec<PathBuf> {
        let mut waiting = Vec::new();
        for (stored_at, report) in self.files(ENDING) {
            let age = age(now, stored_at);
            if age > AGE_MAX {
                // If it cannot be deleted now, the next process tries again
                fs::remove_file(&report).ok();
            } else if age >= SETTLED {
                waiting.push(report);
            }
        }
        waiting
    }

    /// The service's files with an ending and their times, oldest first. There are none if the folder cannot be read.
    fn files(&self, ending: &str) -> Vec<(SystemTime, PathBuf)> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().take(FILES_MAX).filter_map(Result::ok);
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .filter(|entry| self.has(&entry.path(), ending))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        files
    }

    /// Returns true for the name that a file of the service has.
    fn has(&self, path: &Path, ending: &str) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once('.'));
        let id = name
            .filter(|(_, found)| *found == ending)
            .and_then(|(name, _)| name.strip_prefix(self.service.as_str())?.strip_prefix('-'));
        id.is_some_and(|id| Uuid::try_parse(id).is_ok())
    }
}

/// Age of a file. One from the future is new.
fn age(now: SystemTime, at: SystemTime) -> Duration {
    now.duration_since(at).unwrap_or_default()
}

/// Writes a new file that only the owner can read.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("pitboss-crashes-{}", Uuid::new_v4().simple())))
        }

        fn folder(&self) -> Folder {
            Folder::at(self.0.join("crashes"), "payment")
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
        assert_eq!(folder.files(ENDING).len(), REPORTS_MAX);
        assert!(!first.exists(), "the oldest one is deleted");
        fs::write(folder.path.join("note.txt"), "not a report").unwrap();
        assert_eq!(folder.files(ENDING).len(), REPORTS_MAX);
    }

    #[test]
    fn services_in_one_folder_have_their_own_reports() {
        let temporary = Temporary::new();
        let payment = temporary.folder();
        let game = Folder::at(payment.path.clone(), "game");
        let report = payment.store(Uuid::new_v4(), b"1").unwrap();
        let later = SystemTime::now() + SETTLED + Duration::from_secs(1);
        assert!(game.is_empty() && game.waiting(later).is_empty());
        assert!(!payment.is_empty());
        assert_eq!(payment.waiting(later), [report]);
        for name in ["payment.envelope", "payment-1.envelope", "payments-1.envelope"] {
            fs::write(payment.path.join(name), "not a report").unwrap();
        }
        assert_eq!(payment.files(ENDING).len(), 1);
    }

    #[test]
    fn folder_that_exists_keeps_its_permissions() {
        let temporary = Temporary::new();
        let folder = temporary.folder();
        fs::create_dir_all(&folder.path).unwrap();
        fs::set_permissions(&folder.path, Permissions::from_mode(0o755)).unwrap();
        let report = folder.store(Uuid::new_v4(), b"1").unwrap();
        assert_eq!((mode(&folder.path), mode(&report)), (0o755, 0o600));
    }

    #[test]
    fn halves_of_killed_reporters_are_deleted() {
        let temporary = Temporary::new();
        let folder = temporary.folder();
        let whole = folder.store(Uuid::new_v4(), b"1").unwrap();
        let half = whole.with_extension(UNFINISHED);
        fs::write(&half, "ha").unwrap();
        folder.store(Uuid::new_v4(), b"2").unwrap();
        assert!(half.exists(), "its reporter may still write it");
        let early = SystemTime::now() - SETTLED - Duration::from_secs(1);
        OpenOptions::new().write(true).open(&half).unwrap().set_modified(early).unwrap();
        folder.store(Uuid::new_v4(), b"3").unwrap();
        assert!(!half.exists() && whole.exists());
    }
}

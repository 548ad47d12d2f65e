//! Armed faults for a service under test.

use std::path::{Path, PathBuf};

use ::faults::{Armed, FaultId, Faults, Options, Scope, State, Values};
use tempfile::TempDir;

/// Release of a service under test.
const RELEASE: &str = "test";
/// Name of the flag file.
const FILE: &str = "faults.json";

/// A fault with its scope and values.
pub type Flag<'a> = (FaultId, Scope, &'a [(&'a str, i64)]);

/// Flag file of one test, and the faults that a service reads from it.
#[derive(Debug)]
pub struct Flags {
    faults: Faults,
    folder: TempDir,
}

impl Flags {
    /// Arms one fault for all traffic of a service. Values that are not given have their defaults.
    #[must_use]
    pub fn armed(service: &'static str, id: FaultId, values: &[(&str, i64)]) -> Self {
        Self::scoped(service, &[(id, Scope::All, values)])
    }

    /// Arms one fault for each scope.
    ///
    /// # Panics
    /// When a value is out of its bounds or the file cannot be written.
    #[must_use]
    pub fn scoped(service: &'static str, flags: &[Flag<'_>]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        write(&file, flags);
        let options = Options { file, service, release: RELEASE.to_owned(), secret: Vec::new() };
        Self { faults: Faults::watch(options), folder }
    }

    /// Replaces the armed faults. The service sees it when it reads the file again.
    ///
    /// # Panics
    /// When a value is out of its bounds or the file cannot be written.
    pub fn change(&self, flags: &[Flag<'_>]) {
        write(&self.folder.path().join(FILE), flags);
    }

    /// The flag file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// Faults for the service.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Returns how often the service applied the fault.
    #[must_use]
    pub fn applied(&self, id: FaultId) -> u64 {
        let applied = self.faults.applied();
        applied.into_iter().find(|(applied, _)| *applied == id).map_or(0, |(_, count)| count)
    }
}

fn write(file: &Path, flags: &[Flag<'_>]) {
    let armed = flags.iter().map(|(id, scope, values)| Armed {
        id: *id,
        scope: scope.clone(),
        values: Values::new(*id, values.iter().copied()).expect("values within their bounds"),
        expires_at_ms: None,
    });
    State { armed: armed.collect(), ..State::default() }.write(file).expect("the flag file is written");
}

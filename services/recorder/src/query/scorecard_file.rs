//! File of the scorecard in the data folder.
//!
//! It guarantees that a scorecard that was answered with 204 survives a restart and a power cut, and that a crash leaves
//! either the old one or the new one. It is not an envelope, so deleting the envelopes keeps it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use contracts::scorecard::{BYTES_MAX, Scorecard};

/// Name of the file in the data folder.
pub(super) const FILE: &str = "scorecard.json";
/// Name of the file while it is written. A crash leaves at most this one behind, and the next scorecard replaces it.
pub(super) const FILE_UNFINISHED: &str = "scorecard.json.unfinished";

/// File of the scorecard. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ScorecardFile {
    directory: PathBuf,
    writing: Arc<Mutex<()>>,
}

impl ScorecardFile {
    /// Uses a file in this folder, which must exist.
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), writing: Arc::default() }
    }

    /// Replaces the file durably.
    pub(super) fn replace(&self, json: &[u8]) -> io::Result<()> {
        let one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let unfinished = self.directory.join(FILE_UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(json)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.directory.join(FILE))?;
        File::open(&self.directory)?.sync_all()?;
        drop(one_at_a_time);
        Ok(())
    }

    /// Reads the file. `None` without one, or when this build cannot read its form.
    pub(super) fn read(&self) -> io::Result<Option<Scorecard>> {
        let file = match File::open(self.directory.join(FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut json = Vec::new();
        file.take(BYTES_MAX as u64).read_to_end(&mut json)?;
        match parse(&json) {
            Ok(scorecard) => Ok(Some(scorecard)),
            Err(reason) => {
                tracing::warn!(reason, "the stored scorecard cannot be read; the next one replaces it");
                Ok(None)
            }
        }
    }
}

/// Reads a scorecard and checks it.
pub(super) fn parse(json: &[u8]) -> Result<Scorecard, String> {
    let scorecard: Scorecard = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    scorecard.check()?;
    Ok(scorecard)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unreadable_file_is_as_if_there_was_none() {
        let directory = tempfile::tempdir().expect("a folder");
        let file = ScorecardFile::new(directory.path());
        assert_eq!(file.read().expect("readable"), None);
        let runs = json!([{"seed": 7, "duration_s": 1.0}]);
        let sent = json!({"version": 1, "finished_at": 1.0, "runs": runs, "rows": []}).to_string();
        file.replace(sent.as_bytes()).expect("writable");
        assert_eq!(file.read().expect("readable"), Some(parse(sent.as_bytes()).expect("a scorecard")));
        for other in ["", "{}", &sent.replace("\"version\":1", "\"version\":2")] {
            file.replace(other.as_bytes()).expect("writable");
            assert_eq!(file.read().expect("readable"), None, "{other}");
        }
    }
}

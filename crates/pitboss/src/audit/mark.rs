//! Mark of an audit: up to where it has read each source, and what was open there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use runtime::layout::write_private;
use serde::{Deserialize, Serialize};
use store::bson::DateTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::rollups::Level;
use super::statement::Line;
use super::tally::Subject;

/// Version of the form. A mark of another version is refused.
const VERSION: u32 = 1;

/// Place from which the next audit continues.
///
/// Everything before it was checked, or is among the open records, which the next audit reads again by their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    version: u32,
    /// Records of this time or later are read. `None`: all records.
    pub(super) since_ms: Option<i64>,
    /// Last line of the provider's statement that was read. `None`: none was read.
    pub(super) line: Option<LastLine>,
    /// End of the compared buckets of each level, in seconds since the epoch.
    pub(super) compared_to_s: BTreeMap<Level, i64>,
    /// Offsets at which the records of each topic begin, by topic and partition. Topics without any begin at the time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) offsets: BTreeMap<String, BTreeMap<i32, i64>>,
    /// Records that were in flight or violated a check.
    pub(super) open: BTreeSet<Subject>,
}

/// Line of the provider's statement, by which it is recognised again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LastLine {
    pub(super) sequence: u64,
    pub(super) payment_id: String,
}

impl From<&Line> for LastLine {
    fn from(line: &Line) -> Self {
        Self { sequence: line.sequence, payment_id: line.payment_id.clone() }
    }
}

impl Mark {
    /// Returns the mark from which an audit reads all records, or those of `since` or later.
    #[must_use]
    pub fn at(since: Option<OffsetDateTime>) -> Self {
        Self {
            version: VERSION,
            since_ms: since.map(|since| store::time::to_bson(since).timestamp_millis()),
            line: None,
            compared_to_s: BTreeMap::new(),
            offsets: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    /// Returns the mark of an audit that read everything before `since_ms`, except what is `open`.
    pub(super) fn after(
        since_ms: i64,
        line: Option<LastLine>,
        compared_to_s: BTreeMap<Level, i64>,
        offsets: BTreeMap<String, BTreeMap<i32, i64>>,
        open: BTreeSet<Subject>,
    ) -> Self {
        Self { version: VERSION, since_ms: Some(since_ms), line, compared_to_s, offsets, open }
    }

    /// Returns the number of records that were open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Reads a file. `None`: there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read, or is no mark of this version.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mark: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not the mark of an audit", path.display()))?;
        if mark.version != VERSION {
            bail!("{} is the mark of another version: remove it to read all records", path.display());
        }
        Ok(Some(mark))
    }

    /// Replaces a file as a whole. Only its owner can read it, because it has ids of players.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("the mark cannot be written as JSON")?;
        Ok(write_private(path, &text)?)
    }
}

/// Returns a stored time as text.
pub(super) fn rfc3339(at_ms: i64) -> Result<String> {
    let at = store::time::from_bson(DateTime::from_millis(at_ms)).context("the store's time is invalid")?;
    at.format(&Rfc3339).context("the store's time cannot be written")
}

#[cfg(test)]
mod tests {
    use super::super::books::Source;
    use super::*;

    fn mark() -> Mark {
        Mark {
            line: Some(LastLine { sequence: 7, payment_id: "pay-7".to_owned() }),
            compared_to_s: BTreeMap::from([(Level::Slot, 1_200), (Level::Hour, 0)]),
            offsets: BTreeMap::from([("t".to_owned(), BTreeMap::from([(0, 12)]))]),
            open: BTreeSet::from([
                Subject::Document(Source::Ledger, "ada/3".to_owned()),
                Subject::Order(7),
                Subject::Bucket { level: Level::Minute, start_s: 60 },
                Subject::record("t", 0, 7),
                Subject::Event("event-1".to_owned()),
            ]),
            ..Mark::at(Some(OffsetDateTime::UNIX_EPOCH))
        }
    }

    #[test]
    fn file_keeps_the_whole_mark() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark.json");
        assert_eq!(Mark::read(&path).unwrap(), None);
        mark().write(&path).unwrap();
        assert_eq!(Mark::read(&path).unwrap(), Some(mark()));
        assert_eq!((mark().open(), mark().since_ms), (5, Some(0)));
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mark.json");
        let newer = serde_json::to_string(&Mark { version: VERSION + 1, ..mark() }).unwrap();
        for text in ["{", "{}", newer.as_str()] {
            std::fs::write(&path, text).unwrap();
            assert!(Mark::read(&path).is_err(), "{text}");
        }
    }
}

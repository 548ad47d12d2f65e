//! Ids of the records that are dead letters, read only when a check needs them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bus::letter::{Keep, Letter, LetterReader, Limits};
use tokio::sync::OnceCell;

/// Time limit for reading all dead letters.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Largest number of ids that are kept.
const IDS_MAX: usize = 200_000;

/// Ids of the dead letters of all groups.
pub(super) struct Parked {
    kafka: bus::Config,
    reader: OnceCell<Arc<LetterReader>>,
    ids: Arc<Mutex<BTreeSet<String>>>,
    /// Open transactions held dead letters back at the last update.
    is_held: AtomicBool,
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked")
            .field("bootstrap_servers", &self.kafka.bootstrap_servers)
            .finish_non_exhaustive()
    }
}

impl Parked {
    /// Creates an empty set. It connects with its first update.
    pub(super) fn at(kafka: bus::Config) -> Self {
        Self { kafka, reader: OnceCell::new(), ids: Arc::default(), is_held: AtomicBool::new(false) }
    }

    /// Reads the dead letters that were parked since the last update.
    ///
    /// # Errors
    /// When they cannot be read completely, because a missing one would look like a lost record.
    pub(super) async fn update(&self) -> Result<()> {
        let reader = self.reader.get_or_try_init(|| async { self.connect() }).await?;
        let ids = Arc::clone(&self.ids);
        let keep_id = move |letter: &Letter| {
            let mut ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
            if ids.len() < IDS_MAX {
                ids.insert(letter.event_id.as_str().to_owned());
            }
            // The letters themselves are not needed.
            false
        };
        let limits =
            Limits { letters_max: 1, bytes_max: usize::MAX, deadline: READ_DEADLINE, keep: Keep::Newest };
        let read = reader.letters(limits, keep_id).await;
        let at = &self.kafka.bootstrap_servers;
        let read = read.with_context(|| format!("the dead letters cannot be read at {at}"))?;
        if read.is_incomplete {
            bail!("the dead letters could not be read within {} s", READ_DEADLINE.as_secs());
        }
        self.is_held.store(read.held > 0, Ordering::Relaxed);
        if self.ids.lock().unwrap_or_else(PoisonError::into_inner).len() >= IDS_MAX {
            bail!("there are {IDS_MAX} dead letters or more, which is too many for one audit");
        }
        Ok(())
    }

    /// Returns true if the record with this id was parked before the last update.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Returns true if a dead letter may be one that could not be read at the last update.
    pub(super) fn may_be_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    fn connect(&self) -> Result<Arc<LetterReader>> {
        LetterReader::new(&self.kafka).context("the dead letters cannot be read")
    }
}

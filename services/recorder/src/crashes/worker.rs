//! The task that reads stored minidumps, one at a time, and stores their events.

use std::{
    convert::Infallible,
    io::{self, Read as _},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Locate, ModuleFolders, dump,
    event::{self, Found, Source},
    names, unwind,
};
use crate::{
    body::{self, BodyError, Opened},
    config::Limits,
    index::{Index, IndexError, Page, read},
    journal::{Append, BodyKind, Encoding, Journal, JournalError, Stored},
    protocol::{
        digest::{self, Kinds, MINIDUMP, MINIDUMP_EVENT, MINIDUMP_SEQ},
        envelope::{self, Envelope, EnvelopeError, Item},
        fields::Fields,
        minidump, seconds,
    },
};

/// Largest minidump that is read, decompressed. It is in memory as a whole.
const DUMP_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Largest number of minidumps that one look-up in the index returns.
const FOUND_MAX: u32 = 100;
/// Number of last events among which the one of the last minidump is looked for. Senders can write such events, too.
const EVENTS_MAX: u32 = 16;
/// Pause between two looks at the progress of the index.
const INDEX_PAUSE: Duration = Duration::from_secs(1);

/// Tells the task that minidumps were stored. Clones share it.
///
/// It says no more than that. The task looks them up in the index behind the last one that it read, so none is read twice or missed,
/// whatever the order in which the requests end.
#[derive(Clone, Debug)]
pub struct Crashes(Arc<Notify>);

impl Crashes {
    /// A minidump was stored. It may be in the index already, or not yet.
    pub(crate) fn stored(&self) {
        self.0.notify_one();
    }
}

/// What the task reads from and writes to.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) index: Index,
    pub(crate) journal: Journal,
    pub(crate) limits: Limits,
    pub(crate) folders: ModuleFolders,
    pub(crate) locate: Arc<dyn Locate>,
}

/// The task. It runs until the recorder stops.
pub(crate) struct CrashTask {
    sources: Sources,
    stored: Arc<Notify>,
}

#[derive(Debug, thiserror::Error)]
enum CrashError {
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("cannot read the journal: {0}")]
    Read(#[from] io::Error),
    #[error("cannot encode the event: {0}")]
    Encode(#[from] serde_json::Error),
    #[error("the worker failed")]
    Worker,
}

/// The finished event as an envelope.
struct Made {
    project: u32,
    envelope: Vec<u8>,
}

/// What one look-up in the index found.
struct Lookup {
    /// Oldest first.
    minidumps: Vec<u64>,
    /// There are no further minidumps up to this `seq`.
    through: u64,
    /// There may be more behind it already.
    is_full: bool,
}

impl CrashTask {
    /// Creates the task and the handle by which ingest reaches it.
    pub(crate) fn new(sources: Sources) -> (Crashes, Self) {
        let stored = Arc::new(Notify::new());
        (Crashes(Arc::clone(&stored)), Self { sources, stored })
    }

    /// Reads minidumps until `stop` is cancelled, first those that the last process has left.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        // What is not finished is read after the next start
        stop.run_until_cancelled(self.read_for_ever()).await;
        Ok(())
    }

    async fn read_for_ever(self) {
        let mut read_through = None;
        loop {
            if let Err(error) = self.sources.read_new(&mut read_through).await {
                tracing::warn!(error = %error, "cannot look for unread minidumps; the next one is a new attempt");
            }
            self.stored.notified().await;
        }
    }
}

impl Sources {
    /// Reads the minidumps behind `read_through`, which is looked up if it is not known yet.
    async fn read_new(&self, read_through: &mut Option<u64>) -> Result<(), CrashError> {
        let mut through = match *read_through {
            Some(through) => through,
            None => self.blocking(Self::last_read).await?,
        };
        loop {
            let found = self.blocking(move |sources| sources.find_behind(through)).await?;
            self.read_all(found.minidumps).await;
            through = found.through;
            *read_through = Some(through);
            if !found.is_full {
                return Ok(());
            }
        }
    }

    async fn read_all(&self, minidumps: Vec<u64>) {
        for seq in minidumps {
            if let Err(error) = self.read_one(seq).await {
                tracing::warn!(seq, error = %error, "a minidump has no event");
            }
        }
    }

    /// Waits until everything that is stored by now is in the index. While the index is built again, that takes longer than a query
    /// waits, and a minidump that is not in it yet would seem deleted, or its event unwritten.
    async fn indexed(&self) {
        while self.index.caught_up().await > 0 {
            // At once only if the indexer has ended, and then the recorder ends as well
            tokio::time::sleep(INDEX_PAUSE).await;
        }
    }

    /// Runs blocking work on everything that is stored by now.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, CrashError> + Send + 'static,
    ) -> Result<T, CrashError> {
        self.indexed().await;
        let sources = self.clone();
        telemetry::spawn_blocking(move || work(&sources)).await.map_err(|_| CrashError::Worker)?
    }

    async fn read_one(&self, seq: u64) -> Result<(), CrashError> {
        let made = self.blocking(move |sources| sources.make(seq)).await?;
        // It is not there any more if everything was deleted meanwhile
        let Some(Made { project, envelope }) = made else { return Ok(()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let received_at_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let digest = digest::digest(project, seconds(received_at_us), &Envelope::parse(&envelope)?);
        let (kind, encoding) = (BodyKind::Envelope, Encoding::Identity);
        self.journal
            .append(Append { received_at_us, project, kind, encoding, body: envelope.into(), digest })
            .await?;
        Ok(())
    }

    /// Returns the last minidump whose event is stored, or 0. They are read in their order, so those behind it are unread.
    fn last_read(&self) -> Result<u64, CrashError> {
        let events = self.index.read(|connection| {
            read::envelopes_down_from(
                connection,
                i64::MAX.cast_unsigned(),
                None,
                Kinds::of(MINIDUMP_EVENT),
                EVENTS_MAX,
            )
        })?;
        // One that cannot be read says nothing
        let read = events.iter().filter_map(|row| self.minidump_of(row).ok().flatten());
        Ok(read.max().unwrap_or_default())
    }

    /// Returns the minidump that an event was made of. A sender may write the header as well, but cannot point beyond its own envelope.
    fn minidump_of(&self, row: &read::EnvelopeRow) -> Result<Option<u64>, CrashError> {
        let Some(stored) = self.journal.reader().read(row.location)? else { return Ok(None) };
        let opened = body::open(stored.kind, stored.encoding, &stored.body, self.limits.body())?;
        let envelope = opened.envelope()?;
        let seq = Fields::parse(envelope.headers_raw).number(MINIDUMP_SEQ);
        Ok(seq.map(|seq| seq.min(row.seq)))
    }

    /// Looks up minidumps behind this `seq`, oldest first.
    fn find_behind(&self, since: u64) -> Result<Lookup, CrashError> {
        let page = Page { since, project: None, limit: FOUND_MAX };
        let (last, rows) = self.index.read(|connection| {
            // The end comes first: what is stored between the two is found again, or found now
            Ok((read::last_seq(connection)?, read::envelopes(connection, page, Kinds::of(MINIDUMP))?))
        })?;
        let minidumps: Vec<u64> = rows.into_iter().map(|row| row.seq).collect();
        let is_full = minidumps.len() >= FOUND_MAX as usize;
        let found_through = minidumps.last().copied().unwrap_or(since);
        let through = if is_full { found_through } else { found_through.max(last) };
        Ok(Lookup { minidumps, through, is_full })
    }

    /// Reads one minidump and writes its event.
    fn make(&self, seq: u64) -> Result<Option<Made>, CrashError> {
        let row = self.index.read(|connection| read::envelope(connection, seq))?;
        let Some(row) = row else { return Ok(None) };
        let Some(stored) = self.journal.reader().read(row.location)? else { return Ok(None) };
        let opened = body::open(stored.kind, stored.encoding, &stored.body, self.limits.body())?;
        let envelope = opened.envelope()?;
        let Some(position) = envelope.items.iter().position(minidump::is_minidump) else { return Ok(None) };
        let received_at = seconds(stored.received_at_us);
        let event_id = envelope
            .event_id()
            .or_else(|| envelope.payload_event_id())
            .unwrap_or_else(|| envelope::generated_id(seq, received_at));
        let sent = envelope.items.iter().find(|item| item.item_type() == "event").and_then(Item::json);
        let source = Source { event: sent, event_id: &event_id, seq, received_at };
        let event = match minidump(&stored, &opened, position).map_err(|error| error.to_string()) {
            Ok(bytes) => self.event(&source, &bytes),
            Err(problem) => event::finished(&source, Err(&problem)),
        };
        let payload = serde_json::to_string(&event)?;
        let mut made = format!("{{\"event_id\":\"{event_id}\",\"{MINIDUMP_SEQ}\":{seq}}}\n");
        made.push_str(&format!("{{\"type\":\"event\",\"length\":{}}}\n{payload}\n", payload.len()));
        Ok(Some(Made { project: stored.project, envelope: made.into_bytes() }))
    }

    fn event(&self, source: &Source<'_>, bytes: &[u8]) -> serde_json::Value {
        let crash = match dump::read(bytes) {
            Ok(crash) => crash,
            Err(error) => return event::finished(source, Err(&error.to_string())),
        };
        let mut files = unwind::Files::new(&crash, &self.folders);
        let walk = unwind::walk(&crash, &mut files);
        let frames = names::name(&crash, &walk, &mut files, self.locate.as_ref());
        event::finished(source, Ok(&Found { crash: &crash, frames, omitted: walk.omitted }))
    }
}

/// Reads the bytes of a minidump, which some senders compress by themselves.
fn minidump(stored: &Stored, opened: &Opened<'_>, position: usize) -> io::Result<Vec<u8>> {
    let bytes = match opened {
        Opened::Plain(_) => {
            let envelope = opened.envelope().map_err(io::Error::other)?;
            envelope.items.get(position).map(|item| item.payload.to_vec()).unwrap_or_default()
        }
        Opened::Skimmed(skimmed) => {
            let place = skimmed.places().nth(position).ok_or(io::ErrorKind::InvalidData)?;
            let (begin, end) = (place.payload.start, place.payload.end);
            let mut reader = body::decompressing(stored.encoding, &stored.body)?;
            io::copy(&mut reader.by_ref().take(begin), &mut io::sink())?;
            bounded(reader.take(end.saturating_sub(begin)))?
        }
    };
    match dump::encoding(&bytes) {
        None | Some(Encoding::Identity) => Ok(bytes),
        Some(encoding) => bounded(body::decompressing_part(encoding, &bytes)?),
    }
}

/// Reads to the end, unless that is too far.
fn bounded(reader: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(DUMP_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > DUMP_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {DUMP_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};

    use super::*;

    #[test]
    fn bomb_is_not_read() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        for _ in 0..=DUMP_BYTES_MAX / 65_536 {
            encoder.write_all(&[0; 65_536]).expect("memory");
        }
        let bomb = encoder.finish().expect("memory");
        assert!(bomb.len() < 1_000_000);
        let error = bounded(MultiGzDecoder::new(bomb.as_slice())).expect_err("too large");
        assert!(error.to_string().contains("larger"), "{error}");
        assert_eq!(bounded(&b"MDMP"[..]).expect("small"), b"MDMP");
    }
}

//! Writer thread: takes the waiting envelopes, writes them, synchronises once, then acknowledges all of them.

use std::{
    collections::VecDeque,
    io,
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    Append, Command, JournalError, Options,
    frame::Meta,
    progress::{IndexEntry, Location, Progress, State},
    recovery::{Active, Closed},
    segment,
};

/// Largest number of envelopes that share one synchronisation.
const BATCH_MAX: usize = 256;
/// Size at which a batch is closed, so that the buffer stays small.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Shortest time between two synchronisations. A request after an idle moment is not delayed. Under load more requests
/// share one, which leaves the disk and the processor to the observed services.
const SYNC_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Capacity that the buffer keeps after a larger batch.
const BUFFER_KEPT_BYTES: usize = 1024 * 1024;

type Reply = oneshot::Sender<Result<u64, JournalError>>;

pub(super) struct Writer {
    options: Options,
    active: Active,
    /// Complete segments, oldest first.
    segments: VecDeque<Closed>,
    progress: Arc<Progress>,
    buffer: Vec<u8>,
}

impl Writer {
    pub(super) fn new(
        options: Options,
        active: Active,
        segments: VecDeque<Closed>,
        progress: Arc<Progress>,
    ) -> Self {
        Self { options, active, segments, progress, buffer: Vec::new() }
    }

    /// Runs until `close`, until every handle is dropped, or until the disk cannot be trusted any more.
    pub(super) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut failed = false;
        let mut not_before = Instant::now();
        while let Some(command) = commands.blocking_recv() {
            std::thread::sleep(not_before.saturating_duration_since(Instant::now()));
            not_before = Instant::now() + SYNC_INTERVAL_MIN;
            let (mut deletion, mut close) = (None, false);
            let mut bytes = 0;
            let mut next = Some(command);
            while let Some(command) = next.take() {
                match command {
                    Command::Append(append, reply) => {
                        bytes += usize::try_from(append.body.bytes()).unwrap_or(usize::MAX);
                        batch.push((append, reply));
                    }
                    Command::DeleteAll(reply) => deletion = Some(reply),
                    Command::Close => close = true,
                }
                let open = deletion.is_none() && !close && batch.len() < BATCH_MAX && bytes < BATCH_BYTES_MAX;
                next = if open { commands.try_recv().ok() } else { None };
            }
            failed = !self.commit(&mut batch);
            if failed || close {
                break;
            }
            if let Some(reply) = deletion {
                send_reply(reply, self.delete_all().map_err(|error| JournalError::Write(error.to_string())));
            }
        }
        self.progress.close(failed);
    }

    /// Writes, synchronises and acknowledges one batch. Returns false when the disk cannot be trusted any more.
    fn commit(&mut self, batch: &mut Vec<(Append, Reply)>) -> bool {
        if batch.is_empty() {
            return true;
        }
        let (locations, end) = match self.write(batch) {
            Ok(written) => written,
            Err(error) => {
                tracing::error!(error = %error, "the journal could not be written");
                fail_batch(batch, &JournalError::Write(error.to_string()));
                // A later start must not find half-written bytes between two intact records.
                return self.active.file.set_len(self.active.end).is_ok();
            }
        };
        if let Err(error) = (self.options.sync)(&self.active.file) {
            // After a failed fsync the kernel may have dropped the pages, so a retry could succeed without the data.
            tracing::error!(error = %error, "the journal could not be synchronised and is closed");
            fail_batch(batch, &JournalError::Closed);
            return false;
        }
        self.active.end = end;
        self.active.next_seq += batch.len() as u64;
        let mut written = Vec::with_capacity(batch.len());
        let mut replies = Vec::with_capacity(batch.len());
        for ((append, reply), (seq, location)) in batch.drain(..).zip(locations) {
            let Append { received_at_us, project, digest, .. } = append;
            written.push(IndexEntry { seq, received_at_us, project, location, digest });
            replies.push((reply, seq));
        }
        self.progress.publish(self.state(), written);
        for (reply, seq) in replies {
            send_reply(reply, Ok(seq));
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES);
        self.rotate_if_full()
    }

    /// Appends the batch to the segment: small bodies through the buffer, large ones from their files. Returns the location
    /// of each record and the end of the last one.
    fn write(&mut self, batch: &[(Append, Reply)]) -> io::Result<(Vec<(u64, Location)>, u64)> {
        let Active { file, layout, base, end, next_seq } = &self.active;
        self.buffer.clear();
        let mut end = *end;
        let mut locations = Vec::with_capacity(batch.len());
        for (seq, (append, _)) in (*next_seq..).zip(batch) {
            let Append { received_at_us, project, kind, encoding, body, .. } = append;
            let meta = Meta {
                seq,
                received_at_us: *received_at_us,
                project: *project,
                kind: *kind,
                encoding: *encoding,
            };
            let offset = end + self.buffer.len() as u64;
            let bytes = match body.memory() {
                Some(bytes) => layout.encode(meta, bytes, &mut self.buffer) as u64,
                None => {
                    file.write_all_at(&self.buffer, end)?;
                    self.buffer.clear();
                    let bytes = layout.write(meta, body, file, offset)?;
                    end = offset + bytes;
                    bytes
                }
            };
            locations.push((seq, Location { segment: *base, offset, bytes }));
        }
        file.write_all_at(&self.buffer, end)?;
        Ok((locations, end + self.buffer.len() as u64))
    }

    /// Starts a new segment when this one is full, then deletes the oldest. A failure leaves the current segment in use.
    fn rotate_if_full(&mut self) -> bool {
        if self.active.end >= self.options.segment_bytes {
            let done = self.rotate().and_then(|()| self.apply_retention());
            if let Err(error) = done {
                tracing::error!(error = %error, "the journal could not start a new segment or delete an old one");
            }
        }
        true
    }

    fn rotate(&mut self) -> io::Result<()> {
        let base = self.active.next_seq;
        if base == self.active.base {
            return Ok(());
        }
        let next = Active::create(&self.options, base)?;
        self.segments.push_back(Closed { base: self.active.base, bytes: self.active.end });
        self.active = next;
        Ok(())
    }

    fn apply_retention(&mut self) -> io::Result<()> {
        while self.state().bytes > self.options.retention_bytes && self.remove_oldest()? {}
        self.progress.publish(self.state(), []);
        Ok(())
    }

    fn delete_all(&mut self) -> io::Result<u64> {
        self.rotate()?;
        while self.remove_oldest()? {}
        self.progress.publish(self.state(), []);
        Ok(self.active.next_seq)
    }

    /// Returns false when no closed segment is left. A file that cannot be removed stays known, so it is tried again.
    fn remove_oldest(&mut self) -> io::Result<bool> {
        let Some(oldest) = self.segments.front() else { return Ok(false) };
        segment::remove(&self.options.directory, oldest.base)?;
        self.segments.pop_front();
        Ok(true)
    }

    fn state(&self) -> State {
        State {
            durable: self.active.next_seq - 1,
            floor: self.segments.front().map_or(self.active.base, |segment| segment.base),
            bytes: self.segments.iter().map(|segment| segment.bytes).sum::<u64>() + self.active.end,
            failed: false,
        }
    }
}

fn fail_batch(batch: &mut Vec<(Append, Reply)>, error: &JournalError) {
    for (_, reply) in batch.drain(..) {
        send_reply(reply, Err(error.clone()));
    }
}

/// Sends a result to its request. A sender that has disconnected is not an error, because its envelope is stored.
fn send_reply(reply: Reply, result: Result<u64, JournalError>) {
    if reply.send(result).is_err() {
        tracing::trace!("the sender disconnected before its response");
    }
}

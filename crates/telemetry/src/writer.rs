//! The writer thread, which encodes the bridge's transactions and the SDK's envelopes, so that no request has to.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sentry::Envelope;

use crate::config::About;
use crate::drop_count::{Category, Reason, lose};
use crate::lifecycle;
use crate::profiler::Chunk;
use crate::transaction::Finished;
use crate::transaction::encode;
use crate::transport::{Outgoing, Transport};

mod batch;
mod sdk;
mod segments;
use batch::{Limits, Priority, Receiver, Refused, Sender, Urgency};
pub(crate) use sdk::{Factory, SdkTransport};
use segments::Segments;

/// Limits of queued jobs, without the batch in progress. The number of their spans limits transactions, too.
const LIMITS: Limits = Limits { first_max: 128, rest_max: 512 };
/// Time that an idle writer waits for more transactions, because a batch wakes each thread on the way only once. At twenty bets a
/// second, a service has several of them in this time. A process that is killed loses as much.
const BATCH_DELAY: Duration = Duration::from_millis(250);
/// Interval at which the writer checks for roots whose grace period is over.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum Job {
    Transaction(Box<Finished>),
    Captured(Box<Envelope>),
    /// A part of a continuous profile.
    Chunk(Box<Chunk>),
    /// A request to signal that everything before it is written.
    Barrier(SyncSender<()>),
}

impl Job {
    fn urgency(&self) -> Urgency {
        match self {
            Self::Transaction(_) | Self::Chunk(_) => Urgency::CanWait,
            // An error may be the last item of this process
            Self::Captured(envelope) if !sdk::goes_first(envelope) => Urgency::CanWait,
            Self::Captured(_) | Self::Barrier(_) => Urgency::Urgent,
        }
    }

    fn priority(&self) -> Priority {
        match self {
            Self::Captured(envelope) if sdk::goes_first(envelope) => Priority::First,
            Self::Captured(_) | Self::Transaction(_) | Self::Chunk(_) => Priority::Rest,
            Self::Barrier(_) => Priority::Last,
        }
    }
}

/// The sending end of the queue to the writer. It never blocks.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    jobs: Sender<Job>,
}

/// The receiving end, until the writer's thread runs.
#[derive(Debug)]
pub(crate) struct Jobs {
    jobs: Receiver<Job>,
}

pub(crate) fn channel() -> (Writer, Jobs) {
    let (sender, receiver) = batch::queue(LIMITS, BATCH_DELAY);
    (Writer { jobs: sender }, Jobs { jobs: receiver })
}

impl Writer {
    /// Passes a transaction on. One that was discarded ends here.
    pub(crate) fn transaction(&self, finished: Finished) {
        if finished.discarded {
            lose_all(Reason::SampleRate, &losses_of(&finished));
            return;
        }
        self.submit(Job::Transaction(Box::new(finished)));
    }

    pub(crate) fn captured(&self, envelope: Envelope) {
        self.submit(Job::Captured(Box::new(envelope)));
    }

    /// Passes a chunk of a continuous profile on.
    pub(crate) fn chunk(&self, chunk: Chunk) {
        self.submit(Job::Chunk(Box::new(chunk)));
    }

    fn submit(&self, job: Job) {
        let (priority, urgency) = (job.priority(), job.urgency());
        let lost = match self.jobs.send(job, priority, urgency) {
            Ok(None) => return,
            Ok(Some(job)) | Err(Refused::Full(job) | Refused::Closed(job)) => job,
        };
        match lost {
            Job::Transaction(finished) => lose_all(Reason::QueueOverflow, &losses_of(&finished)),
            Job::Captured(envelope) => sdk::lose_envelope(Reason::QueueOverflow, &envelope),
            Job::Chunk(_) => lose(Reason::QueueOverflow, Category::ProfileChunk, 1),
            Job::Barrier(_) => {}
        }
    }

    /// Waits until all jobs so far are written.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (done, written) = sync_channel(1);
        let mut barrier = Job::Barrier(done);
        loop {
            match self.jobs.send(barrier, Priority::Last, Urgency::Urgent) {
                Ok(_) => break,
                Err(Refused::Closed(_)) => return false,
                Err(Refused::Full(_)) if Instant::now() >= deadline => return false,
                Err(Refused::Full(returned)) => {
                    barrier = returned;
                    // The queue does not signal that it has room again
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        written.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

impl Jobs {
    /// Runs until every [`Writer`] is dropped. The bridge holds one as long as the process lives. `sweep` is called regularly.
    pub(crate) fn spawn(
        self,
        about: About,
        transport: Arc<Transport>,
        sweep: impl Fn(Instant) + Send + 'static,
    ) -> Result<(), String> {
        let run = move || {
            let mut swept = Instant::now();
            let mut segments = Segments::default();
            while let Some(jobs) = self.jobs.take(SWEEP_INTERVAL) {
                let has_jobs = !jobs.is_empty();
                for job in jobs {
                    write(job, &mut segments, &about, &transport);
                }
                segments.write(&about, &transport);
                if has_jobs {
                    transport.wake();
                }
                if swept.elapsed() >= SWEEP_INTERVAL {
                    swept = Instant::now();
                    sweep(swept);
                }
            }
        };
        std::thread::Builder::new()
            .name("telemetry-writer".to_owned())
            .spawn(run)
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

/// Encodes a job into the transport's queue, which is sent when the batch is complete. A segment whose spans are streamed waits for
/// others of its trace until then.
fn write(job: Job, segments: &mut Segments, about: &About, transport: &Transport) {
    match job {
        Job::Transaction(mut finished) => {
            if finished.profile.is_some() && transport.is_limited(Category::Profile) {
                finished.profile = None;
                lose(Reason::RatelimitBackoff, Category::Profile, 1);
            }
            if is_streamed(&finished) {
                segments.add(*finished);
                return;
            }
            let losses = losses_of(&finished);
            if transport.is_limited(Category::Transaction) {
                lose_all(Reason::RatelimitBackoff, &losses);
                return;
            }
            let mut bytes = Vec::with_capacity(1_024 + 512 * finished.children.len());
            match encode::transaction(&finished, about, &mut bytes) {
                Ok(()) => transport.submit(Outgoing::new(Category::Transaction, bytes, losses)),
                Err(_) => lose_all(Reason::InternalSdkError, &losses),
            }
        }
        Job::Captured(envelope) => sdk::write(&envelope, transport),
        Job::Chunk(chunk) => write_chunk(&chunk, about, transport),
        Job::Barrier(done) => {
            segments.write(about, transport);
            // The receiver is gone if its time-out is over
            done.try_send(()).ok();
        }
    }
}

fn write_chunk(chunk: &Chunk, about: &About, transport: &Transport) {
    if transport.is_limited(Category::ProfileChunk) {
        lose(Reason::RatelimitBackoff, Category::ProfileChunk, 1);
        return;
    }
    let mut bytes = Vec::with_capacity(16 * 1_024);
    match encode::chunk(chunk, about, &mut bytes) {
        Ok(()) => {
            let losses = vec![(Category::ProfileChunk, 1)];
            transport.submit(Outgoing::new(Category::ProfileChunk, bytes, losses));
        }
        Err(_) => lose(Reason::InternalSdkError, Category::ProfileChunk, 1),
    }
}

/// Returns true if the spans are streamed. A segment with a profile is a transaction in both lifecycles, because Sentry takes a
/// profile of this format only together with its transaction.
fn is_streamed(finished: &Finished) -> bool {
    lifecycle::is_streamed() && finished.profile.is_none()
}

fn count_of_spans(finished: &Finished) -> u64 {
    u64::try_from(finished.children.len()).unwrap_or(u64::MAX).saturating_add(1)
}

fn losses_of(finished: &Finished) -> Vec<(Category, u64)> {
    let spans = count_of_spans(finished);
    if is_streamed(finished) {
        return vec![(Category::Span, spans)];
    }
    let mut losses = vec![(Category::Transaction, 1), (Category::Span, spans)];
    losses.extend(finished.profile.iter().map(|_| (Category::Profile, 1)));
    losses
}

fn lose_all(reason: Reason, losses: &[(Category, u64)]) {
    for (category, quantity) in losses {
        lose(reason, *category, *quantity);
    }
}

//! The thread that writes envelopes, so that no request does: transactions from the bridge, and what the SDK captured.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sentry::Envelope;

use crate::bridge::encode::{self, About};
use crate::bridge::{Bridge, Finished};
use crate::drop_count::{Category, Reason, lose};
use crate::transport::{Outgoing, Transport};

mod batch;
mod sdk;
use batch::{Haste, Place, Receiver, Refused, Room, Sender};
pub(crate) use sdk::{Factory, SdkTransport};

/// Jobs waiting to be written, besides those of the batch in hand. Transactions are bounded by their spans, too.
const ROOM: Room = Room { first_max: 128, rest_max: 512 };
/// How long a transaction waits for company, once the writer has nothing else to do: a batch wakes each thread on the way once.
const LINGER: Duration = Duration::from_millis(50);
/// How often an idle writer looks for roots whose grace is over.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug)]
enum Job {
    Transaction(Box<Finished>),
    Captured(Box<Envelope>),
    /// Everything before it is written: say so.
    Barrier(SyncSender<()>),
}

impl Job {
    fn haste(&self) -> Haste {
        match self {
            Self::Transaction(_) => Haste::MayLinger,
            // an error may be the last that this process says
            Self::Captured(envelope) if !sdk::goes_first(envelope) => Haste::MayLinger,
            Self::Captured(_) | Self::Barrier(_) => Haste::Now,
        }
    }

    fn place(&self) -> Place {
        match self {
            Self::Captured(envelope) if sdk::goes_first(envelope) => Place::First,
            Self::Captured(_) | Self::Transaction(_) => Place::Rest,
            Self::Barrier(_) => Place::Last,
        }
    }
}

/// The way to the writer; never blocks.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    jobs: Sender<Job>,
}

/// The writer's end, until its thread runs.
#[derive(Debug)]
pub(crate) struct Jobs {
    jobs: Receiver<Job>,
}

pub(crate) fn channel() -> (Writer, Jobs) {
    let (sender, receiver) = batch::queue(ROOM, LINGER);
    (Writer { jobs: sender }, Jobs { jobs: receiver })
}

impl Writer {
    pub(crate) fn transaction(&self, finished: Finished) {
        self.submit(Job::Transaction(Box::new(finished)));
    }

    pub(crate) fn captured(&self, envelope: Envelope) {
        self.submit(Job::Captured(Box::new(envelope)));
    }

    fn submit(&self, job: Job) {
        let (place, haste) = (job.place(), job.haste());
        let lost = match self.jobs.send(job, place, haste) {
            Ok(None) => return,
            Ok(Some(job)) | Err(Refused::Full(job) | Refused::Closed(job)) => job,
        };
        match lost {
            Job::Transaction(finished) => lose_all(Reason::QueueOverflow, &losses_of(&finished)),
            Job::Captured(envelope) => sdk::lose_envelope(Reason::QueueOverflow, &envelope),
            Job::Barrier(_) => {}
        }
    }

    /// Waits until what was handed over so far is written.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (done, written) = sync_channel(1);
        let mut barrier = Job::Barrier(done);
        loop {
            match self.jobs.send(barrier, Place::Last, Haste::Now) {
                Ok(_) => break,
                Err(Refused::Closed(_)) => return false,
                Err(Refused::Full(_)) if Instant::now() >= deadline => return false,
                Err(Refused::Full(returned)) => {
                    barrier = returned;
                    // the queue tells nobody that it has room again
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        written.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

impl Jobs {
    /// Runs until every [`Writer`] is gone; the bridge has one as long as the process lives.
    pub(crate) fn spawn(self, about: About, transport: Arc<Transport>, bridge: Bridge) -> Result<(), String> {
        let run = move || {
            let mut swept = Instant::now();
            while let Some(jobs) = self.jobs.take(SWEEP_EVERY) {
                let is_something_new = !jobs.is_empty();
                for job in jobs {
                    write(job, &about, &transport);
                }
                if is_something_new {
                    transport.wake();
                }
                if swept.elapsed() >= SWEEP_EVERY {
                    swept = Instant::now();
                    bridge.sweep(swept);
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

/// Leaves what is written in the transport's queue, to be sent when the batch is whole.
fn write(job: Job, about: &About, transport: &Transport) {
    match job {
        Job::Transaction(finished) => {
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
        // nobody waits any more when its time was up
        Job::Barrier(done) => drop(done.try_send(())),
    }
}

fn losses_of(finished: &Finished) -> Vec<(Category, u64)> {
    let spans = u64::try_from(finished.children.len()).unwrap_or(u64::MAX).saturating_add(1);
    vec![(Category::Transaction, 1), (Category::Span, spans)]
}

fn lose_all(reason: Reason, losses: &[(Category, u64)]) {
    for (category, quantity) in losses {
        lose(reason, *category, *quantity);
    }
}

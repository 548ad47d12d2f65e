//! Copies of all envelopes for a second witness on this machine, such as Sentry's Spotlight.
//!
//! It guarantees that the witness never delays ingestion: copies wait in one bounded queue, and what finds no room is dropped and
//! counted. The witness gets what the recorder acknowledged, item by item. Exports of OpenTelemetry are not copied, because Spotlight
//! has no endpoint for them, and bodies above 1 MiB neither, because it keeps the last 500 envelopes in memory.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::Semaphore;

use super::{
    copy::Keys,
    large::{FileRoom, LargeCopy},
    queue::{Queue, QueuedCopy},
    stats::{CopyStats, ForwardState},
    targets::Target,
    volume::Volume,
    worker::{self, Worker},
};
use crate::{
    body::Limits,
    journal::{Body, BodyKind, Encoding},
    protocol::auth::Dsn,
};

/// Name of the copies in the status, in logs and in metrics, where others have the name of their project.
const NAME: &str = "second-witness";
/// Key and project of its requests. Spotlight accepts any.
const KEY: &str = "pitboss";
const PROJECT: u32 = 1;
/// Total size of the waiting copies of one class.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest number of waiting copies of one class: those of all services, in a burst of a hundred bets.
const WAITING_MAX: usize = 1_024;

/// Largest body that is copied. One in a file waits there.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// The address of a second witness is not on this machine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "recorder.second_witness: {0} is not a loopback address, and envelopes are copied to this machine only"
)]
pub struct NotLoopback(pub SocketAddr);

impl NotLoopback {
    /// Checks an address.
    ///
    /// # Errors
    /// When it is not on this machine.
    pub fn check(address: SocketAddr) -> Result<SocketAddr, Self> {
        if address.ip().is_loopback() { Ok(address) } else { Err(Self(address)) }
    }
}

/// Handle for queueing copies. Clones share the queue.
#[derive(Clone, Debug)]
pub(super) struct SecondWitness {
    queue: Arc<Queue>,
    stats: Arc<CopyStats>,
    room: FileRoom,
}

impl SecondWitness {
    /// Returns the handle, and the sender of the copies.
    pub(super) fn new(address: SocketAddr, limits: Limits) -> Result<(Self, Worker), reqwest::Error> {
        let queue = Arc::new(Queue::with_limits(WAITING_BYTES_MAX, WAITING_MAX));
        let stats = Arc::new(CopyStats::new(NAME));
        let worker = Worker::new(
            target(address),
            Keys::unchanged(),
            Arc::clone(&queue),
            Arc::clone(&stats),
            worker::local_client()?,
            limits,
            Arc::new(Semaphore::new(1)),
        );
        Ok((Self { queue, stats, room: FileRoom::default() }, worker))
    }

    /// Queues a copy without waiting.
    pub(super) fn push(&self, kind: BodyKind, encoding: Encoding, body: &Body, volumes: &[Volume]) {
        if kind.otlp().is_some() {
            return;
        }
        let volumes = volumes.to_vec();
        let Body::Memory(body) = body else { return self.push_large(kind, encoding, body, volumes) };
        for lost in self.queue.push(QueuedCopy { kind, encoding, body: body.clone(), volumes }) {
            self.stats.record_queue_full(&lost.volumes);
        }
    }

    /// Queues a copy of a body in a file.
    fn push_large(&self, kind: BodyKind, encoding: Encoding, body: &Body, volumes: Vec<Volume>) {
        let room = if body.bytes() <= BODY_BYTES_MAX { self.room.take(body.bytes()) } else { None };
        let Some(room) = room else { return self.stats.record_queue_full(&volumes) };
        let copy = LargeCopy { kind, encoding, body: body.clone(), volumes, _room: room };
        if let Some(lost) = self.queue.push_large(copy) {
            self.stats.record_queue_full(&lost.volumes);
        }
    }

    pub(super) fn state(&self) -> ForwardState {
        self.stats.state()
    }
}

fn target(address: SocketAddr) -> Target {
    let endpoint = format!("http://{address}/api/{PROJECT}/envelope/");
    let dsn = Dsn { key: KEY.to_owned(), project: PROJECT, endpoint };
    Target { project: PROJECT, name: NAME.to_owned(), dsn }
}

#[cfg(test)]
mod tests {
    use futures::poll;
    use telemetry::Category;

    use super::*;
    use crate::journal::Blob;

    const ERROR: [Volume; 1] = [Volume { category: Category::Error, quantity: 1 }];
    const SPAN: [Volume; 1] = [Volume { category: Category::Transaction, quantity: 1 }];

    fn witness() -> SecondWitness {
        // Another test in this process may have installed a provider already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let limits = Limits { envelope_bytes_max: 1_000, memory_bytes_max: 1_000 };
        let address = "127.0.0.1:8125".parse().expect("an address");
        SecondWitness::new(address, limits).expect("a client").0
    }

    fn push(witness: &SecondWitness, bytes: usize, volumes: &[Volume]) {
        let body = Body::from(vec![b'a'; bytes]);
        witness.push(BodyKind::Envelope, Encoding::Identity, &body, volumes);
    }

    #[test]
    fn only_this_machine_is_a_witness() {
        for (address, is_accepted) in [
            ("127.0.0.1:8125", true),
            ("[::1]:8125", true),
            ("0.0.0.0:8125", false),
            ("10.0.0.1:8125", false),
        ] {
            let address: SocketAddr = address.parse().expect("an address");
            assert_eq!(NotLoopback::check(address).is_ok(), is_accepted, "{address}");
        }
        let target = target("[::1]:8125".parse().expect("an address"));
        assert_eq!(target.dsn.endpoint, "http://[::1]:8125/api/1/envelope/");
    }

    /// The sender is never run here, so this also shows that a witness that hangs keeps nobody waiting.
    #[tokio::test]
    async fn burst_beyond_the_queue_is_dropped_and_counted() {
        let witness = witness();
        for _ in 0..WAITING_MAX {
            push(&witness, 10, &SPAN);
        }
        assert_eq!(witness.state().dropped_queue_full, 0);
        push(&witness, 10, &SPAN);
        push(&witness, 10, &ERROR);
        let state = witness.state();
        assert_eq!(
            (state.dropped_queue_full, state.project.as_str()),
            (1, NAME),
            "errors have their own room"
        );
        assert_eq!(state.dropped["transaction"]["queue_overflow"], 1);
        push(&witness, WAITING_BYTES_MAX + 1, &ERROR);
        assert_eq!(witness.state().dropped_queue_full, 2, "it never fits");
    }

    #[tokio::test]
    async fn large_bodies_are_counted_and_exports_are_not_copied() {
        let witness = witness();
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let push = |bytes: u64| {
            let body = Body::File(Blob { file: Arc::clone(&file), offset: 0, bytes });
            witness.push(BodyKind::Envelope, Encoding::Gzip, &body, &ERROR);
        };
        push(BODY_BYTES_MAX);
        assert!(poll!(Box::pin(witness.queue.next_large())).is_ready());
        push(BODY_BYTES_MAX + 1);
        assert_eq!(witness.state().dropped["error"]["queue_overflow"], 1);
        let export = Body::from(vec![b'a'; 10]);
        witness.push(BodyKind::OtlpTraces, Encoding::Identity, &export, &SPAN);
        assert_eq!(witness.state().dropped_queue_full, 1, "an export is no loss");
        assert!(poll!(Box::pin(witness.queue.next(true))).is_pending(), "nothing is queued");
    }
}

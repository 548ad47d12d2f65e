//! Forwards copies of envelopes to a real Sentry, for each project that has a DSN there.
//!
//! It guarantees that forwarding never delays or changes what is stored. Queues are bounded in number and in bytes, errors
//! go before spans and logs ([`queue`]), and only a few requests are in flight. A body in a file stays there, and one such copy
//! is made at a time ([`large`]). Items that the target limits are left out.
//! A copy that does not fit, is refused or fails is dropped and never retried. Every loss is counted by project and
//! category, shown in the status, and reported to the target in a client report, as an SDK does.
//!
//! A second witness on this machine ([`witness`]) gets copies in the same way, of all projects and from a queue of its own.

mod copy;
mod form;
mod large;
mod queue;
mod stats;
mod targets;
mod volume;
mod witness;
mod worker;

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    body::Limits,
    journal::{Body, BodyKind, Encoding},
    projects::Projects,
};

pub use stats::{ForwardState, LastError};
pub use targets::{Target, TargetError, targets};
pub use volume::Volume;
pub use witness::NotLoopback;

use copy::Keys;
use large::{FileRoom, LargeCopy};
use queue::{Queue, QueuedCopy};
use stats::CopyStats;
use witness::SecondWitness;
use worker::Worker;

/// Total size of the waiting copies of one class. Each project has an equal share.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Smallest share of a project: room for two copies of the largest size that is forwarded.
const SHARE_BYTES_MIN: usize = 2 * crate::body::SMALL_BYTES;

/// Queue and counters by project id.
type Queues = HashMap<u32, (Arc<Queue>, Arc<CopyStats>)>;

/// Handle for queueing copies. Clones share the queues.
#[derive(Clone, Debug)]
pub struct Forwarder {
    queues: Arc<Queues>,
    room: FileRoom,
    witness: Option<SecondWitness>,
}

impl Forwarder {
    /// Returns the forwarder for these targets and the task that sends its copies.
    pub fn new(
        targets: Vec<Target>,
        projects: &Projects,
        limits: Limits,
    ) -> Result<(Self, ForwardTask), reqwest::Error> {
        let mut queues = HashMap::new();
        let mut workers = Vec::new();
        if !targets.is_empty() {
            let client = worker::client()?;
            let keys = Keys::new(projects, &targets);
            let large = Arc::new(Semaphore::new(1));
            let share = (WAITING_BYTES_MAX / targets.len()).max(SHARE_BYTES_MIN);
            for target in targets {
                let (queue, stats) = (Arc::new(Queue::new(share)), Arc::new(CopyStats::new(&target.name)));
                queues.insert(target.project, (Arc::clone(&queue), Arc::clone(&stats)));
                let (keys, client, large) = (keys.clone(), client.clone(), Arc::clone(&large));
                workers.push(Worker::new(target, keys, queue, stats, client, limits, large));
            }
        }
        let forwarder = Self { queues: Arc::new(queues), room: FileRoom::default(), witness: None };
        Ok((forwarder, ForwardTask(workers)))
    }

    /// Adds the second witness at this address, and the sender of its copies to `task`.
    ///
    /// # Errors
    /// When the HTTP client cannot be created.
    pub fn with_witness(
        self,
        address: SocketAddr,
        limits: Limits,
        task: &mut ForwardTask,
    ) -> Result<Self, reqwest::Error> {
        let (witness, worker) = SecondWitness::new(address, limits)?;
        task.0.push(worker);
        Ok(Self { witness: Some(witness), ..self })
    }

    /// Returns true when the envelopes of this project are forwarded.
    #[must_use]
    pub fn has_target(&self, project: u32) -> bool {
        self.witness.is_some() || self.queues.contains_key(&project)
    }

    /// Queues a copy without waiting. `volumes` are counted as lost if the copy is dropped.
    pub fn push(&self, project: u32, kind: BodyKind, encoding: Encoding, body: Body, volumes: Vec<Volume>) {
        if let Some(witness) = &self.witness {
            witness.push(kind, encoding, &body, &volumes);
        }
        let Some((queue, stats)) = self.queues.get(&project) else { return };
        match body {
            Body::Memory(body) => {
                for lost in queue.push(QueuedCopy { kind, encoding, body, volumes }) {
                    stats.record_queue_full(&lost.volumes);
                }
            }
            Body::File(_) => {
                // The file has no name. It takes room on the disk for as long as somebody has it open.
                let Some(room) = self.room.take(body.bytes()) else {
                    return stats.record_queue_full(&volumes);
                };
                let copy = LargeCopy { kind, encoding, body, volumes, _room: room };
                if let Some(lost) = queue.push_large(copy) {
                    stats.record_queue_full(&lost.volumes);
                }
            }
        }
    }

    /// Returns the state of each project's copies, ordered by project name. Those for the second witness are not among them.
    #[must_use]
    pub fn states(&self) -> Vec<ForwardState> {
        let mut states: Vec<_> = self.queues.values().map(|(_, stats)| stats.state()).collect();
        states.sort_by(|a, b| a.project.cmp(&b.project));
        states
    }

    /// Returns the state of the copies for the second witness, if there is one.
    #[must_use]
    pub fn witness_state(&self) -> Option<ForwardState> {
        self.witness.as_ref().map(SecondWitness::state)
    }
}

/// Sends the queued copies while the listeners run.
#[derive(Debug)]
pub struct ForwardTask(Vec<Worker>);

impl ForwardTask {
    /// Sends until `stop` is cancelled. Copies that still wait are lost, as with any Sentry SDK.
    ///
    /// Never fails: a failed copy is counted.
    pub async fn run(self, stop: CancellationToken) -> Result<(), std::convert::Infallible> {
        let sending = join_all(self.0.into_iter().map(Worker::run));
        tokio::select! {
            _ = sending => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{body::SMALL_BYTES, journal::Blob, protocol::auth::Dsn};

    fn forwarder(targets: u32) -> Forwarder {
        let target = |project: u32| Target {
            project,
            name: format!("project-{project}"),
            dsn: Dsn::parse("http://theirs@127.0.0.1/7").expect("a DSN"),
        };
        let projects = Projects::new(Vec::new()).expect("projects");
        let limits = Limits { envelope_bytes_max: 1_000, memory_bytes_max: 1_000 };
        Forwarder::new((1..=targets).map(target).collect(), &projects, limits).expect("a client").0
    }

    #[tokio::test]
    async fn queue_bytes_are_split_for_two_copies_or_more() {
        // Another test in this process may have installed a provider already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        for (targets, room) in [(1, 32), (2, 16), (64, 2)] {
            let forwarder = forwarder(targets);
            let offer = || {
                let body = Body::from(vec![b'a'; SMALL_BYTES]);
                forwarder.push(1, BodyKind::Envelope, Encoding::Identity, body, Vec::new());
            };
            let lost = || forwarder.states().iter().map(|state| state.dropped_queue_full).sum::<u64>();
            for _ in 0..room {
                offer();
            }
            assert_eq!(lost(), 0, "{room} of the largest fit, with {targets} targets");
            offer();
            assert_eq!(lost(), 1, "one more does not, with {targets} targets");
        }
    }

    #[tokio::test]
    async fn files_of_copies_have_a_limit() {
        // Another test in this process may have installed a provider already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let forwarder = forwarder(2);
        let file = Arc::new(tempfile::tempfile().expect("a file"));
        let offer = |project: u32, mebibytes: u64| {
            let blob = Blob { file: Arc::clone(&file), offset: 0, bytes: mebibytes << 20 };
            forwarder.push(project, BodyKind::Envelope, Encoding::Gzip, Body::File(blob), Vec::new());
        };
        let lost = || forwarder.states().iter().map(|state| state.dropped_queue_full).collect::<Vec<_>>();
        offer(1, 300);
        offer(2, 212);
        assert_eq!(lost(), [0, 0]);
        offer(2, 1);
        assert_eq!(lost(), [0, 1], "all projects share the limit");
        for _ in 0..16 {
            offer(1, 0);
        }
        assert_eq!(lost(), [1, 1], "the oldest of too many is dropped");
        offer(2, 300);
        assert_eq!(lost(), [1, 1], "its room is free again");
    }
}

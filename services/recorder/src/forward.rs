//! Forwards copies of envelopes to a real Sentry, for each project that has a DSN there.
//!
//! It guarantees that forwarding never delays or changes what is stored. Queues are bounded in number and in bytes, errors
//! go before spans and logs ([`queue`]), and only a few requests are in flight. Items that the target limits are left out.
//! A copy that does not fit, is refused or fails is dropped and never retried. Every loss is counted by project and
//! category, shown in the status, and reported to the target in a client report, as an SDK does.

mod copy;
mod lane;
mod queue;
mod targets;
mod volume;
mod worker;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::{
    journal::{Body, BodyKind, Encoding},
    projects::Projects,
};

pub use lane::{ForwardState, LastError};
pub use targets::{TargetError, targets};
pub use volume::Volume;

use copy::Keys;
use lane::Lane;
use queue::Queue;
use worker::Worker;

/// Total size of the waiting copies of one class. Each project has an equal share.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Smallest share of a project: room for two copies of the largest size that is forwarded.
const SHARE_BYTES_MIN: usize = 2 * crate::body::SMALL_BYTES;

/// Destination of the copies of one project.
#[derive(Clone, Debug)]
pub struct Target {
    /// Numeric id of the project in the recorder.
    pub project: u32,
    /// Name of the project.
    pub name: String,
    /// DSN of the project in the target Sentry.
    pub dsn: crate::protocol::auth::Dsn,
}

/// A copy that waits to be sent.
#[derive(Debug)]
struct Copy {
    kind: BodyKind,
    encoding: Encoding,
    body: Bytes,
    volumes: Vec<Volume>,
}

/// Queue and counters by project id.
type Lanes = HashMap<u32, (Arc<Queue>, Arc<Lane>)>;

/// Handle for queueing copies. Clones share the queues.
#[derive(Clone, Debug)]
pub struct Forwarder {
    lanes: Arc<Lanes>,
}

impl Forwarder {
    /// Returns the forwarder for these targets and the task that sends its copies.
    pub fn new(
        targets: Vec<Target>,
        projects: &Projects,
        envelope_bytes_max: usize,
    ) -> Result<(Self, Copying), reqwest::Error> {
        let mut lanes = HashMap::new();
        let mut workers = Vec::new();
        if !targets.is_empty() {
            let client = worker::client()?;
            let keys = Keys::new(projects, &targets);
            let share = (WAITING_BYTES_MAX / targets.len()).max(SHARE_BYTES_MIN);
            for target in targets {
                let (queue, lane) = (Arc::new(Queue::new(share)), Arc::new(Lane::new(&target.name)));
                lanes.insert(target.project, (Arc::clone(&queue), Arc::clone(&lane)));
                let keys = keys.clone();
                workers.push(Worker::new(target, keys, queue, lane, client.clone(), envelope_bytes_max));
            }
        }
        Ok((Self { lanes: Arc::new(lanes) }, Copying(workers)))
    }

    /// Returns true when the envelopes of this project are forwarded.
    #[must_use]
    pub fn takes(&self, project: u32) -> bool {
        self.lanes.contains_key(&project)
    }

    /// Queues a copy without waiting. `volumes` are counted as lost if the copy is dropped.
    pub fn offer(&self, project: u32, kind: BodyKind, encoding: Encoding, body: Body, volumes: Vec<Volume>) {
        let Some((queue, lane)) = self.lanes.get(&project) else { return };
        // A body in a file is larger than any copy that is forwarded.
        let Body::Memory(body) = body else { return lane.lose_for_queue(&volumes) };
        for lost in queue.push(Copy { kind, encoding, body, volumes }) {
            lane.lose_for_queue(&lost.volumes);
        }
    }

    /// Returns the state of each project's copies, ordered by project name.
    #[must_use]
    pub fn states(&self) -> Vec<ForwardState> {
        let mut states: Vec<_> = self.lanes.values().map(|(_, lane)| lane.state()).collect();
        states.sort_by(|a, b| a.project.cmp(&b.project));
        states
    }
}

/// Sends the queued copies while the listeners run.
#[derive(Debug)]
pub struct Copying(Vec<Worker>);

impl Copying {
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
    use crate::{body::SMALL_BYTES, protocol::auth::Dsn};

    fn forwarder(targets: u32) -> Forwarder {
        let target = |project: u32| Target {
            project,
            name: format!("project-{project}"),
            dsn: Dsn::parse("http://theirs@127.0.0.1/7").expect("a DSN"),
        };
        let projects = Projects::new(Vec::new()).expect("projects");
        Forwarder::new((1..=targets).map(target).collect(), &projects, 1_000).expect("a client").0
    }

    #[tokio::test]
    async fn projects_share_the_room_and_each_has_enough_for_two() {
        // Another test in this process may have installed a provider already.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        for (targets, room) in [(1, 32), (2, 16), (64, 2)] {
            let forwarder = forwarder(targets);
            let offer = || {
                let body = Body::from(vec![b'a'; SMALL_BYTES]);
                forwarder.offer(1, BodyKind::Envelope, Encoding::Identity, body, Vec::new());
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
}

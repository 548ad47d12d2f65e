//! Reachability of the brokers. librdkafka reports when all are gone, but never when one is back, so the consumer asks.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rdkafka::consumer::Consumer as _;
use tokio::task::JoinHandle;

use super::owner::Owner;

/// Time-out of the request.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Known state of the connection to the brokers.
#[derive(Debug, Default)]
pub(crate) struct Health {
    is_cut_off: bool,
    asking: Option<JoinHandle<bool>>,
}

impl Owner {
    /// Marks all brokers as unreachable. The consumer is not ready until one answers.
    pub(super) fn on_cut_off(&mut self) {
        if !self.health.is_cut_off && self.phase.is_running() {
            tracing::warn!("no broker can be reached");
        }
        self.health.is_cut_off = true;
        self.tell_ready();
    }

    /// While cut off, sends one request at a time on a blocking thread, at most one per tick.
    pub(super) fn look_for_brokers(&mut self) {
        if !self.health.is_cut_off {
            return;
        }
        let answer = self.health.asking.as_mut().and_then(FutureExt::now_or_never);
        match answer {
            Some(Ok(true)) => {
                self.health = Health::default();
                tracing::info!("a broker answers again");
                self.tell_ready();
            }
            Some(_) => self.health.asking = None,
            None if self.health.asking.is_none() => {
                let (client, topic) = (Arc::clone(&self.client), self.a_topic());
                let ask = move || client.fetch_metadata(Some(&topic), ASK_TIMEOUT).is_ok();
                self.health.asking = Some(telemetry::spawn_blocking(ask));
            }
            None => {}
        }
    }

    /// Returns any topic that this group reads.
    fn a_topic(&self) -> String {
        let topic = self.processor.group.reads().first().map_or("", |topic| topic.name());
        self.names.physical(topic)
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.health.is_cut_off
    }
}

//! Reachability of the brokers. librdkafka reports when all are down, but never when one is back, so the consumer checks.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rdkafka::consumer::Consumer as _;
use tokio::task::JoinHandle;

use super::owner::Owner;
use crate::client_errors;

/// Time-out of the request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Known state of the connection to the brokers.
#[derive(Debug, Default)]
pub(crate) struct Health {
    are_brokers_down: bool,
    /// A request that shows whether a broker answers.
    probe: Option<JoinHandle<bool>>,
}

impl Owner {
    /// Marks all brokers as unreachable. The consumer is not ready until one answers.
    pub(super) fn on_brokers_down(&mut self) {
        if !self.health.are_brokers_down && self.phase.is_running() {
            tracing::warn!("no broker can be reached; the consumer is not ready until one answers");
        }
        self.health.are_brokers_down = true;
        self.report_ready();
    }

    /// While no broker can be reached, sends one request at a time on a blocking thread, at most one per tick.
    pub(super) fn check_brokers(&mut self) {
        if !self.health.are_brokers_down {
            return;
        }
        let answered = self.health.probe.as_mut().and_then(FutureExt::now_or_never);
        match answered {
            Some(Ok(true)) => {
                self.health = Health::default();
                tracing::info!("a broker answers again");
                self.report_ready();
            }
            Some(_) => {
                client_errors::report_brokers_down();
                self.health.probe = None;
            }
            None if self.health.probe.is_none() => {
                let (client, topic) = (Arc::clone(&self.client), self.any_topic());
                let request = move || client.fetch_metadata(Some(&topic), REQUEST_TIMEOUT).is_ok();
                self.health.probe = Some(telemetry::spawn_blocking(request));
            }
            None => {}
        }
    }

    /// Returns any topic that this group reads.
    fn any_topic(&self) -> String {
        let topic = self.processor.group.reads().first().map_or("", |topic| topic.name());
        self.names.physical(topic)
    }

    pub(super) fn are_brokers_down(&self) -> bool {
        self.health.are_brokers_down
    }
}

//! Whether the brokers can be reached: librdkafka says when they are gone, never when they are back, so we ask.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rdkafka::consumer::Consumer as _;
use tokio::task::JoinHandle;

use super::owner::Owner;

/// How long the question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// What is known about the way to the brokers.
#[derive(Debug, Default)]
pub(crate) struct Health {
    is_cut_off: bool,
    asking: Option<JoinHandle<bool>>,
}

impl Owner {
    /// All brokers are gone: nothing can be taken until one answers.
    pub(super) fn on_cut_off(&mut self) {
        if !self.health.is_cut_off && self.phase.is_running() {
            tracing::warn!("no broker can be reached");
        }
        self.health.is_cut_off = true;
        self.tell_ready();
    }

    /// While cut off, asks once a tick at most, off this task.
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

    /// Any topic that we read will do.
    fn a_topic(&self) -> String {
        let topic = self.processor.group.reads().first().map_or("", |topic| topic.name());
        self.names.physical(topic)
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.health.is_cut_off
    }
}

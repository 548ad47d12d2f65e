//! Figures of each service's process and async runtime, from the metrics that it sends.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Extent;
use crate::{
    protocol::{digest::Kinds, fields::Fields, signals},
    query::{
        lines::{ListedEnvelope, WriteError},
        scan::{Scanned, Window, scan},
        state::Query,
    },
};

/// Item type of metrics.
const METRIC: &str = "trace_metric";
/// Common prefix of the metrics that are read, as the services send them.
const PREFIX: &str = "pitboss.";

/// Answer of the dashboard.
#[derive(Debug, Serialize)]
pub(crate) struct Runtime {
    #[serde(flatten)]
    pub(crate) scanned: Scanned,
    pub(crate) services: Vec<ServiceRuntime>,
}

/// Figures of one service. Null where it sent none.
#[derive(Debug, Serialize)]
pub(crate) struct ServiceRuntime {
    pub(crate) project: String,
    pub(crate) workers: Option<f64>,
    pub(crate) tasks_alive: Level,
    pub(crate) queue_depth: Level,
    pub(crate) memory_bytes: Level,
    /// CPU time divided by the time of the window. 1 is one core.
    pub(crate) cpu_share: Option<f64>,
}

/// A value that rises and falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Level {
    pub(crate) last: Option<f64>,
    pub(crate) max: Option<f64>,
    #[serde(skip)]
    at: f64,
}

impl Level {
    fn add(&mut self, value: f64, at: f64) {
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
        if self.last.is_none() || at >= self.at {
            (self.last, self.at) = (Some(value), at);
        }
    }
}

/// What is known of one service.
#[derive(Debug, Default)]
struct Known {
    workers: Level,
    tasks_alive: Level,
    queue_depth: Level,
    memory_bytes: Level,
    cpu_ms: f64,
    extent: Extent,
}

/// Computes the figures.
pub(crate) fn compute(query: &Query, window: Window) -> Result<Runtime, WriteError> {
    let mut services: BTreeMap<String, Known> = BTreeMap::new();
    let scanned = scan(query, window, Kinds::of(METRIC), |opened| add(&mut services, opened))?;
    let services = services.into_iter().map(|(project, known)| known.service(project, window)).collect();
    Ok(Runtime { scanned, services })
}

/// Adds the metrics of an envelope. The number of services is that of the projects.
fn add(services: &mut BTreeMap<String, Known>, opened: &ListedEnvelope<'_>) {
    for item in opened.envelope.items.iter().filter(|item| item.item_type() == METRIC) {
        let Some(json) = item.json() else { continue };
        signals::each_entry(json, |entry| {
            let at = entry.time("timestamp").or(opened.source.received_at);
            let (Some(name), Some(value)) = (entry.text("name"), number(&entry)) else { return };
            let Some(name) = name.strip_prefix(PREFIX).filter(|name| is_read(name)) else { return };
            services.entry(opened.source.name.to_owned()).or_default().add(name, value, at);
        });
    }
}

fn number(entry: &Fields<'_>) -> Option<f64> {
    entry.get("value")?.get().parse().ok().filter(|value: &f64| value.is_finite())
}

fn is_read(name: &str) -> bool {
    name.starts_with("runtime.") || name.starts_with("process.")
}

impl Known {
    fn add(&mut self, name: &str, value: f64, at: f64) {
        match name {
            "runtime.workers" => self.workers.add(value, at),
            "runtime.tasks.alive" => self.tasks_alive.add(value, at),
            "runtime.queue.depth" => self.queue_depth.add(value, at),
            "process.memory.resident" => self.memory_bytes.add(value, at),
            "process.cpu.time" => {
                self.cpu_ms += value;
                self.extent.add(at, at);
            }
            _ => {}
        }
    }

    fn service(self, project: String, window: Window) -> ServiceRuntime {
        let window_ms = window.minutes(self.extent.first, self.extent.last) * 60_000.0;
        ServiceRuntime {
            project,
            workers: self.workers.last,
            tasks_alive: self.tasks_alive,
            queue_depth: self.queue_depth,
            memory_bytes: self.memory_bytes,
            cpu_share: self.extent.first.is_finite().then(|| self.cpu_ms / window_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_value_is_the_one_of_the_latest_time() {
        let mut level = Level::default();
        for (value, at) in [(3.0, 10.0), (9.0, 20.0), (5.0, 15.0)] {
            level.add(value, at);
        }
        assert_eq!((level.last, level.max), (Some(9.0), Some(9.0)));
        level.add(1.0, 20.0);
        assert_eq!((level.last, level.max), (Some(1.0), Some(9.0)));
    }
}

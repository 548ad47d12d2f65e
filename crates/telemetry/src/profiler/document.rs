//! A profile as Sentry's item `profile` (sample format 1).
//!
//! Sentry requires numbers of threads and times as text there. Threads are counted from 1, because their real ids do not fit into
//! a number of JavaScript.

use std::fs;
use std::sync::OnceLock;
use std::time::SystemTime;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::stacks::{Profile, Sample};
use crate::config::About;
use crate::frames;

/// The body of the item.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    version: &'static str,
    event_id: &'a str,
    platform: &'static str,
    timestamp: String,
    release: &'a str,
    environment: &'a str,
    device: Device,
    os: Os,
    transaction: Transaction<'a>,
    profile: Samples<'a>,
}

#[derive(Debug, Serialize)]
struct Device {
    architecture: &'static str,
}

#[derive(Debug, Serialize)]
struct Os {
    name: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct Transaction<'a> {
    id: &'a str,
    trace_id: String,
    name: String,
    active_thread_id: String,
}

#[derive(Debug, Serialize)]
struct Samples<'a> {
    #[serde(serialize_with = "samples")]
    samples: &'a [Sample],
    stacks: &'a [Vec<usize>],
    frames: Vec<Frame<'a>>,
    #[serde(serialize_with = "threads")]
    thread_metadata: &'a [String],
}

/// A frame of a profile or of a chunk.
#[derive(Debug, Serialize)]
pub(super) struct Frame<'a> {
    function: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    in_app: bool,
}

#[derive(Debug, Serialize)]
struct SampleOut {
    elapsed_since_start_ns: String,
    stack_id: usize,
    thread_id: String,
}

/// What is known of a thread.
#[derive(Debug, Serialize)]
pub(super) struct Thread<'a> {
    pub(super) name: &'a str,
}

impl<'a> Document<'a> {
    /// The profile of the transaction with this event id, trace and name.
    pub(crate) fn of(
        profile: &'a Profile,
        about: &'a About,
        transaction: &'a str,
        trace_id: String,
        name: String,
    ) -> Self {
        Self {
            version: "1",
            event_id: profile.id(),
            platform: "rust",
            timestamp: rfc3339(profile.started),
            release: &about.release,
            environment: &about.environment,
            device: Device { architecture: std::env::consts::ARCH },
            os: Os { name: "Linux", version: kernel() },
            transaction: Transaction {
                id: transaction,
                trace_id,
                name,
                active_thread_id: thread_id(profile.active_thread),
            },
            profile: Samples {
                samples: &profile.samples,
                stacks: &profile.stacks,
                frames: profile.functions.iter().map(|function| Frame::of(function, about)).collect(),
                thread_metadata: &profile.threads,
            },
        }
    }
}

impl<'a> Frame<'a> {
    pub(super) fn of(function: &'a str, about: &About) -> Self {
        let module = frames::crate_of(function);
        Self { function, module, in_app: module.is_some_and(|origin| about.in_app.contains(&origin)) }
    }
}

fn thread_id(position: usize) -> String {
    (position + 1).to_string()
}

fn samples<S: Serializer>(samples: &&[Sample], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(samples.iter().map(|sample| SampleOut {
        elapsed_since_start_ns: sample.since_start.as_nanos().to_string(),
        stack_id: sample.stack,
        thread_id: thread_id(sample.thread),
    }))
}

fn threads<S: Serializer>(threads: &&[String], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(threads.len()))?;
    for (position, name) in threads.iter().enumerate() {
        map.serialize_entry(&thread_id(position), &Thread { name })?;
    }
    map.end()
}

fn rfc3339(at: SystemTime) -> String {
    // Formatting a time of this century cannot fail
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

/// The version of the running kernel.
fn kernel() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let read = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        read.trim().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::profiler::sampler::{Recording, Sampled};

    #[test]
    fn document_is_sample_format_1() {
        let sampled = |address: u64, thread_id: u64, count: usize| Sampled {
            addresses: vec![address],
            thread_id,
            thread_name: format!("worker {thread_id}"),
            first: SystemTime::UNIX_EPOCH,
            count,
        };
        let recording = Recording {
            started: SystemTime::UNIX_EPOCH,
            duration: Duration::from_millis(40),
            stacks: vec![sampled(1, 70, 2), sampled(2, 80, 1)],
        };
        let names = |address: u64| match address {
            1 => Some("<game::Spin as bus::Handle>::hunt".to_owned()),
            2 => Some("main".to_owned()),
            _ => None,
        };
        let profile = Profile::of(&recording, 80, names).unwrap();
        let about = About {
            service: "game".to_owned(),
            release: "game@1".to_owned(),
            environment: "test".to_owned(),
            in_app: vec!["game"],
        };
        let document = Document::of(&profile, &about, "e1", "t1".to_owned(), "bets".to_owned());
        let mut written = serde_json::to_value(&document).unwrap();
        assert_eq!(written["event_id"].as_str().unwrap().len(), 32);
        assert!(!written["os"]["version"].as_str().unwrap().is_empty());
        written["event_id"] = "p1".into();
        written["os"]["version"] = "6".into();
        let expected = json!({
            "version": "1",
            "event_id": "p1",
            "platform": "rust",
            "timestamp": "1970-01-01T00:00:00Z",
            "release": "game@1",
            "environment": "test",
            "device": {"architecture": std::env::consts::ARCH},
            "os": {"name": "Linux", "version": "6"},
            "transaction": {"id": "e1", "trace_id": "t1", "name": "bets", "active_thread_id": "2"},
            "profile": {
                "samples": [
                    {"elapsed_since_start_ns": "0", "stack_id": 0, "thread_id": "1"},
                    {"elapsed_since_start_ns": "0", "stack_id": 1, "thread_id": "2"},
                    {"elapsed_since_start_ns": "20000000", "stack_id": 0, "thread_id": "1"},
                ],
                "stacks": [[0], [1]],
                "frames": [
                    {"function": "<game::Spin as bus::Handle>::hunt", "module": "game", "in_app": true},
                    {"function": "main", "in_app": false},
                ],
                "thread_metadata": {"1": {"name": "worker 70"}, "2": {"name": "worker 80"}},
            },
        });
        assert_eq!(written, expected);
    }
}

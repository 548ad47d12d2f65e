//! A chunk of a continuous profile: the samples of at most a minute, and its form as Sentry's item `profile_chunk` (version 2).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::document::{Frame, Thread};
use super::sampler::Recording;
use super::stacks::{Parts, SAMPLES_MAX, SAMPLES_MIN, Table};
use crate::config::About;
use crate::transaction::encode::{SDK, Sdk};

/// The platform of a chunk. Sentry passes chunks of the platform `rust` to its symboliser, although these have names already.
pub(crate) const PLATFORM: &str = "native";

/// A complete chunk for the writer.
#[derive(Debug)]
pub(crate) struct Chunk {
    profiler_id: Arc<str>,
    chunk_id: String,
    /// Id and name of each thread.
    threads: Vec<(u64, String)>,
    functions: Vec<String>,
    /// Positions in `functions`, innermost first.
    stacks: Vec<Vec<usize>>,
    samples: Vec<ChunkSample>,
}

#[derive(Debug, Clone, Copy)]
struct ChunkSample {
    /// Time since the epoch.
    at: Duration,
    stack: usize,
    thread_id: u64,
}

/// A chunk to which recordings are added.
pub(super) struct ChunkBuilder<F> {
    table: Table<F>,
    samples: Vec<ChunkSample>,
}

impl<F: Fn(u64) -> Option<String>> ChunkBuilder<F> {
    /// An empty chunk whose functions are named with `name_of`.
    pub(super) fn new(name_of: F) -> Self {
        Self { table: Table::new(name_of), samples: Vec::new() }
    }

    /// Adds the samples of a period, as far as there is room.
    pub(super) fn add(&mut self, recording: &Recording) {
        let started = recording.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let added = self.table.add(recording, SAMPLES_MAX - self.samples.len());
        let table = &self.table;
        self.samples.extend(added.samples.iter().map(|sample| ChunkSample {
            at: started + sample.since_start,
            stack: sample.stack,
            thread_id: table.thread_id(sample.thread),
        }));
    }

    /// Returns true if there is no room for another sample.
    pub(super) fn is_full(&self) -> bool {
        self.samples.len() >= SAMPLES_MAX
    }

    /// The chunk, or `None` if there are fewer samples than Sentry accepts.
    pub(super) fn finish(self, profiler_id: &Arc<str>) -> Option<Chunk> {
        if self.samples.len() < SAMPLES_MIN {
            return None;
        }
        let Parts { threads, functions, stacks } = self.table.into_parts();
        Some(Chunk {
            profiler_id: Arc::clone(profiler_id),
            chunk_id: uuid::Uuid::new_v4().as_simple().to_string(),
            threads,
            functions,
            stacks,
            samples: self.samples,
        })
    }
}

/// The body of the item.
#[derive(Debug, Serialize)]
pub(crate) struct ChunkDocument<'a> {
    version: &'static str,
    profiler_id: &'a str,
    chunk_id: &'a str,
    platform: &'static str,
    release: &'a str,
    environment: &'a str,
    client_sdk: Sdk,
    profile: Samples<'a>,
}

#[derive(Debug, Serialize)]
struct Samples<'a> {
    #[serde(serialize_with = "samples")]
    samples: &'a [ChunkSample],
    stacks: &'a [Vec<usize>],
    frames: Vec<Frame<'a>>,
    #[serde(serialize_with = "threads")]
    thread_metadata: &'a [(u64, String)],
}

#[derive(Debug, Serialize)]
struct SampleOut {
    /// Seconds since the epoch.
    timestamp: f64,
    stack_id: usize,
    thread_id: String,
}

impl<'a> ChunkDocument<'a> {
    /// The chunk as it is sent.
    pub(crate) fn of(chunk: &'a Chunk, about: &'a About) -> Self {
        Self {
            version: "2",
            profiler_id: &chunk.profiler_id,
            chunk_id: &chunk.chunk_id,
            platform: PLATFORM,
            release: &about.release,
            environment: &about.environment,
            client_sdk: SDK,
            profile: Samples {
                samples: &chunk.samples,
                stacks: &chunk.stacks,
                frames: chunk.functions.iter().map(|function| Frame::of(function, about)).collect(),
                thread_metadata: &chunk.threads,
            },
        }
    }
}

fn samples<S: Serializer>(samples: &&[ChunkSample], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(samples.iter().map(|sample| SampleOut {
        timestamp: sample.at.as_secs_f64(),
        stack_id: sample.stack,
        thread_id: sample.thread_id.to_string(),
    }))
}

fn threads<S: Serializer>(threads: &&[(u64, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(threads.len()))?;
    for (id, name) in *threads {
        map.serialize_entry(&id.to_string(), &Thread { name })?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::profiler::sampler::Sampled;

    fn name_of(address: u64) -> Option<String> {
        match address {
            1 => Some("game::hunt".to_owned()),
            2 => Some("main".to_owned()),
            _ => None,
        }
    }

    fn recording(started_s: u64, stacks: &[(u64, u64, usize)]) -> Recording {
        let stacks = stacks.iter().map(|(address, thread_id, count)| Sampled {
            addresses: vec![*address],
            thread_id: *thread_id,
            thread_name: format!("worker {thread_id}"),
            // Both were seen before, as most stacks of a long profile
            first: SystemTime::UNIX_EPOCH,
            count: *count,
        });
        Recording {
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(started_s),
            duration: Duration::from_secs(1),
            stacks: stacks.collect(),
        }
    }

    #[test]
    fn chunk_is_sample_format_2() {
        let mut builder = ChunkBuilder::new(name_of);
        builder.add(&recording(100, &[(1, 70, 2)]));
        builder.add(&recording(101, &[(1, 70, 1), (2, 80, 1)]));
        let chunk = builder.finish(&Arc::from("p1")).unwrap();
        let about = About {
            service: "game".to_owned(),
            release: "game@1".to_owned(),
            environment: "test".to_owned(),
            in_app: vec!["game"],
        };
        let mut written = serde_json::to_value(ChunkDocument::of(&chunk, &about)).unwrap();
        assert_eq!(written["chunk_id"].as_str().unwrap().len(), 32);
        written["chunk_id"] = "c1".into();
        let expected = json!({
            "version": "2",
            "profiler_id": "p1",
            "chunk_id": "c1",
            "platform": "native",
            "release": "game@1",
            "environment": "test",
            "client_sdk": {"name": SDK.name, "version": SDK.version},
            "profile": {
                "samples": [
                    {"timestamp": 100.0, "stack_id": 0, "thread_id": "70"},
                    {"timestamp": 100.5, "stack_id": 0, "thread_id": "70"},
                    {"timestamp": 101.0, "stack_id": 0, "thread_id": "70"},
                    {"timestamp": 101.0, "stack_id": 1, "thread_id": "80"},
                ],
                "stacks": [[0], [1]],
                "frames": [
                    {"function": "game::hunt", "module": "game", "in_app": true},
                    {"function": "main", "in_app": false},
                ],
                "thread_metadata": {"70": {"name": "worker 70"}, "80": {"name": "worker 80"}},
            },
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn full_chunk_takes_no_more() {
        let mut builder = ChunkBuilder::new(name_of);
        builder.add(&recording(100, &[(1, 70, SAMPLES_MAX - 1)]));
        assert!(!builder.is_full());
        builder.add(&recording(101, &[(1, 70, 5)]));
        assert!(builder.is_full());
        assert_eq!(builder.finish(&Arc::from("p1")).unwrap().samples.len(), SAMPLES_MAX);
    }

    #[test]
    fn one_sample_is_no_chunk() {
        let mut builder = ChunkBuilder::new(name_of);
        builder.add(&recording(100, &[(1, 70, 1)]));
        assert!(builder.finish(&Arc::from("p1")).is_none());
    }
}

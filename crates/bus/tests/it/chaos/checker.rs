//! Checks the group's committed offsets against the members' logs, during the run and at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bus::Config;
use contracts::{Group, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::{DEADLINE, physical, raw_consumer};

/// Result of the checks. Each number of violations has its denominator beside it.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Records that no member handled.
    pub(super) missing: usize,
    /// Records that were handled more than once, which is allowed.
    pub(super) handled_again: usize,
    /// Records that were first handled before their predecessor of the same key.
    pub(super) reordered: usize,
    /// Committed offsets beyond an unhandled record.
    pub(super) frontiers_ahead: usize,
    /// Committed offsets that were checked.
    pub(super) frontiers_checked: usize,
}

#[derive(Default)]
struct Key {
    first_handled_at: BTreeMap<u64, u128>,
}

pub(super) struct Checker {
    folder: PathBuf,
    observer: BaseConsumer,
    topic: String,
    partitions: i32,
    /// Read position in each member's log.
    read_to: BTreeMap<PathBuf, u64>,
    handled: BTreeMap<i32, BTreeSet<i64>>,
    keys: BTreeMap<String, Key>,
    report: Report,
}

impl Checker {
    pub(super) fn new(config: Config, folder: PathBuf) -> Self {
        let observer = raw_consumer(&config, &physical(&config, Group::Game.as_str()));
        let topic = physical(&config, Topic::BetsCommands.name());
        let metadata = observer.fetch_metadata(Some(&topic), DEADLINE).expect("metadata");
        let partitions = i32::try_from(metadata.topics()[0].partitions().len()).expect("few");
        Self {
            folder,
            observer,
            topic,
            partitions,
            read_to: BTreeMap::new(),
            handled: BTreeMap::new(),
            keys: BTreeMap::new(),
            report: Report::default(),
        }
    }

    /// Checks repeatedly until the run is over.
    pub(super) async fn until(mut self, is_over: Arc<AtomicBool>) -> Self {
        while !is_over.load(Ordering::SeqCst) {
            let check = telemetry::spawn_blocking(move || {
                self.check();
                self
            });
            self = check.await.expect("does not panic");
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        self
    }

    /// Reads the committed offsets before the logs. A member writes before it completes, so every record below a committed offset
    /// must be in a log.
    fn check(&mut self) {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, self.partitions - 1);
        let Ok(committed) = self.observer.committed_offsets(list, Duration::from_secs(5)) else { return };
        self.read_logs();
        for element in committed.elements() {
            let Offset::Offset(next) = element.offset() else { continue };
            self.report.frontiers_checked += 1;
            let handled = self.handled.entry(element.partition()).or_default();
            let below = handled.range(..next).count();
            if i64::try_from(below) != Ok(next) {
                self.report.frontiers_ahead += 1;
            }
        }
    }

    fn read_logs(&mut self) {
        let entries = std::fs::read_dir(&self.folder).expect("the folder is there");
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.extension().is_some_and(|extension| extension == "log") {
                self.read_log(path);
            }
        }
    }

    fn read_log(&mut self, path: PathBuf) {
        let mut file = File::open(&path).expect("the log is there");
        let from = self.read_to.get(&path).copied().unwrap_or_default();
        file.seek(SeekFrom::Start(from)).expect("the log can be read");
        let mut reader = BufReader::new(file);
        let (mut line, mut read) = (String::new(), from);
        while reader.read_line(&mut line).expect("the log is text") > 0 {
            if !line.ends_with('\n') {
                break; // incomplete line: the member is still writing, or was killed meanwhile
            }
            read += u64::try_from(line.len()).expect("short");
            self.record(line.trim_end());
            line.clear();
        }
        self.read_to.insert(path, read);
    }

    fn record(&mut self, line: &str) {
        let mut fields = line.split(' ');
        let mut field = || fields.next().expect("four fields");
        let at: u128 = field().parse().expect("a time");
        let partition: i32 = field().parse().expect("a partition");
        let offset: i64 = field().parse().expect("an offset");
        let (key, number) = field().rsplit_once('-').expect("key-number");
        if !self.handled.entry(partition).or_default().insert(offset) {
            self.report.handled_again += 1;
        }
        let number: u64 = number.parse().expect("a number");
        let first = self.keys.entry(key.to_owned()).or_default().first_handled_at.entry(number).or_insert(at);
        *first = at.min(*first);
    }

    /// Runs the last check, when everything is committed and all members have left.
    pub(super) fn finish(mut self, published: usize) -> Report {
        self.check();
        let handled: usize = self.handled.values().map(BTreeSet::len).sum();
        self.report.missing = published - handled;
        for key in self.keys.values() {
            let times: Vec<u128> = key.first_handled_at.values().copied().collect();
            self.report.reordered += times.windows(2).filter(|pair| pair[0] > pair[1]).count();
        }
        self.report
    }
}

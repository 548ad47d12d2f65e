//! One member: this test binary, started again as a process that can be killed and frozen.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bus::{CancellationToken, Config, Consumer, Delivery, HandleAny, HandlerError, Outcome, Producer};
use contracts::Group;
use tokio::signal::unix::{SignalKind, signal};

use crate::support::bets;

const CONFIG: &str = "BUS_MEMBER_CONFIG";
const LOG: &str = "BUS_MEMBER_LOG";
const BROKEN: &str = "BUS_MEMBER_BROKEN";

/// Order of a record's work and the completion of its offset. `CompletesFirst` is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    ThenComplete,
    CompletesFirst,
}

/// Starts a member process that writes each handled record to `log`.
pub(super) fn start(config: &Config, log: &Path, work: Work) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this test binary"));
    command
        .args(["--exact", "chaos::member::process", "--ignored", "--nocapture", "--test-threads", "1"])
        .env(CONFIG, serde_json::to_string(config).expect("serialises"))
        .env(LOG, log)
        .stdout(Stdio::null());
    if work == Work::CompletesFirst {
        command.env(BROKEN, "1");
    }
    command.spawn().expect("a process")
}

/// File that exists once the member has had its first assignment.
pub(super) fn ready_file(log: &Path) -> PathBuf {
    log.with_extension("ready")
}

struct Journal {
    log: Mutex<File>,
    work: Work,
}

impl Journal {
    /// The effect: one line, written before the handler returns. The kernel then has it, so it survives SIGKILL.
    fn write(&self, delivery: &Delivery) {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
        let record = &delivery.record;
        let line = format!("{at} {} {} {}\n", record.partition, record.offset, delivery.event.id);
        let mut log = self.log.lock().expect("not poisoned");
        log.write_all(line.as_bytes()).expect("the log can be written");
    }
}

struct Member(Arc<Journal>);

#[async_trait]
impl HandleAny for Member {
    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, HandlerError> {
        if self.0.work == Work::CompletesFirst {
            let (journal, delivery) = (Arc::clone(&self.0), delivery.clone());
            drop(telemetry::spawn(async move {
                tokio::time::sleep(Duration::from_millis(700)).await;
                journal.write(&delivery);
            }));
            return Ok(Outcome::Applied);
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..4))).await;
        self.0.write(delivery);
        Ok(Outcome::Applied)
    }
}

/// Body of a member's process, not a test.
#[test]
#[ignore = "a process of the chaos tests, not a test"]
fn process() {
    let (Ok(config), Ok(log)) = (std::env::var(CONFIG), std::env::var(LOG)) else { return };
    let config: Config = serde_json::from_str(&config).expect("a configuration");
    let work = if std::env::var(BROKEN).is_ok() { Work::CompletesFirst } else { Work::ThenComplete };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(serve(config, PathBuf::from(log), work));
}

async fn serve(config: Config, log: PathBuf, work: Work) {
    let file = OpenOptions::new().create(true).append(true).open(&log).expect("the log can be opened");
    let journal = Arc::new(Journal { log: Mutex::new(file), work });
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler");
    let stopping = shutdown.clone();
    drop(telemetry::spawn(async move {
        terminate.recv().await;
        stopping.cancel();
    }));
    let producer = Producer::new(&config).expect("a producer");
    let consumer = Consumer::new(&config, Group::Game, bets(Member(journal)), producer).expect("a consumer");
    let ready = move |is_ready| {
        if is_ready {
            File::create(ready_file(&log)).expect("the ready file can be written");
        }
    };
    consumer.run(shutdown, ready).await.expect("leaves in order");
}

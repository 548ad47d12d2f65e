//! The real program dies of a signal: its reporter sends a minidump without data of the process, or keeps it for the next start.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use testkit::eventually;
use testkit::receiver::Receiver;

const WITHIN: Duration = Duration::from_secs(60);
/// A variable of the environment that no report may have.
const SECRET: &str = "a-secret-of-the-environment";
const SIGABRT: i32 = 6;

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The program that `./pitboss test` built, otherwise that of this test.
fn program() -> PathBuf {
    let built = std::env::var_os("PITBOSS_BIN").map(|folder| PathBuf::from(folder).join("partners"));
    built.unwrap_or_else(|| env!("CARGO_BIN_EXE_partners").into())
}

/// The running program.
struct Program {
    child: Child,
    ops: SocketAddr,
}

impl Program {
    fn start(folder: &Path, receiver: SocketAddr, more: &[(&str, &str)]) -> Self {
        let ops = free();
        let child = Command::new(program())
            .current_dir(folder)
            .env("SENTRY_DSN", format!("http://key@{receiver}/1"))
            .env("SENTRY_RELEASE", "pitboss@1.2.3")
            .env("PITBOSS__HTTP__ADDRESS", free().to_string())
            .env("PITBOSS__CARD__ADDRESS", free().to_string())
            .env("PITBOSS__SMTP__ADDRESS", free().to_string())
            .env("PITBOSS__OPS__ADDRESS", ops.to_string())
            .env("PITBOSS__SECURITY__INTERNAL_TOKEN", "t".repeat(32))
            .env("PITBOSS__STORAGE__DIRECTORY", folder.join("data"))
            .env("SECRET", SECRET)
            .envs(more.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, ops }
    }

    /// Waits until it listens, which is after its reporter has answered.
    async fn is_up(&mut self) {
        eventually("the program to listen", WITHIN, || async { TcpStream::connect(self.ops).ok() }).await;
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended");
    }

    /// Lets it die of a signal.
    fn abort(mut self) {
        let killed = Command::new("kill").args(["-ABRT", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(self.child.wait().unwrap().signal(), Some(SIGABRT), "it really died of the signal");
    }

    /// Ends it in order.
    fn stop(mut self) {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(asked.success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has usually ended
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The item of a type that fits, once it has arrived.
async fn item(receiver: &Receiver, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(kind, WITHIN, || async {
        receiver.items().into_iter().find(|(found, item)| found == kind && fits(item)).map(|(_, item)| item)
    })
    .await
}

/// Reports in the crash folder.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("crashes")).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "envelope")).collect()
}

#[tokio::test]
async fn death_by_a_signal_is_reported_with_the_crashed_session() {
    let (receiver, folder) = (Receiver::start(), tempfile::tempdir().unwrap());
    let mut program = Program::start(folder.path(), receiver.address, &[]);
    program.is_up().await;
    program.abort();
    let event = item(&receiver, "event", |event| event["level"] == "fatal").await;
    assert_eq!(event["tags"]["crash.signal"], "SIGABRT");
    assert_eq!(event["release"], "pitboss@1.2.3");
    assert_eq!(event["server_name"], "partners");
    assert!(event["contexts"]["process"]["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{event}");
    let begun = item(&receiver, "session", |session| session["init"] == true).await;
    let ended = item(&receiver, "session", |session| session["status"] == "crashed").await;
    assert_eq!(begun["sid"], ended["sid"]);
    item(&receiver, "attachment", |_| true).await;
    eventually("the report to be deleted", WITHIN, || async { kept(folder.path()).is_empty().then_some(()) })
        .await;
}

#[tokio::test]
async fn unsent_report_has_no_data_and_is_sent_by_the_next_process() {
    let (receiver, folder) = (Receiver::start(), tempfile::tempdir().unwrap());
    let mut program = Program::start(folder.path(), free(), &[]);
    program.is_up().await;
    program.abort();
    let report =
        eventually("a report in the crash folder", WITHIN, || async { kept(folder.path()).pop() }).await;
    let bytes = std::fs::read(&report).unwrap();
    let has = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("MDMP") && has("event.minidump"), "a minidump of {} bytes", bytes.len());
    assert!(!has(SECRET), "neither the environment nor a stack has it");

    // Its own reporter still tries. An old one is sent by the next process
    let earlier = SystemTime::now() - Duration::from_secs(600);
    std::fs::File::options().write(true).open(&report).unwrap().set_modified(earlier).unwrap();
    let mut program = Program::start(folder.path(), receiver.address, &[]);
    program.is_up().await;
    let event = item(&receiver, "event", |event| event["level"] == "fatal").await;
    assert_eq!(event["tags"]["kind"], "native-crash");
    eventually("the report to be deleted", WITHIN, || async { kept(folder.path()).is_empty().then_some(()) })
        .await;
    program.stop();
}

#[tokio::test]
async fn nothing_is_reported_if_it_is_switched_off() {
    let (receiver, folder) = (Receiver::start(), tempfile::tempdir().unwrap());
    let off = [("PITBOSS__TELEMETRY__CRASH_REPORTS", "false")];
    let mut program = Program::start(folder.path(), receiver.address, &off);
    program.is_up().await;
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children", id = program.child.id()));
    // Not every kernel has the list
    assert_eq!(children.unwrap_or_default(), "", "no second process");
    program.abort();
    assert!(kept(folder.path()).is_empty());
}

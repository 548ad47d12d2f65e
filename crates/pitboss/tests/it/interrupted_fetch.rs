//! Programs that fetch for an `up` that does not finish: neither they nor their children may continue.

use std::process::Child;

use nix::sys::signal::Signal;
use runtime::{fetch, infra, tools};

use crate::fake_host::FakeHost;
use crate::stage::{lives, signal, until};

/// An `up` whose Maven takes long.
struct Fetching {
    host: FakeHost,
    up: Child,
    maven: i32,
    /// Child of Maven.
    child: i32,
}

impl Fetching {
    async fn started() -> Self {
        let host = FakeHost::new();
        std::fs::remove_dir(infra::kafka::jars(&host.stage.layout)).expect("empty");
        host.install("redis-server", "echo 'Redis server v=7.0.15 sha=00000000:0'");
        let file = host.stage.folder.path().join("maven");
        let sleep = tools::on_path("sleep").expect("sleep");
        let fetches = format!("{} 1000 & echo $$ $! end > {}; wait", sleep.display(), file.display());
        host.install(
            "mvn",
            &format!("case $1 in --version) echo 'Apache Maven 3.8.7' ;; *) {fetches} ;; esac"),
        );
        let up = host.command(&["up", "--only", "redis", "--no-build"]).spawn().expect("started");
        let read = || {
            let text = std::fs::read_to_string(&file).ok()?;
            let words: Vec<&str> = text.split_whitespace().collect();
            let [maven, child, "end"] = words[..] else { return None };
            Some((maven.parse::<i32>().ok()?, child.parse::<i32>().ok()?))
        };
        until("Maven runs", async || read().is_some()).await;
        let (maven, child) = read().expect("read before");
        let started = Self { host, up, maven, child };
        // The command records Maven just after starting it.
        let record = started.host.stage.layout.run().join(format!("fetch-{maven}.json"));
        until("Maven is recorded", async || record.exists()).await;
        started
    }

    /// Kills the command. Maven's child survives that.
    async fn killed(&mut self) {
        self.up.kill().expect("killed");
        self.up.wait().expect("ended");
        until("the kernel has ended Maven", async || !lives(self.maven)).await;
        assert!(lives(self.child), "Maven's child ended with the command");
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        // A test that failed half way must not leave processes.
        drop(self.up.kill());
        drop(self.up.wait());
        for pid in [self.maven, self.child] {
            signal(pid, Signal::SIGKILL);
        }
    }
}

#[tokio::test]
async fn down_kills_fetcher_of_killed_up() {
    let mut fetching = Fetching::started().await;
    fetching.killed().await;
    let text = fetching.host.run(&["down"], 0);
    assert!(
        text.contains("stopped the leftovers of an interrupted command: fetching Apache Kafka"),
        "{text}"
    );
    assert!(!lives(fetching.child));
    assert!(fetching.host.run(&["down"], 0).contains("nothing runs"));
}

#[tokio::test]
async fn next_up_kills_fetcher_before_fetching_again() {
    let mut fetching = Fetching::started().await;
    fetching.killed().await;
    // A Maven that checks whether the earlier one's child still runs (a zombie does not).
    let script = "case $1 in --version) echo 'Apache Maven 3.8.7'; exit ;; esac
        if read -r stat 2>/dev/null </proc/CHILD/stat; then
            case $stat in *') Z '*) ;; *) echo two at once ;; esac
        fi
        exit 3";
    fetching.host.install("mvn", &script.replace("CHILD", &fetching.child.to_string()));
    let text = fetching.host.run(&["up", "--only", "redis", "--no-build"], 69);
    assert!(
        text.contains("removed the leftovers of an interrupted command: fetching Apache Kafka"),
        "{text}"
    );
    assert!(text.contains("fetching Apache Kafka failed: exit code 3"), "{text}");
    assert!(!text.contains("two at once"), "{text}");
    assert!(!lives(fetching.child));
}

#[tokio::test]
async fn only_interrupted_up_kills_its_own_fetcher() {
    let mut fetching = Fetching::started().await;
    let layout = &fetching.host.stage.layout;
    assert_eq!(fetch::kill_leftovers(layout).await.unwrap(), Vec::<String>::new());
    assert!(lives(fetching.maven) && lives(fetching.child), "a living command's Maven was ended");
    signal(fetching.up.id().cast_signed(), Signal::SIGTERM);
    assert_eq!(fetching.up.wait().unwrap().code(), Some(1));
    let (maven, child) = (fetching.maven, fetching.child);
    until("both are gone", async || !lives(maven) && !lives(child)).await;
    assert!(fetching.host.run(&["down"], 0).contains("nothing runs"));
}

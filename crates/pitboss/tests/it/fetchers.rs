//! Programs that fetch for an `up` that does not finish: neither they nor their children may continue.

use std::process::Child;

use nix::sys::signal::Signal;
use runtime::{fetch, infra, tools};

use crate::machine::Machine;
use crate::stage::{lives, signal, until};

/// An `up` whose Maven takes long.
struct Fetching {
    machine: Machine,
    up: Child,
    maven: i32,
    /// Child of Maven.
    child: i32,
}

impl Fetching {
    async fn begun() -> Self {
        let machine = Machine::new();
        std::fs::remove_dir(infra::kafka::jars(&machine.stage.layout)).expect("empty");
        machine.has("redis-server", "echo 'Redis server v=7.0.15 sha=00000000:0'");
        let file = machine.stage.folder.path().join("maven");
        let sleep = tools::on_path("sleep").expect("sleep");
        let fetches = format!("{} 1000 & echo $$ $! end > {}; wait", sleep.display(), file.display());
        machine
            .has("mvn", &format!("case $1 in --version) echo 'Apache Maven 3.8.7' ;; *) {fetches} ;; esac"));
        let up = machine.command(&["up", "--only", "redis", "--no-build"]).spawn().expect("started");
        let read = || {
            let text = std::fs::read_to_string(&file).ok()?;
            let words: Vec<&str> = text.split_whitespace().collect();
            let [maven, child, "end"] = words[..] else { return None };
            Some((maven.parse::<i32>().ok()?, child.parse::<i32>().ok()?))
        };
        until("Maven runs", async || read().is_some()).await;
        let (maven, child) = read().expect("read before");
        let begun = Self { machine, up, maven, child };
        // The command records Maven just after starting it.
        let record = begun.machine.stage.layout.run().join(format!("fetch-{maven}.json"));
        until("it is written down", async || record.exists()).await;
        begun
    }

    /// Kills the command. Maven's child survives that.
    async fn killed(&mut self) {
        self.up.kill().expect("killed");
        self.up.wait().expect("ended");
        until("the kernel has ended Maven", async || !lives(self.maven)).await;
        assert!(lives(self.child), "nothing is left that anybody would have to find");
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
async fn down_ends_what_a_killed_up_was_fetching() {
    let mut fetching = Fetching::begun().await;
    fetching.killed().await;
    let told = fetching.machine.says(&["down"], 0);
    assert!(told.contains("stopped what an interrupted command had left: fetching Apache Kafka"), "{told}");
    assert!(!lives(fetching.child));
    assert!(fetching.machine.says(&["down"], 0).contains("nothing runs"));
}

#[tokio::test]
async fn the_next_up_ends_what_a_killed_one_was_fetching_before_it_fetches_anew() {
    let mut fetching = Fetching::begun().await;
    fetching.killed().await;
    // A Maven that checks whether the earlier one's child still runs (a zombie does not).
    let script = "case $1 in --version) echo 'Apache Maven 3.8.7'; exit ;; esac
        if read -r stat 2>/dev/null </proc/CHILD/stat; then
            case $stat in *') Z '*) ;; *) echo two at once ;; esac
        fi
        exit 3";
    fetching.machine.has("mvn", &script.replace("CHILD", &fetching.child.to_string()));
    let told = fetching.machine.says(&["up", "--only", "redis", "--no-build"], 69);
    assert!(told.contains("removed what an interrupted command had left: fetching Apache Kafka"), "{told}");
    assert!(told.contains("fetching Apache Kafka failed: exit code 3"), "{told}");
    assert!(!told.contains("two at once"), "{told}");
    assert!(!lives(fetching.child));
}

#[tokio::test]
async fn an_interrupted_up_ends_what_it_was_fetching_and_nobody_else_does() {
    let mut fetching = Fetching::begun().await;
    let layout = &fetching.machine.stage.layout;
    assert_eq!(fetch::end_left(layout).await.unwrap(), Vec::<String>::new());
    assert!(lives(fetching.maven) && lives(fetching.child), "a living command's Maven was ended");
    signal(fetching.up.id().cast_signed(), Signal::SIGTERM);
    assert_eq!(fetching.up.wait().unwrap().code(), Some(1));
    let (maven, child) = (fetching.maven, fetching.child);
    until("both are gone", async || !lives(maven) && !lives(child)).await;
    assert!(fetching.machine.says(&["down"], 0).contains("nothing runs"));
}

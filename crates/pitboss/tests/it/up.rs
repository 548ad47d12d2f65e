//! `up` on a machine with a problem, a second `up`, and `doctor` and `test` on a machine that lacks programs.

use std::path::Path;

use runtime::part::PartState;
use runtime::pids;
use serde_json::Value;

use crate::machine::Machine;
use crate::stage::{lives, said};

const ONLY_REDIS: [&str; 4] = ["up", "--only", "redis", "--no-build"];

fn nothing_is_left(machine: &Machine) {
    let layout = &machine.stage.layout;
    assert!(!pids::supervisor_lives(layout).expect("known"), "a supervisor was started and left");
    assert_eq!(pids::recorded(layout), []);
}

#[test]
fn a_tool_that_is_missing_or_too_old_is_told_before_anything_is_started() {
    let machine = Machine::new();
    let told = machine.says(&ONLY_REDIS, 69);
    assert!(told.contains("redis-server is missing (needed for the cache)"), "{told}");
    machine.has("redis-server", "echo 'Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1'");
    let told = machine.says(&ONLY_REDIS, 69);
    assert!(told.contains("redis-server is 6.0.16, 7.0 or newer is needed (for the cache)"), "{told}");
    assert!(told.contains("in Debian they are: redis-server"), "{told}");
    machine.has("mongod", "echo 'db version v6.0.5'");
    let told = machine.says(&ONLY_REDIS, 69);
    assert!(told.contains("mongod is 6.0.5, 8.0 or newer is needed (for the document store)"), "{told}");
    assert!(told.contains("put a newer one on the PATH, or none"), "{told}");
    nothing_is_left(&machine);
}

#[test]
fn a_full_disk_is_told_before_anything_is_started() {
    let machine = Machine::new();
    // A file system that never has free space.
    let output = machine.command(&ONLY_REDIS).env("PITBOSS_TOOLS", Path::new("/proc")).output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    assert!(said(&output).contains("the disk of /proc has 0 MiB free"), "{}", said(&output));
    nothing_is_left(&machine);
}

#[test]
fn a_part_that_dies_at_start_is_told_with_its_log_and_nothing_is_left() {
    let machine = Machine::new();
    let script = "case $1 in --version) echo 'Redis server v=7.0.15 sha=00000000:0' ;; \
                  *) echo no memory for a cache >&2; exit 1 ;; esac";
    machine.has("redis-server", script);
    let told = machine.says(&ONLY_REDIS, 1);
    assert!(told.contains("redis died at start (exit code 1)"), "{told}");
    assert!(told.contains("redis.log") && told.contains("| no memory for a cache"), "{told}");
    assert!(told.contains("stopping what was started"), "{told}");
    nothing_is_left(&machine);
    assert!(machine.says(&["down"], 0).contains("nothing runs"));
}

#[tokio::test]
async fn a_second_up_changes_nothing_and_one_that_fails_stops_only_what_it_started() {
    let machine = Machine::new();
    machine.has_ours("redis-server");
    machine.says(&ONLY_REDIS, 0);
    let redis = machine.stage.part("redis").await.pid.unwrap();
    let told = machine.says(&ONLY_REDIS, 0);
    assert!(told.contains("is up already; nothing was changed"), "{told}");
    assert_eq!(machine.stage.part("redis").await.pid, Some(redis));

    machine.has_document_store("echo no room for documents >&2; exit 1");
    let told = machine.says(&["up", "--only", "redis,mongo", "--no-build"], 1);
    assert!(told.contains("mongo died at start (exit code 1)"), "{told}");
    assert!(told.contains("stopping mongo") && !told.contains("stopping what was started"), "{told}");
    machine.stage.until_state("mongo", PartState::Stopped).await;
    let after = machine.stage.part("redis").await;
    assert_eq!((after.pid, after.state), (Some(redis), PartState::Ready));

    assert!(machine.says(&["down"], 0).contains("stopped"));
    assert!(!lives(redis));
    nothing_is_left(&machine);
}

#[test]
fn doctor_says_what_is_missing_and_what_to_do() {
    let machine = Machine::new();
    let looks = || -> Vec<Value> {
        let output = machine.command(&["doctor", "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(69), "{}", said(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["good"], false);
        told["checks"].as_array().unwrap().clone()
    };
    let look = |what: &str| looks().into_iter().find(|look| look["what"] == what).unwrap();
    let says = |look: &Value, key: &str, words: &str| {
        let text = look[key].as_str().unwrap();
        assert!(text.contains(words), "{look}");
    };
    let redis = look("redis-server");
    assert_eq!((&redis["found"], &redis["good"]), (&"missing".into(), &false.into()));
    says(&redis, "advice", "redis-server");
    let java = look("java");
    assert_eq!(java["good"], true);
    says(&java, "found", "17.0.15");

    // Debian's Python without python3-venv.
    machine.has("python3", "case $1 in --version) echo 'Python 3.11.2' ;; *) exit 1 ;; esac");
    let python = look("python3-venv");
    assert_eq!(python["good"], true, "up does without it");
    says(&python, "found", "only ./pitboss test needs it");
    says(&python, "advice", "python3-venv");
    machine.has("python3", "echo 'Python 3.11.2'");
    says(&look("python3-venv"), "found", "3.11.2");
}

#[test]
fn test_needs_a_python_that_can_make_environments() {
    let machine = Machine::new();
    let complaint = "python3-venv is missing (needed for the tests that use Sentry's own libraries)";
    let told = machine.says(&["test", "--no-build"], 69);
    assert!(told.contains(complaint), "{told}");
    machine.has("python3", "echo 'Python 3.11.2'");
    let told = machine.says(&["test", "--no-build"], 69);
    assert!(!told.contains("python3"), "{told}");
}

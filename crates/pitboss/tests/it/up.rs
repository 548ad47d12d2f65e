//! `up` on a machine with a problem, a second `up`, and `doctor` and `test` on a machine that lacks programs.

use std::path::Path;

use runtime::part::PartState;
use runtime::pids;
use serde_json::Value;

use crate::fake_host::FakeHost;
use crate::stage::{expect_exit, lives};

const ONLY_REDIS: [&str; 4] = ["up", "--only", "redis", "--no-build"];

fn assert_nothing_is_left(host: &FakeHost) {
    let layout = &host.stage.layout;
    assert!(!pids::supervisor_lives(layout).expect("known"), "a supervisor was started and left");
    assert_eq!(pids::recorded(layout), []);
}

#[test]
fn missing_or_old_tool_stops_up() {
    let host = FakeHost::new();
    let text = host.run(&ONLY_REDIS, 69);
    assert!(text.contains("redis-server is missing (needed for the cache)"), "{text}");
    host.install("redis-server", "echo 'Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1'");
    let text = host.run(&ONLY_REDIS, 69);
    assert!(text.contains("redis-server is 6.0.16, but the cache needs 7.0 or newer"), "{text}");
    assert!(text.contains("their names in Debian: redis-server"), "{text}");
    host.install("mongod", "echo 'db version v6.0.5'");
    let text = host.run(&ONLY_REDIS, 69);
    assert!(text.contains("mongod is 6.0.5, but the document store needs 8.0 or newer"), "{text}");
    assert!(text.contains("install a newer one, or remove it from the PATH"), "{text}");
    assert_nothing_is_left(&host);
}

#[test]
fn full_disk_stops_up() {
    let host = FakeHost::new();
    // A file system that never has free space.
    let output = host.command(&ONLY_REDIS).env("PITBOSS_TOOLS", Path::new("/proc")).output().unwrap();
    let text = expect_exit(&output, 69);
    assert!(text.contains("the disk of /proc has 0 MiB free"), "{text}");
    assert_nothing_is_left(&host);
}

#[test]
fn death_at_start_shows_log_and_stops_everything() {
    let host = FakeHost::new();
    let script = "case $1 in --version) echo 'Redis server v=7.0.15 sha=00000000:0' ;; \
                  *) echo no memory for a cache >&2; exit 1 ;; esac";
    host.install("redis-server", script);
    let text = host.run(&ONLY_REDIS, 1);
    assert!(text.contains("redis died at start (exit code 1)"), "{text}");
    assert!(text.contains("redis.log") && text.contains("| no memory for a cache"), "{text}");
    assert!(text.contains("stopping what was started"), "{text}");
    assert_nothing_is_left(&host);
    assert!(host.run(&["down"], 0).contains("nothing runs"));
}

#[tokio::test]
async fn second_up_is_idle_and_failed_up_stops_parts() {
    let host = FakeHost::new();
    host.install_real("redis-server");
    host.run(&ONLY_REDIS, 0);
    let redis = host.stage.part("redis").await.pid.unwrap();
    let text = host.run(&ONLY_REDIS, 0);
    assert!(text.contains("is up already. Nothing was changed"), "{text}");
    assert_eq!(host.stage.part("redis").await.pid, Some(redis));

    host.install_document_store("echo no room for documents >&2; exit 1");
    let text = host.run(&["up", "--only", "redis,mongo", "--no-build"], 1);
    assert!(text.contains("mongo died at start (exit code 1)"), "{text}");
    assert!(text.contains("stopping mongo") && !text.contains("stopping what was started"), "{text}");
    host.stage.until_state("mongo", PartState::Stopped).await;
    let after = host.stage.part("redis").await;
    assert_eq!((after.pid, after.state), (Some(redis), PartState::Ready));

    assert!(host.run(&["down"], 0).contains("stopped"));
    assert!(!lives(redis));
    assert_nothing_is_left(&host);
}

#[test]
fn doctor_shows_missing_tools_with_advice() {
    let host = FakeHost::new();
    let checks = || -> Vec<Value> {
        let report: Value = serde_json::from_str(&host.run(&["doctor", "--json"], 69)).unwrap();
        assert_eq!(report["good"], false);
        report["checks"].as_array().unwrap().clone()
    };
    let check = |what: &str| checks().into_iter().find(|check| check["what"] == what).unwrap();
    let assert_contains = |check: &Value, key: &str, part: &str| {
        let text = check[key].as_str().unwrap();
        assert!(text.contains(part), "{check}");
    };
    let redis = check("redis-server");
    assert_eq!((&redis["found"], &redis["good"]), (&"missing".into(), &false.into()));
    assert_contains(&redis, "advice", "redis-server");
    let java = check("java");
    assert_eq!(java["good"], true);
    assert_contains(&java, "found", "17.0.15");

    // Debian's Python without python3-venv.
    host.install("python3", "case $1 in --version) echo 'Python 3.11.2' ;; *) exit 1 ;; esac");
    let python = check("python3-venv");
    assert_eq!(python["good"], true, "up does not need it");
    assert_contains(&python, "found", "only ./pitboss test needs it");
    assert_contains(&python, "advice", "python3-venv");
    host.install("python3", "echo 'Python 3.11.2'");
    assert_contains(&check("python3-venv"), "found", "3.11.2");
}

#[test]
fn test_needs_python_with_venv() {
    let host = FakeHost::new();
    let complaint = "python3-venv is missing (needed for the tests that use Sentry's own libraries)";
    let text = host.run(&["test", "--no-build"], 69);
    assert!(text.contains(complaint), "{text}");
    host.install("python3", "echo 'Python 3.11.2'");
    let text = host.run(&["test", "--no-build"], 69);
    assert!(!text.contains("python3"), "{text}");
}

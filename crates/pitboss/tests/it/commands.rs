//! The commands: their arguments, their JSON and their exit codes.

use std::net::TcpListener;

use runtime::part::PartState;
use serde_json::{Value, json};

use crate::fake_host::PLATFORM_PORTS;
use crate::stage::{Stage, expect_exit, shell, sleeper, until};

#[tokio::test]
async fn status_has_all_fields_and_fails_unless_ready() {
    let (stage, _) = Stage::with_game().await;
    let status: Value = serde_json::from_str(&stage.run(&["status", "--json"], 0)).unwrap();
    assert_eq!(status["runtime"], "local");
    let part = status["parts"][0].as_object().unwrap();
    let mut names: Vec<&str> = part.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["address", "kind", "memory_bytes", "name", "pid", "restarts", "state", "version"]);
    assert_eq!((part["kind"].as_str(), part["state"].as_str()), (Some("service"), Some("ready")));
    assert!(part["memory_bytes"].as_u64().unwrap() > 100_000);

    stage.run(&["stop", "game"], 0);
    let text = stage.run(&["status"], 1);
    assert!(text.contains("game") && text.contains("stopped"), "{text}");
}

#[tokio::test]
async fn part_commands_act_on_named_part() {
    let stage = Stage::with_supervisor().await;
    stage.client.apply(vec![sleeper("game"), sleeper("user")], false).await.unwrap();
    stage.until_state("game", PartState::Ready).await;
    for action in ["restart", "freeze", "thaw", "kill", "stop", "start"] {
        stage.run(&[action, "game"], 0);
        if action == "kill" {
            stage.until_state("game", PartState::Ready).await;
        }
    }
    let text = stage.run(&["stop", "gmae"], 2);
    assert!(text.contains("there is no part \"gmae\"; there are: game, user"), "{text}");
    let text = stage.run(&["thaw", "game"], 1);
    assert!(text.contains("game is not frozen"), "{text}");
}

#[tokio::test]
async fn logs_print_only_logs_of_parts() {
    let stage = Stage::with_supervisor().await;
    let part = shell("game", "echo seven seven seven; exec sleep 1000");
    stage.client.apply(vec![part], false).await.unwrap();
    // The log exists once the part was started.
    stage.until_state("game", PartState::Ready).await;
    until("the line is in the log", async || stage.run(&["logs", "game"], 0).contains("seven seven")).await;
    assert_eq!(stage.run(&["logs", "game", "-n", "1"], 0).lines().count(), 1);
    let lines = stage.run(&["logs", "game", "--json"], 0);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.contains(&json!({ "part": "game", "line": "seven seven seven" })), "{lines:?}");
    for name in ["unknown", "../secrets/secrets", "/etc/passwd"] {
        let error: Value = serde_json::from_str(&stage.run(&["logs", name, "--json"], 2)).unwrap();
        assert_eq!(error["exitCode"], 2);
        assert!(error["error"].as_str().unwrap().starts_with("there is no part"), "{error}");
    }
}

#[test]
fn commands_without_platform_fail_with_message() {
    let stage = Stage::empty();
    // Another platform may run at the default ports.
    let unused = runtime::ports::free_row(PLATFORM_PORTS).expect("free ports").to_string();
    for (args, code) in [
        (vec!["status"], 1),
        (vec!["stop", "game"], 69),
        (vec!["--port-base", &unused, "bet"], 69),
        (vec!["--port-base", &unused, "bench", "flood"], 69),
        (vec!["--port-base", &unused, "bench", "rates"], 69),
        (vec!["--port-base", &unused, "bench", "drain"], 69),
        (vec!["--port-base", &unused, "bench", "recovery"], 69),
        (vec!["--port-base", &unused, "bench", "memory"], 69),
        (vec!["dlq", "list", "--bootstrap-servers", "127.0.0.1:9"], 69),
        (vec!["topics", "create", "--bootstrap-servers", "127.0.0.1:9"], 69),
        (vec!["--port-base", &unused, "issue", "list"], 69),
        (vec!["release", "deploy", "analytics", "--release", "pitboss@0.2.0"], 69),
        (vec!["release", "promote", "analytics"], 69),
        (vec!["release", "rollback", "analytics"], 69),
        (vec!["release", "status"], 69),
        (vec!["release", "list"], 0),
        (vec!["drill", "release"], 69),
        (vec!["--port-base", &unused, "issue", "resolve", "ab"], 69),
        (vec!["--port-base", &unused, "lag", "--once"], 69),
        (vec!["--port-base", &unused, "profile", "game"], 69),
        (vec!["--port-base", &unused, "bench", "profiles", "--rounds", "0"], 2),
        (vec!["profile", "recorder"], 2),
        (vec!["profile", "game", "--seconds", "601"], 2),
        (vec!["lag", "--once", "--bootstrap-servers", "127.0.0.1:9"], 69),
        (vec!["down"], 0),
        (vec!["nonsense"], 2),
        (vec!["--port-base", "80", "status"], 1),
    ] {
        assert!(!stage.run(&args, code).trim().is_empty(), "{args:?} prints nothing");
    }
    let status: Value = serde_json::from_str(&stage.run(&["status", "--json"], 1)).unwrap();
    assert_eq!(status["parts"].as_array().map(Vec::len), Some(0));
}

#[test]
fn unknown_receiver_of_telemetry_is_refused() {
    let stage = Stage::empty();
    let text =
        expect_exit(&stage.command(&["doctor"]).env("PITBOSS_RECEIVER", "sentry").output().unwrap(), 1);
    assert!(text.contains("PITBOSS_RECEIVER: \"sentry\" is no receiver of telemetry"), "{text}");
}

#[test]
fn port_in_use_stops_up_and_names_its_owner() {
    let stage = Stage::empty();
    let taken = (0..100).find_map(|_| {
        let base = runtime::ports::free_row(PLATFORM_PORTS).ok()?;
        Some((base, TcpListener::bind(("127.0.0.1", base + 23)).ok()?))
    });
    let (base, listener) = taken.expect("a free port");
    let text = stage.run(&["up", "--only", "redis", "--no-build", "--port-base", &base.to_string()], 69);
    let expected =
        format!("port {} (needed by redis) is in use by process {}", base + 23, std::process::id());
    assert!(text.contains(&expected) && text.contains("--port-base"), "{text}");
    drop(listener);
    assert!(!runtime::pids::supervisor_lives(&stage.layout).unwrap(), "a supervisor was started and left");
}

#[test]
fn secrets_are_stable_and_have_every_project() {
    let stage = Stage::empty();
    let written = || {
        let shown = stage.run(&["secrets", "--env"], 0);
        let file = stage.layout.secrets().join("compose.env");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        (std::fs::read_to_string(file).unwrap(), shown)
    };
    let (text, shown) = written();
    assert_eq!(text, written().0);
    let secret = runtime::secrets::Secrets::load(&stage.layout).unwrap().jwt_secret;
    assert!(text.contains(&secret) && !shown.contains(&secret), "{shown}");
    let piped = stage.cli(&["secrets", "--env", "-"]);
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), text);
    let foreign = stage.folder.path().join(".env");
    std::fs::write(&foreign, "RUST_LOG=info\n").unwrap();
    stage.run(&["secrets", "--env", foreign.to_str().unwrap()], 1);
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "RUST_LOG=info\n");
    for name in ["PITBOSS__SECURITY__JWT_SECRET=", "SENTRY_DSN_GAME=http://", "SENTRY_KEY_PLAYER_WEB="] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} in {text}");
    }
}

#[test]
fn platform_without_an_answer_is_named_with_what_to_do() {
    let stage = Stage::empty();
    stage.run(&["secrets", "--env"], 0);
    let (nobody, trace_id) = ("http://127.0.0.1:9", "12".repeat(16));
    let (target, trace_id) = (["--gateway", nobody, "--recorder", nobody], trace_id.as_str());
    for (args, option) in [
        (vec!["trace", trace_id], "--recorder URL"),
        (vec!["trace", trace_id, "--bet"], "--recorder URL"),
        (vec!["debug", "game", "crash"], "--gateway URL"),
    ] {
        let text = stage.run(&[args.as_slice(), &target].concat(), 69);
        for part in ["does not answer at http://127.0.0.1:9", "./pitboss up", option] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

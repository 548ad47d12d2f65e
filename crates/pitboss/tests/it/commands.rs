//! The commands: their arguments, their JSON and their exit codes.

use std::net::TcpListener;

use runtime::part::PartState;

use crate::stage::{Stage, said, sleeper};

#[tokio::test]
async fn status_is_what_was_agreed_and_its_code_says_whether_all_is_well() {
    let stage = Stage::with_supervisor().await;
    stage.client.apply(vec![sleeper("game")], false).await.unwrap();
    stage.until_state("game", PartState::Ready).await;
    let output = stage.cli(&["status", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["runtime"], "local");
    let part = status["parts"][0].as_object().unwrap();
    let mut names: Vec<&str> = part.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["address", "kind", "memory_bytes", "name", "pid", "restarts", "state", "version"]);
    assert_eq!((part["kind"].as_str(), part["state"].as_str()), (Some("service"), Some("ready")));
    assert!(part["memory_bytes"].as_u64().unwrap() > 100_000);

    assert_eq!(stage.cli(&["stop", "game"]).status.code(), Some(0));
    let output = stage.cli(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("game") && said(&output).contains("stopped"), "{}", said(&output));
}

#[tokio::test]
async fn parts_are_handled_by_name() {
    let stage = Stage::with_supervisor().await;
    stage.client.apply(vec![sleeper("game"), sleeper("user")], false).await.unwrap();
    stage.until_state("game", PartState::Ready).await;
    for action in ["restart", "freeze", "thaw", "kill", "stop", "start"] {
        let output = stage.cli(&[action, "game"]);
        assert_eq!(output.status.code(), Some(0), "{action}: {}", said(&output));
        if action == "kill" {
            stage.until_state("game", PartState::Ready).await;
        }
    }
    let output = stage.cli(&["stop", "gmae"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("there is no part \"gmae\"; there are: game, user"), "{}", said(&output));
    let output = stage.cli(&["thaw", "game"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("game is not frozen"), "{}", said(&output));
}

#[tokio::test]
async fn logs_show_what_a_part_said_and_read_nothing_else() {
    let stage = Stage::with_supervisor().await;
    stage
        .client
        .apply(vec![crate::stage::shell("game", "echo seven seven seven; exec sleep 1000")], false)
        .await
        .unwrap();
    crate::stage::until("the line is in the log", async || {
        said(&stage.cli(&["logs", "game"])).contains("seven seven")
    })
    .await;
    assert_eq!(stage.cli(&["logs", "game", "-n", "1"]).stdout.iter().filter(|b| **b == b'\n').count(), 1);
    for name in ["nobody", "../secrets/secrets", "/etc/passwd"] {
        assert_eq!(stage.cli(&["logs", name]).status.code(), Some(2), "{name}");
    }
}

#[test]
fn without_a_platform_each_command_says_so() {
    let stage = Stage::empty();
    for (args, code) in [
        (vec!["status"], 1),
        (vec!["stop", "game"], 69),
        (vec!["bet"], 69),
        (vec!["down"], 0),
        (vec!["nonsense"], 2),
        (vec!["--port-base", "80", "status"], 1),
    ] {
        let output = stage.cli(&args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        assert!(!said(&output).trim().is_empty(), "{args:?} says nothing");
    }
    let status: serde_json::Value = serde_json::from_slice(&stage.cli(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["parts"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_port_in_use_is_told_with_its_owner_before_anything_is_started() {
    let stage = Stage::empty();
    let taken = (0..100).find_map(|_| {
        let base = runtime::ports::free(1).ok()?[0].clamp(1_024, 60_000);
        Some((base, TcpListener::bind(("127.0.0.1", base + 23)).ok()?))
    });
    let (base, listener) = taken.expect("a port that nobody has");
    let output = stage.cli(&["up", "--only", "redis", "--no-build", "--port-base", &base.to_string()]);
    assert_eq!(output.status.code(), Some(69), "{}", said(&output));
    let expected =
        format!("port {} (wanted for redis) is in use by process {}", base + 23, std::process::id());
    assert!(said(&output).contains(&expected), "{}", said(&output));
    assert!(said(&output).contains("--port-base"), "{}", said(&output));
    drop(listener);
    assert!(!runtime::pids::supervisor_lives(&stage.layout).unwrap(), "a supervisor was started and left");
}

#[test]
fn secrets_are_the_same_each_time_and_name_every_project() {
    let stage = Stage::empty();
    let written = || {
        let output = stage.cli(&["secrets", "--env"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let file = stage.layout.secrets().join("compose.env");
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        (std::fs::read_to_string(file).unwrap(), said(&output))
    };
    let (text, shown) = written();
    assert_eq!(text, written().0);
    let secret = runtime::secrets::Secrets::load(&stage.layout).unwrap().jwt_secret;
    assert!(text.contains(&secret) && !shown.contains(&secret), "{shown}");
    let piped = stage.cli(&["secrets", "--env", "-"]);
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), text);
    let theirs = stage.folder.path().join(".env");
    std::fs::write(&theirs, "RUST_LOG=info\n").unwrap();
    let refused = stage.cli(&["secrets", "--env", theirs.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "RUST_LOG=info\n");
    for name in ["PITBOSS__SECURITY__JWT_SECRET=", "SENTRY_DSN_GAME=http://", "SENTRY_KEY_PLAYER_WEB="] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} in {text}");
    }
}

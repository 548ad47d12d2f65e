//! Lifecycle of a part under the supervisor: restarts, stops, freezes, and the reported status.

use nix::sys::signal::Signal;
use runtime::RuntimeError;
use runtime::control::Action;
use runtime::part::{PartSpec, PartState, Probe};

use crate::stage::{SOON, Stage, kernel_state, lives, shell, signal, sleeper, until};

#[tokio::test]
async fn killed_part_restarts_as_new_process() {
    let (stage, first) = Stage::with_game().await;
    stage.client.act(Action::Kill, "game").await.unwrap();
    until("another process", async || stage.part("game").await.pid.is_some_and(|pid| pid != first)).await;
    let part = stage.until_state("game", PartState::Ready).await;
    assert_eq!((part.restarts, part.last_exit.as_deref()), (1, Some("killed by SIGKILL")));
    assert!(!lives(first));
    // The same by a signal that the supervisor did not send.
    signal(part.pid.unwrap(), Signal::SIGKILL);
    until("a second restart", async || stage.part("game").await.restarts == 2).await;
}

#[tokio::test]
async fn stopped_part_starts_on_command_only() {
    let (stage, pid) = Stage::with_game().await;
    stage.client.act(Action::Stop, "game").await.unwrap();
    stage.until_state("game", PartState::Stopped).await;
    assert!(!lives(pid));
    stage.client.act(Action::Start, "game").await.unwrap();
    assert_eq!(stage.until_state("game", PartState::Ready).await.restarts, 0);
}

#[tokio::test]
async fn removed_part_ends_and_others_stay() {
    let (stage, pid) = Stage::with_game().await;
    stage.client.apply(vec![sleeper("game-canary")], true).await.unwrap();
    let canary = stage.until_state("game-canary", PartState::Ready).await.pid.unwrap();
    stage.client.remove("game-canary", SOON).await.unwrap();
    assert!(!lives(canary));
    let status = stage.client.status().await.unwrap();
    assert!(status.part("game-canary").is_none(), "{status:?}");
    assert_eq!(status.part("game").and_then(|part| part.pid), Some(pid));
    stage.client.remove("game-canary", SOON).await.unwrap();
}

#[tokio::test]
async fn frozen_part_does_nothing_until_thawed() {
    let (stage, pid) = Stage::with_game().await;
    stage.client.act(Action::Freeze, "game").await.unwrap();
    until("the kernel has stopped it", async || kernel_state(pid) == Some('T')).await;
    assert_eq!(stage.part("game").await.state, PartState::Frozen);
    let refused = stage.client.act(Action::Start, "game").await.unwrap_err().to_string();
    assert!(refused.contains("thaw"), "{refused}");
    stage.client.act(Action::Thaw, "game").await.unwrap();
    assert_eq!(stage.until_state("game", PartState::Ready).await.pid, Some(pid));
    until("the kernel has resumed it", async || kernel_state(pid) != Some('T')).await;
    // A frozen part can be stopped too, without waiting for its deadline.
    stage.client.act(Action::Freeze, "game").await.unwrap();
    stage.client.act(Action::Stop, "game").await.unwrap();
    stage.until_state("game", PartState::Stopped).await;
}

#[tokio::test]
async fn repeated_deaths_are_crash_looping() {
    let stage = Stage::with_supervisor().await;
    stage.client.apply(vec![shell("game", "echo no money; exit 3")], false).await.unwrap();
    let part = stage.until_state("game", PartState::CrashLooping).await;
    assert_eq!(part.last_exit.as_deref(), Some("exit code 3"));
    assert!(part.restarts >= 4, "{part:?}");
}

#[tokio::test]
async fn part_is_killed_after_stop_deadline() {
    let stage = Stage::with_supervisor().await;
    let stubborn =
        PartSpec { stop_deadline_ms: 300, ..shell("game", "trap '' TERM; while :; do sleep 1; done") };
    stage.client.apply(vec![stubborn], false).await.unwrap();
    let pid = stage.until_state("game", PartState::Ready).await.pid.unwrap();
    stage.client.act(Action::Stop, "game").await.unwrap();
    stage.until_state("game", PartState::Stopped).await;
    assert!(!lives(pid));
}

#[tokio::test]
async fn children_of_a_part_are_killed_with_it() {
    let stage = Stage::with_supervisor().await;
    let file = stage.folder.path().join("child");
    let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
    stage.client.apply(vec![shell("game", &script)], false).await.unwrap();
    stage.until_state("game", PartState::Ready).await;
    let child = async || std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<i32>().ok());
    until("the child is recorded", async || child().await.is_some()).await;
    let child = child().await.unwrap();
    assert!(lives(child));
    stage.client.act(Action::Kill, "game").await.unwrap();
    until("the child is gone", async || !lives(child)).await;
}

#[tokio::test]
async fn part_waits_for_needs_and_death_shows_log() {
    let stage = Stage::with_supervisor().await;
    let port = runtime::ports::free_row(2).unwrap();
    let never = port + 1;
    let listens = |port: u16| Probe::Tcp { address: format!("127.0.0.1:{port}") };
    let kafka = PartSpec { ready: listens(port), ..sleeper("kafka") };
    let game = PartSpec {
        // It never becomes ready, however late its death is noticed.
        ready: listens(never),
        needs: vec!["kafka".to_owned()],
        ..shell("game", "echo the reels are stuck >&2; exit 69")
    };
    stage.client.apply(vec![game, kafka], false).await.unwrap();
    stage.until_state("kafka", PartState::Starting).await;
    assert_eq!(stage.part("game").await.state, PartState::Waiting);

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let names = ["game".to_owned(), "kafka".to_owned()];
    let error = stage.client.wait_ready(&names, SOON, |_| {}).await.unwrap_err();
    drop(listener);
    assert!(matches!(error, RuntimeError::DiedAtStart { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("game died at start (exit code 69: something it needs is missing)"), "{text}");
    assert!(text.contains("game.log") && text.contains("| the reels are stuck"), "{text}");
}

#[tokio::test]
async fn repeated_plan_changes_nothing() {
    let stage = Stage::with_supervisor().await;
    let plan = vec![sleeper("game"), sleeper("user")];
    stage.client.apply(plan.clone(), false).await.unwrap();
    let before = (
        stage.until_state("game", PartState::Ready).await,
        stage.until_state("user", PartState::Ready).await,
    );
    assert!(stage.client.apply(plan, false).await.unwrap().is_nothing());
    let pids = (stage.part("game").await.pid, stage.part("user").await.pid);
    assert_eq!(pids, (before.0.pid, before.1.pid));
    let rebuilt = PartSpec { fingerprint: "rebuilt".to_owned(), ..sleeper("game") };
    let applied = stage.client.apply(vec![rebuilt], true).await.unwrap();
    assert_eq!((applied.restarted, applied.removed), (vec!["game".to_owned()], Vec::<String>::new()));
    until("another process", async || {
        stage.part("game").await.pid.is_some_and(|pid| Some(pid) != before.0.pid)
    })
    .await;
    assert_eq!(stage.part("user").await.pid, before.1.pid);
}

//! A part during its launch, while its process still runs the supervisor's program.

use runtime::part::{PartSpec, PartState, Probe};
use runtime::pids;

use crate::stage::{Stage, sleeper, until};

/// A part that runs the supervisor's program as long as it lives: it is the supervisor of another platform.
fn never_becomes_a_part(name: &str, platform: &Stage, ready: Probe) -> PartSpec {
    let layout = &platform.layout;
    let mut args = vec!["supervise".to_owned()];
    for (option, folder) in
        [("--root", layout.root()), ("--state", layout.state()), ("--tools", layout.tools())]
    {
        args.extend([option.to_owned(), folder.display().to_string()]);
    }
    PartSpec { program: env!("CARGO_BIN_EXE_pitboss").into(), args, ready, ..sleeper(name) }
}

#[tokio::test]
async fn launcher_process_is_not_ready_and_not_shown() {
    let (one, other) = (Stage::empty(), Stage::empty());
    let stage = Stage::with_supervisor().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let answers = Probe::Tcp { address: listener.local_addr().unwrap().to_string() };
    let running = never_becomes_a_part("game", &one, Probe::Running);
    let probed = never_becomes_a_part("user", &other, answers);
    stage.client.apply(vec![running, probed], false).await.unwrap();
    for platform in [&one, &other] {
        until("the other supervisor answers", async || platform.client.status().await.is_ok()).await;
    }
    // Both were probed before this one, which is ready.
    stage.client.apply(vec![sleeper("payment")], true).await.unwrap();
    stage.until_state("payment", PartState::Ready).await;
    for name in ["game", "user"] {
        let part = stage.part(name).await;
        assert_eq!((part.state, part.pid, part.memory_bytes), (PartState::Starting, None, 0), "{name}");
        let runs = |recorded: &pids::Recorded| recorded.name == name && recorded.process.is_alive();
        assert!(pids::recorded(&stage.layout).iter().any(runs), "{name} was not started at all");
    }
    assert!(stage.part("payment").await.pid.is_some());
}

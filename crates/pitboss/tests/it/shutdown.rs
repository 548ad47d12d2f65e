//! End of the supervisor, orderly or not: no process of the platform outlives it, and no other process is touched.

use std::process::Command;

use nix::sys::signal::Signal;
use runtime::launch::{self, Ended};
use runtime::os_process::ProcessId;
use runtime::part::{PartSpec, PartState};
use runtime::pids::{self, Lock, Recorded};

use crate::stage::{Stage, lives, shell, signal, sleeper, until};

#[tokio::test]
async fn parts_die_with_killed_supervisor() {
    let stage = Stage::with_supervisor().await;
    stage.client.apply(vec![sleeper("game"), sleeper("user")], false).await.unwrap();
    let game = stage.until_state("game", PartState::Ready).await.pid.unwrap();
    let user = stage.until_state("user", PartState::Ready).await.pid.unwrap();
    signal(stage.supervisor().pid, Signal::SIGKILL);
    until("the parts are gone", async || !lives(game) && !lives(user)).await;
    until("the lock is free", async || !pids::supervisor_lives(&stage.layout).unwrap()).await;

    stage.start_supervisor(None).await;
    stage.client.apply(vec![sleeper("game")], false).await.unwrap();
    stage.until_state("game", PartState::Ready).await;
}

#[tokio::test]
async fn next_command_kills_leftover_parts() {
    let stage = Stage::empty();
    // A part that was not bound to its supervisor, such as a set-uid program.
    let mut left = std::os::unix::process::CommandExt::process_group(Command::new("sleep").arg("1000"), 0)
        .spawn()
        .unwrap();
    let pid = i32::try_from(left.id()).unwrap();
    let record = Recorded { name: "game".to_owned(), process: ProcessId::of(pid).unwrap() };
    pids::record(&stage.layout, &[record]).unwrap();
    let reaper = std::thread::spawn(move || left.wait());
    assert_eq!(launch::end(&stage.layout).await.unwrap(), Ended::LeftBehind(vec!["game".to_owned()]));
    assert!(!lives(pid));
    reaper.join().unwrap().unwrap();
    assert_eq!(launch::end(&stage.layout).await.unwrap(), Ended::Nothing);
}

#[tokio::test]
async fn reused_process_id_is_not_killed() {
    let stage = Stage::empty();
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = i32::try_from(other.id()).unwrap();
    let real = ProcessId::of(pid).unwrap();
    let earlier = ProcessId { start_ticks: real.start_ticks - 1, ..real };
    pids::record(&stage.layout, &[Recorded { name: "game".to_owned(), process: earlier }]).unwrap();
    assert_eq!(launch::end(&stage.layout).await.unwrap(), Ended::Nothing);
    assert!(lives(pid), "another program's process was killed");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn shutdown_stops_parts_in_order() {
    let stage = Stage::with_supervisor().await;
    let file = |name: &str| stage.folder.path().join(name);
    let (ends, traps) = (file("ends"), file("traps"));
    let logging_part = |name: &str| {
        let (ends, traps) = (ends.display(), traps.display());
        let last = format!(
            "trap 'echo {name} >> {ends}; exit 0' TERM; echo {name} >> {traps}; while :; do sleep 0.05; done"
        );
        shell(name, &last)
    };
    let game = PartSpec { needs: vec!["kafka".to_owned()], ..logging_part("game") };
    stage.client.apply(vec![logging_part("kafka"), game], false).await.unwrap();
    let pids = [stage.until_state("game", PartState::Ready).await.pid, stage.part("kafka").await.pid];
    let supervisor = stage.supervisor();
    // A signal before the trap is set would simply end the shell.
    until("both have set their traps", async || {
        std::fs::read_to_string(&traps).is_ok_and(|t| t.lines().count() == 2)
    })
    .await;
    assert_eq!(launch::end(&stage.layout).await.unwrap(), Ended::InOrder);
    assert_eq!(std::fs::read_to_string(&ends).unwrap(), "game\nkafka\n");
    assert!(pids.into_iter().flatten().all(|pid| !lives(pid)));
    until("the supervisor is gone", async || !supervisor.is_alive()).await;
}

#[tokio::test]
async fn unresponsive_supervisor_is_killed() {
    let (stage, game) = Stage::with_game().await;
    // Without its socket it receives no requests.
    std::fs::remove_file(stage.layout.run().join("control.sock")).unwrap();
    // Either the kernel or this command ends the parts first. Both are correct.
    assert_ne!(launch::end(&stage.layout).await.unwrap(), Ended::InOrder);
    until("the part is gone", async || !lives(game)).await;
}

#[tokio::test]
async fn platform_shuts_down_with_its_owner_process() {
    let stage = Stage::empty();
    let mut test_run = Command::new("sleep").arg("1000").spawn().unwrap();
    let process = ProcessId::of(i32::try_from(test_run.id()).unwrap()).unwrap();
    stage.start_supervisor(Some(&process)).await;
    stage.client.apply(vec![sleeper("game")], false).await.unwrap();
    let game = stage.until_state("game", PartState::Ready).await.pid.unwrap();
    test_run.kill().unwrap();
    test_run.wait().unwrap();
    until("the part is gone", async || !lives(game)).await;
    until("the lock is free", async || !pids::supervisor_lives(&stage.layout).unwrap()).await;
}

#[tokio::test]
async fn removed_state_folder_shuts_down_platform() {
    let (stage, game) = Stage::with_game().await;
    let supervisor = stage.supervisor();
    std::fs::remove_dir_all(stage.layout.state()).unwrap();
    until("both are gone", async || !lives(game) && !supervisor.is_alive()).await;
}

#[tokio::test]
async fn second_supervisor_or_command_is_refused() {
    let stage = Stage::with_supervisor().await;
    let second = Command::new(env!("CARGO_BIN_EXE_pitboss"))
        .arg("supervise")
        .arg("--root")
        .arg(stage.layout.root())
        .arg("--state")
        .arg(stage.layout.state())
        .arg("--tools")
        .arg(stage.layout.tools())
        .output()
        .unwrap();
    assert!(!second.status.success());
    assert!(stage.client.status().await.is_ok(), "the first supervisor still runs");
    let lock = Lock::of_command(&stage.layout).unwrap();
    let busy = Lock::of_command(&stage.layout).unwrap_err().to_string();
    assert!(busy.contains(&format!("process {}", std::process::id())), "{busy}");
    drop(lock);
    assert!(Lock::of_command(&stage.layout).is_ok());
}

//! End of the supervisor, orderly or not: no process of the platform outlives it, and no other process is touched.

use std::process::Command;

use nix::sys::signal::Signal;
use runtime::launch::{self, Ended};
use runtime::part::{PartSpec, PartState};
use runtime::pids::{self, Lock, Recorded};
use runtime::process::ProcessId;

use crate::stage::{Stage, lives, shell, signal, sleeper, until};

#[tokio::test]
async fn a_killed_supervisor_takes_its_parts_along_and_the_next_command_goes_on() {
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
async fn what_a_killed_supervisor_left_is_removed_by_the_next_command() {
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
async fn a_recycled_process_id_is_left_alone() {
    let stage = Stage::empty();
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = i32::try_from(stranger.id()).unwrap();
    let real = ProcessId::of(pid).unwrap();
    let earlier = ProcessId { start_ticks: real.start_ticks - 1, ..real };
    pids::record(&stage.layout, &[Recorded { name: "game".to_owned(), process: earlier }]).unwrap();
    assert_eq!(launch::end(&stage.layout).await.unwrap(), Ended::Nothing);
    assert!(lives(pid), "a stranger's process was killed");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn the_end_in_good_order_ends_everything_in_order() {
    let stage = Stage::with_supervisor().await;
    let file = |name: &str| stage.folder.path().join(name);
    let (ends, traps) = (file("ends"), file("traps"));
    let says = |name: &str| {
        let (ends, traps) = (ends.display(), traps.display());
        let last = format!(
            "trap 'echo {name} >> {ends}; exit 0' TERM; echo {name} >> {traps}; while :; do sleep 0.05; done"
        );
        shell(name, &last)
    };
    let game = PartSpec { needs: vec!["kafka".to_owned()], ..says("game") };
    stage.client.apply(vec![says("kafka"), game], false).await.unwrap();
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
async fn a_supervisor_that_does_not_answer_is_ended_all_the_same() {
    let stage = Stage::with_supervisor().await;
    stage.client.apply(vec![sleeper("game")], false).await.unwrap();
    let game = stage.until_state("game", PartState::Ready).await.pid.unwrap();
    // Without its socket it receives no requests.
    std::fs::remove_file(stage.layout.run().join("control.sock")).unwrap();
    // Either the kernel or this command ends the parts first. Both are correct.
    assert_ne!(launch::end(&stage.layout).await.unwrap(), Ended::InOrder);
    until("the part is gone", async || !lives(game)).await;
}

#[tokio::test]
async fn all_ends_with_the_process_that_it_was_for() {
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
async fn all_ends_when_the_state_folder_is_removed() {
    let stage = Stage::with_supervisor().await;
    stage.client.apply(vec![sleeper("game")], false).await.unwrap();
    let game = stage.until_state("game", PartState::Ready).await.pid.unwrap();
    let supervisor = stage.supervisor();
    std::fs::remove_dir_all(stage.layout.state()).unwrap();
    until("both are gone", async || !lives(game) && !supervisor.is_alive()).await;
}

#[tokio::test]
async fn there_is_one_supervisor_and_one_command_at_a_time() {
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
    assert!(stage.client.status().await.is_ok(), "the first one goes on");
    let lock = Lock::of_command(&stage.layout).unwrap();
    let busy = Lock::of_command(&stage.layout).unwrap_err().to_string();
    assert!(busy.contains(&format!("process {}", std::process::id())), "{busy}");
    drop(lock);
    assert!(Lock::of_command(&stage.layout).is_ok());
}

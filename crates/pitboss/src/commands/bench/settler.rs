//! The settler of a bare chain, which a benchmark starts late or kills.
//!
//! It has to end before its front deletes the database, because an insert in flight would create that again. A turn can end anywhere,
//! on Ctrl-C or after an error, so the process does not belong to a turn.

use anyhow::Result;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::program::{Launch, Program, Role};

/// The place of a settler. At most one process is in it.
#[derive(Debug)]
pub(super) struct Settler {
    /// Its chain.
    pub(super) launch: Launch,
    /// The process, also while its end is awaited.
    running: Mutex<Option<Program>>,
}

impl Settler {
    /// A settler of this chain, which does not run yet.
    pub(super) fn of(launch: &Launch) -> Self {
        Self { launch: launch.clone(), running: Mutex::new(None) }
    }

    /// Starts it. An earlier one has to have ended.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) async fn start(&self) -> Result<MappedMutexGuard<'_, Program>> {
        self.start_as(&self.launch).await
    }

    /// Starts it with other settings of the same chain. An earlier one has to have ended.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) async fn start_as(&self, launch: &Launch) -> Result<MappedMutexGuard<'_, Program>> {
        self.begin(|| launch.start(Role::Settler)).await
    }

    async fn begin(&self, start: impl FnOnce() -> Result<Program>) -> Result<MappedMutexGuard<'_, Program>> {
        let running = self.running.lock().await;
        let program = start()?;
        Ok(MutexGuard::map(running, |running| running.insert(program)))
    }

    /// Kills it (SIGKILL), and waits for its end.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub(super) async fn kill(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        if let Some(program) = running.as_mut() {
            program.kill().await?;
        }
        *running = None;
        Ok(())
    }

    /// Ends it, if it runs.
    ///
    /// # Errors
    /// When it failed, or had to be killed.
    pub(super) async fn stop(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        if let Some(program) = running.as_mut() {
            program.stop().await?;
        }
        *running = None;
        Ok(())
    }

    /// Ends it, and then its front, which deletes the topics and the database.
    ///
    /// # Errors
    /// When one of them failed, or had to be killed.
    pub(super) async fn stop_with(&self, front: &mut Program) -> Result<()> {
        let stopped = self.stop().await;
        stopped.and(front.stop().await)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::path::Path;

    use tokio::sync::oneshot;

    use super::super::program::tests::{launch, shell};
    use super::*;

    /// Begins a turn with a settler that creates this file at its end, and drops the turn while it waits.
    async fn interrupted_turn(settler: &Settler, at_end: &Path) {
        let script = format!("echo joined; cat >/dev/null; echo > '{}'", at_end.display());
        let (tell, joined) = oneshot::channel();
        let turn = async {
            let mut program = settler.begin(|| Ok(shell(&script))).await.unwrap();
            program.joined().await.unwrap();
            tell.send(()).unwrap();
            pending::<()>().await;
        };
        tokio::select! {
            () = turn => panic!("the turn waits for ever"),
            joined = joined => joined.unwrap(),
        }
    }

    #[tokio::test]
    async fn settler_of_an_interrupted_turn_ends_before_its_front() {
        let folder = tempfile::tempdir().unwrap();
        let (settler, at_end) = (Settler::of(&launch()), folder.path().join("ended"));
        interrupted_turn(&settler, &at_end).await;
        assert!(!at_end.exists(), "it still runs");
        let mut front = shell(&format!("cat >/dev/null; test -e '{}'", at_end.display()));
        settler.stop_with(&mut front).await.expect("a front that ends after its settler");
    }

    #[tokio::test]
    async fn killed_settler_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (settler, at_end) = (Settler::of(&launch()), folder.path().join("ended"));
        interrupted_turn(&settler, &at_end).await;
        settler.kill().await.unwrap();
        settler.stop().await.expect("nothing to end");
        assert!(!at_end.exists(), "it had no time for anything");
    }

    #[tokio::test]
    async fn front_ends_although_its_settler_failed() {
        let settler = Settler::of(&launch());
        drop(settler.begin(|| Ok(shell("exit 3"))).await.unwrap());
        let folder = tempfile::tempdir().unwrap();
        let at_end = folder.path().join("ended");
        let mut front = shell(&format!("cat >/dev/null; echo > '{}'", at_end.display()));
        let error = settler.stop_with(&mut front).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && at_end.exists(), "{error}");
    }
}

//! Earlier test runs: ends and removes what they left.

use std::path::Path;

use anyhow::{Context as _, Result};
use runtime::os_process::ProcessId;
use runtime::{Layout, launch};

/// Prefix of the folders of test runs.
const FOLDER_PREFIX: &str = "test-";
/// File in the folder of a run that names its process.
const OWNER_FILE: &str = "owner";
/// Folder in the folder of a run with the state of the platform that tests start.
const PLATFORM: &str = "platform";

/// Creates the folder of the test run of this process, and names the process in it.
pub(super) fn create(layout: &Layout, own: &ProcessId) -> Result<Layout> {
    let run = layout.with_state(layout.state().join(format!("{FOLDER_PREFIX}{}", own.pid)));
    run.create()?;
    let owner = run.state().join(OWNER_FILE);
    std::fs::write(&owner, own.to_string()).with_context(|| format!("cannot write {}", owner.display()))?;
    Ok(run)
}

/// Layout of the platform that the tests of a run start.
pub(super) fn platform(run: &Layout) -> Layout {
    run.with_state(run.state().join(PLATFORM))
}

/// Ends and removes what earlier test runs left. A failed run keeps its folder, and a killed one may have left processes.
pub(super) async fn clean_up(layout: &Layout) -> Result<()> {
    for entry in std::fs::read_dir(layout.state())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_run = name.strip_prefix(FOLDER_PREFIX).is_some_and(|pid| pid.parse::<i32>().is_ok());
        if !is_run || is_in_progress(&entry.path()) {
            continue;
        }
        let old = layout.with_state(entry.path());
        launch::end(&platform(&old)).await?;
        launch::end(&old).await?;
        drop(std::fs::remove_dir_all(entry.path()));
    }
    Ok(())
}

/// Returns `true` if the process of the run lives. Another process with the same id is a different one.
fn is_in_progress(folder: &Path) -> bool {
    let owner = std::fs::read_to_string(folder.join(OWNER_FILE)).unwrap_or_default();
    owner.trim().parse::<ProcessId>().is_ok_and(|owner| owner.is_alive())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_folders_of_ended_runs_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        let own = ProcessId::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let earlier = ProcessId { pid: own.pid, start_ticks: own.start_ticks - 1, ..own.clone() };
        let old = create(&layout, &earlier).unwrap();
        let without_owner = layout.with_state(layout.state().join("test-1"));
        without_owner.create().unwrap();
        std::fs::create_dir(layout.state().join("test-results")).unwrap();
        clean_up(&layout).await.unwrap();
        assert!(!old.state().exists(), "another process with the same id");
        assert!(!without_owner.state().exists());
        assert!(layout.state().join("test-results").exists(), "not of a test run");
        let new = create(&layout, &own).unwrap();
        clean_up(&layout).await.unwrap();
        assert!(new.state().exists(), "it is in progress");
        assert!(layout.run().exists(), "not of a test run");
    }
}

//! Paths of the local runtime. All are under `.pitboss/`, so that removing one folder removes everything.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::RuntimeError;

/// Folders of one local platform.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    state: PathBuf,
    tools: PathBuf,
    programs: PathBuf,
}

impl Layout {
    /// Layout of the checkout at `root`. State is in `.pitboss/` unless `state` names another folder, and fetched programs are in
    /// `.pitboss/tools/` unless `tools` does. Platforms with separate states share the tools of one checkout.
    #[must_use]
    pub fn new(root: &Path, state: Option<PathBuf>, tools: Option<PathBuf>) -> Self {
        let default = root.join(".pitboss");
        let tools = tools.unwrap_or_else(|| default.join("tools"));
        let programs = root.join("target").join("debug");
        Self { root: root.to_owned(), state: state.unwrap_or(default), tools, programs }
    }

    /// The same checkout and tools with another state folder, for the temporary servers of the tests.
    #[must_use]
    pub fn with_state(&self, state: PathBuf) -> Self {
        Self { state, ..self.clone() }
    }

    /// The same platform with the programs in `programs` instead of those that cargo built last.
    #[must_use]
    pub fn with_programs(&self, programs: PathBuf) -> Self {
        Self { programs, ..self.clone() }
    }

    /// Root of the checkout.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The state folder, `.pitboss/`.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Folder of fetched and built programs.
    #[must_use]
    pub fn tools(&self) -> &Path {
        &self.tools
    }

    /// Data folder of a part, deleted by `down --volumes`.
    #[must_use]
    pub fn data(&self, part: &str) -> PathBuf {
        self.state.join("data").join(part)
    }

    /// Folder of all parts' data.
    #[must_use]
    pub fn all_data(&self) -> PathBuf {
        self.state.join("data")
    }

    /// Folder of generated configuration files.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.state.join("config")
    }

    /// Log file of a part.
    #[must_use]
    pub fn log(&self, part: &str) -> PathBuf {
        self.state.join("logs").join(format!("{part}.log"))
    }

    /// Folder of the running supervisor's locks, socket and process ids.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.state.join("run")
    }

    /// File of the armed faults. The command line writes it, and every service watches it.
    #[must_use]
    pub fn faults_file(&self) -> PathBuf {
        self.run().join("faults.json")
    }

    /// File of how often the supervisor applied each fault that it applies itself.
    #[must_use]
    pub fn fault_receipts_file(&self) -> PathBuf {
        self.run().join("fault-receipts.json")
    }

    /// File of the changes of the armed faults that Sentry is told, and of what it was not told yet.
    #[must_use]
    pub fn flag_changes_file(&self) -> PathBuf {
        self.run().join("flag-changes.json")
    }

    /// Folder of the secrets, readable by the owner only.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.state.join("secrets")
    }

    /// Folder of the programs of single releases, and of what was deployed ([`crate::releases`]).
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.state.join("releases")
    }

    /// Folder of our own programs. This is where cargo builds them, unless another folder was named.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Folder of the copies of our programs that run: those that cargo built last, without debug information.
    #[must_use]
    pub fn stripped_programs(&self) -> PathBuf {
        self.root.join("target").join("stripped")
    }

    /// Returns true if [`Self::programs`] is where cargo builds them.
    #[must_use]
    pub fn runs_what_cargo_built(&self) -> bool {
        self.programs == self.root.join("target").join("debug")
    }

    /// Folder of the tables with file and line of our programs, by build id. Platforms with separate states share it, as the tools.
    #[must_use]
    pub fn symbols(&self) -> PathBuf {
        self.tools.join("symbols")
    }

    /// Creates the folders. Only the owner can read them, because plans and logs can hold private data.
    pub fn create(&self) -> Result<(), RuntimeError> {
        let folders = [
            self.state.clone(),
            self.state.join("logs"),
            self.config(),
            self.run(),
            self.secrets(),
            self.all_data(),
        ];
        for folder in folders.iter().chain([&self.tools]) {
            private_folder(folder)?;
        }
        Ok(())
    }
}

/// Creates a folder and its missing parents, readable by the owner only.
pub(crate) fn private_folder(folder: &Path) -> Result<(), RuntimeError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(RuntimeError::file("create the folder", folder))?;
    Ok(())
}

/// Writes a file with mode `0600`. A reader sees the old or the new content, never a part of it.
///
/// # Errors
/// When the file cannot be written. No draft is left behind then.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), RuntimeError> {
    write(path, content, 0o600, true)
}

/// Does the same as [`write_private`], but does not wait for the disk. For what says nothing once the machine has stopped: the
/// supervisor answers nobody while a busy disk keeps it waiting.
pub(crate) fn write_private_unsynced(path: &Path, content: &[u8]) -> Result<(), RuntimeError> {
    write(path, content, 0o600, false)
}

/// Does the same as [`write_private`], with another mode.
pub(crate) fn write_with_mode(path: &Path, content: &[u8], mode: u32) -> Result<(), RuntimeError> {
    write(path, content, mode, true)
}

fn write(path: &Path, content: &[u8], mode: u32, must_sync: bool) -> Result<(), RuntimeError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let draft = PathBuf::from(name);
    let replace = || -> std::io::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&draft)?;
        // Before the content: an old draft may be readable by others, and the umask may have removed a permission.
        fs::set_permissions(&draft, fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        if must_sync {
            file.sync_all()?;
        }
        fs::rename(&draft, path)
    };
    replace().map_err(|error| {
        drop(fs::remove_file(&draft));
        RuntimeError::file("write", path)(error)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// Path of the draft that an earlier process with the id of this one would have left.
    fn draft_of(path: &Path) -> PathBuf {
        PathBuf::from(format!("{}.{}.tmp", path.display(), std::process::id()))
    }

    #[test]
    fn old_draft_with_open_mode_does_not_leak() {
        for write in [write_private, write_private_unsynced] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("secrets.json");
            let draft = draft_of(&file);
            fs::write(&draft, "longer than what is written now").unwrap();
            fs::set_permissions(&draft, fs::Permissions::from_mode(0o666)).unwrap();
            write(&file, b"short").unwrap();
            assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode_of(&file)), ("short", 0o600));
            assert!(!draft.exists());
        }
    }

    #[test]
    fn draft_is_private_before_it_has_content() {
        const MORE_THAN_A_PIPE_HOLDS: usize = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets.json");
        // A pipe, so that the mode can be checked during the write: the writer waits for the reader.
        let draft = draft_of(&file);
        mkfifo(&draft, Mode::S_IRWXU).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o666)).unwrap();
        let writing = std::thread::spawn(move || write_private(&file, &vec![b'x'; MORE_THAN_A_PIPE_HOLDS]));
        let mut reader = fs::File::open(&draft).unwrap();
        reader.read_exact(&mut [0]).unwrap();
        let mode = mode_of(&draft);
        std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
        // A pipe cannot be synced, so the result does not matter.
        drop(writing.join().unwrap());
        assert_eq!(mode, 0o600);
    }
}

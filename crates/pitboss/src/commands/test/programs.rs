//! The test programs of the workspace, as cargo reports them when it builds them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::runner::{Environment, Job};

/// Package whose tests start whole platforms. Each uses the whole machine, so nothing runs beside them.
const WHOLE_PLATFORMS: &str = "e2e";
/// Folders of the workspace's members.
const MEMBERS: [&str; 2] = ["crates", "services"];
/// Main source files of a member from which cargo builds a test program.
const SOURCES: [&str; 2] = ["src/lib.rs", "tests/it/main.rs"];
/// Part of every message about something that cargo has built.
const ARTIFACT: &str = "\"compiler-artifact\"";

/// A test program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Folder of its package, in which it runs.
    folder: PathBuf,
    /// Main source file, relative to the folder.
    source: PathBuf,
    executable: PathBuf,
}

impl Program {
    fn package(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns `true` if no other program may run at the same time.
    pub(super) fn runs_alone(&self) -> bool {
        self.package() == WHOLE_PLATFORMS
    }

    /// Returns `true` for the tests of one package from outside, which take longer than unit tests.
    pub(super) fn is_integration_test(&self) -> bool {
        self.source.starts_with("tests")
    }

    /// Describes the process of this program, which gets the same folder and variables from cargo.
    pub(super) fn job(&self, environment: &Environment) -> Job {
        let package = self.package();
        let mut command = environment.command(&self.executable);
        command
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("CARGO_PKG_NAME", &package);
        Job { name: format!("{package} {}", self.source.display()), command }
    }
}

/// Builds every test program of the workspace and returns them.
///
/// # Errors
/// When cargo cannot build them (its messages are on standard error), or when the list of them is incomplete.
pub(super) async fn build(environment: &Environment) -> Result<Vec<Program>> {
    let mut command = environment.cargo_test();
    command.args(["--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    // Another command may show its progress on the same terminal.
    command.env("CARGO_TERM_PROGRESS_WHEN", "never");
    let mut cargo = environment.spawn("cargo", command.stdout(Stdio::piped()))?;
    let output = cargo.child.stdout.take().context("the output of cargo is not captured")?;
    let mut lines = BufReader::new(output).lines();
    let mut programs = Vec::new();
    while let Some(line) = lines.next_line().await.context("cannot read the output of cargo")? {
        programs.extend(program_in(&line)?);
    }
    if !cargo.child.wait().await.context("cannot wait for cargo")?.success() {
        bail!("the tests cannot be built (cargo's messages are above)");
    }
    check_complete(&programs, environment.root())?;
    Ok(programs)
}

/// Refuses a list that lacks the unit tests or the integration tests of a member of the workspace. They would not run, and no
/// test would fail.
fn check_complete(programs: &[Program], root: &Path) -> Result<()> {
    let mut members = 0_u32;
    for folder in MEMBERS {
        let entries =
            std::fs::read_dir(root.join(folder)).with_context(|| format!("cannot read {folder}"))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {folder}"))?;
            let member = Path::new(folder).join(entry.file_name());
            for source in SOURCES.iter().filter(|source| entry.path().join(source).exists()) {
                members = members.saturating_add(1);
                if !programs.iter().any(|p| p.folder.ends_with(&member) && p.source == Path::new(source)) {
                    bail!("cargo did not report the test program of {}/{source}", member.display());
                }
            }
        }
    }
    if members == 0 {
        bail!("there are no members of the workspace in {}", root.display());
    }
    Ok(())
}

/// A message of cargo in JSON about something that it has built. Other fields are not needed.
#[derive(Debug, Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    profile: Profile,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    src_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Profile {
    test: bool,
}

/// The test program that a message of cargo is about, if it is about one.
///
/// # Errors
/// When it is about something that was built and cannot be read.
fn program_in(line: &str) -> Result<Option<Program>> {
    if !line.contains(ARTIFACT) {
        return Ok(None);
    }
    let artifact: Artifact = serde_json::from_str(line).context("a message of cargo cannot be read")?;
    let Some(executable) = artifact.executable.filter(|_| artifact.profile.test) else { return Ok(None) };
    let folder = artifact.manifest_path.parent().context("a message of cargo has no folder")?.to_owned();
    let source = artifact.target.src_path;
    let source = source.strip_prefix(&folder).map(Path::to_owned).unwrap_or(source);
    Ok(Some(Program { folder, source, executable }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(package: &str, source: &str, executable: &str, test: bool) -> String {
        let message = format!(
            r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/crates/{package}#0.1.0",
            "manifest_path":"/w/crates/{package}/Cargo.toml","target":{{"kind":["test"],"crate_types":["bin"],
            "name":"it","src_path":"/w/crates/{package}/{source}","edition":"2024","doc":false,"doctest":false,"test":true}},
            "profile":{{"opt_level":"0","debuginfo":0,"debug_assertions":false,"overflow_checks":true,"test":{test}}},
            "features":[],"filenames":[],"executable":{executable},"fresh":true}}"#
        );
        message.replace('\n', " ")
    }

    fn program(package: &str, source: &str) -> Program {
        program_in(&artifact(package, source, r#""/w/target/it-1""#, true)).unwrap().unwrap()
    }

    #[test]
    fn test_programs_are_found_in_messages_of_cargo() {
        let found = program("bus", "tests/it/main.rs");
        assert_eq!(found.folder, Path::new("/w/crates/bus"));
        assert_eq!(found.source, Path::new("tests/it/main.rs"));
        assert_eq!(found.executable, Path::new("/w/target/it-1"));
        assert!(found.is_integration_test() && !found.runs_alone());
        let unit = program("e2e", "src/lib.rs");
        assert!(unit.runs_alone() && !unit.is_integration_test());
    }

    #[test]
    fn other_messages_are_not_test_programs() {
        let others = [
            artifact("bus", "src/lib.rs", "null", false),
            artifact("bus", "src/lib.rs", "null", true),
            artifact("pitboss", "src/main.rs", r#""/w/target/pitboss""#, false),
            r#"{"reason":"build-script-executed","package_id":"x","linked_libs":[],"out_dir":"/w"}"#
                .to_owned(),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            "not JSON".to_owned(),
        ];
        for message in others {
            assert_eq!(program_in(&message).unwrap(), None, "{message}");
        }
    }

    #[test]
    fn unreadable_message_about_a_program_is_an_error() {
        let whole = artifact("bus", "src/lib.rs", r#""/w/target/bus-1""#, true);
        for (field, other) in [("manifest_path", "manifest"), ("src_path", "path"), ("profile", "built_for")]
        {
            let message = whole.replace(&format!("\"{field}\""), &format!("\"{other}\""));
            assert!(program_in(&message).is_err(), "{field}");
        }
        assert!(program_in(whole.trim_end_matches('}')).is_err(), "cut off");
    }

    #[test]
    fn list_without_tests_of_a_member_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let create = |file: &str| {
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        };
        std::fs::create_dir_all(folder.path().join("services/only-data")).unwrap();
        std::fs::create_dir_all(folder.path().join("crates")).unwrap();
        assert!(check_complete(&[], folder.path()).is_err(), "no members");
        let expected = ["crates/bus/src/lib.rs", "crates/bus/tests/it/main.rs", "services/game/src/lib.rs"];
        expected.iter().for_each(|file| create(file));
        let game = Program { folder: "/w/services/game".into(), ..program("game", "src/lib.rs") };
        let all = [program("bus", "src/lib.rs"), program("bus", "tests/it/main.rs"), game];
        check_complete(&all, folder.path()).unwrap();
        for (missing, expected) in expected.iter().enumerate() {
            let mut rest = all.to_vec();
            rest.remove(missing);
            let refused = check_complete(&rest, folder.path()).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn program_runs_in_folder_of_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let layout = runtime::Layout::new(folder.path(), None, None);
        let environment = Environment::new(&layout, vec![("PITBOSS_TEST_X", "1".into())]);
        let job = program("bus", "tests/it/main.rs").job(&environment);
        assert_eq!(job.name, "bus tests/it/main.rs");
        let command = job.command.as_std();
        assert_eq!(command.get_current_dir(), Some(Path::new("/w/crates/bus")));
        let value = command.get_envs().find(|(name, _)| *name == "PITBOSS_TEST_X").unwrap().1;
        assert_eq!(value, Some("1".as_ref()));
    }
}

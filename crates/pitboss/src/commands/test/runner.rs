//! Runs the processes of a test run: several at a time, each with its output as one piece, or one alone with its output as it comes.
//!
//! A process leads its own group, which ends with it. When this process is killed, the next test run ends the group.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _};
use runtime::fetch::Group;
use runtime::os_process::describe_exit;
use runtime::{Layout, logfile};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::io::{BufReader, Split};
use tokio::process::{Child, Command};

use super::progress::{LINES_SHOWN, Progress, Running};
use super::summary::Summary;
use crate::cargo;
use crate::checkout::{PORT_BASE_VARIABLE, STATE_VARIABLE};
use crate::steps::print_line;

/// Time for which the output of a process is read after it has ended.
const LAST_OUTPUT_DEADLINE: Duration = Duration::from_secs(5);
/// Maximum size of each output file. A test that writes more has a defect and is killed.
const OUTPUT_BYTES_MAX: u64 = 256 << 20;
/// Interval at which the size of the output is read.
const OUTPUT_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Failure of a process that ended with success without having run a test.
const NO_RESULT: &str = "it ended without a test result";

/// Folders of a test run, and the variables that tests read.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    layout: Layout,
    variables: Vec<(&'static str, OsString)>,
}

impl Environment {
    /// Creates the environment of the test run whose state is in `layout`.
    pub(super) fn new(layout: &Layout, variables: Vec<(&'static str, OsString)>) -> Self {
        Self { layout: layout.clone(), variables }
    }

    /// Root of the workspace.
    pub(super) fn root(&self) -> &Path {
        self.layout.root()
    }

    /// Returns a command with this environment, for [`Self::spawn`].
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.root())
            .env("CARGO_TARGET_DIR", self.root().join("target"))
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .env_remove(STATE_VARIABLE)
            .env_remove(PORT_BASE_VARIABLE)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// Returns the command `cargo test` with this environment.
    pub(super) fn cargo_test(&self) -> Command {
        let mut command = self.command("cargo");
        command.args(cargo::config_option()).arg("test");
        command
    }

    /// Starts a command of this environment.
    pub(super) fn spawn(&self, name: &str, command: &mut Command) -> Result<Process> {
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let group = pid.map(|pid| Group::of(&self.layout, name, pid)).transpose()?;
        Ok(Process { child, _group: group })
    }
}

/// A process with everything that it has started. Dropping it kills all of that, also when the process itself has ended.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    _group: Option<Group>,
}

/// A command of a test run.
#[derive(Debug)]
pub(super) struct Job {
    /// Name for people.
    pub(super) name: String,
    /// The command, of [`Environment::command`].
    pub(super) command: Command,
}

/// A process that has ended, with its output in files.
#[derive(Debug)]
struct Ended {
    name: String,
    /// `None` if it was killed because it wrote too much.
    status: Option<ExitStatus>,
    took: Duration,
    output: PathBuf,
    errors: PathBuf,
}

/// Starts the processes of a test run and counts their results.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    environment: &'a Environment,
    /// Folder of the output files.
    folder: PathBuf,
    output_bytes_max: u64,
}

impl<'a> Runner<'a> {
    /// Creates a runner that keeps the output in `folder`.
    pub(super) fn new(environment: &'a Environment, folder: &Path) -> Self {
        Self { environment, folder: folder.to_owned(), output_bytes_max: OUTPUT_BYTES_MAX }
    }

    /// Runs all jobs, `at_once` at a time. Writes the output of each to `shown` when it has ended, and counts its results.
    ///
    /// The error output is shown only if the job failed. The files of both remain in the folder.
    pub(super) async fn run_side_by_side(
        &self,
        jobs: Vec<Job>,
        at_once: usize,
        shown: &mut (impl AsyncWrite + Unpin),
        progress: &mut Progress,
    ) -> Result<()> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot create {}", self.folder.display()))?;
        let Progress { summary, running } = progress;
        let running: &Running = running;
        let mut all_ended = stream::iter(jobs).map(|job| self.run(job, running)).buffer_unordered(at_once);
        while let Some(ended) = all_ended.next().await {
            let ended = ended?;
            self.show(&ended, shown, summary).await.context("cannot show the output of a test program")?;
            running.remove(&ended.name);
        }
        Ok(())
    }

    async fn run(&self, mut job: Job, running: &Running) -> Result<Ended> {
        let file_name = job.name.replace(['/', ' '], "-");
        let files = ["out", "err"].map(|kind| self.folder.join(format!("{file_name}.{kind}")));
        let [output, errors] = &files;
        let create =
            |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
        job.command.stdout(create(output)?).stderr(create(errors)?);
        print_line(&format!("… {}", job.name));
        let began = Instant::now();
        let mut process = self.environment.spawn(&job.name, &mut job.command)?;
        running.add(&job.name, &files);
        let status = tokio::select! {
            status = process.child.wait() => {
                Some(status.with_context(|| format!("cannot wait for {}", job.name))?)
            }
            () = wait_until_larger(&files, self.output_bytes_max) => None,
        };
        drop(process);
        let [output, errors] = files;
        Ok(Ended { name: job.name, status, took: began.elapsed(), output, errors })
    }

    async fn show(
        &self,
        ended: &Ended,
        shown: &mut (impl AsyncWrite + Unpin),
        summary: &mut Summary,
    ) -> std::io::Result<()> {
        let Ended { name, status, took, output, errors } = ended;
        shown.write_all(format!("\n     Ran {name} ({:.1} s)\n", took.as_secs_f64()).as_bytes()).await?;
        let Some(status) = status else {
            let limit_mib = self.output_bytes_max >> 20;
            summary.program_failed(name, &format!("killed, because it wrote more than {limit_mib} MiB"));
            return show_ends(&[output, errors], shown).await;
        };
        let results = summary.results();
        let output = tokio::fs::File::open(output).await?.take(self.output_bytes_max);
        copy_lines(&mut BufReader::new(output).split(b'\n'), shown, summary).await?;
        if let Some(how) = failure(*status, summary.results() > results) {
            summary.program_failed(name, &how);
            let mut errors = tokio::fs::File::open(errors).await?.take(self.output_bytes_max);
            tokio::io::copy(&mut errors, shown).await?;
        }
        shown.flush().await
    }

    /// Runs a job alone. Shows its output as it comes, and counts its results.
    pub(super) async fn run_alone(&self, mut job: Job, progress: &mut Progress) -> Result<()> {
        let mut process = self.environment.spawn(&job.name, job.command.stdout(Stdio::piped()))?;
        progress.running.add(&job.name, &[]);
        let summary = &mut progress.summary;
        let results = summary.results();
        let output = process.child.stdout.take().context("the output is not captured")?;
        let (mut lines, mut shown) = (BufReader::new(output).split(b'\n'), tokio::io::stdout());
        shown.write_all(format!("\n     Running {}\n", job.name).as_bytes()).await?;
        let status = tokio::select! {
            copied = copy_lines(&mut lines, &mut shown, summary) => {
                copied?;
                process.child.wait().await?
            }
            status = process.child.wait() => {
                // A process that a failed test has left running may hold the pipe open.
                let rest = copy_lines(&mut lines, &mut shown, summary);
                drop(tokio::time::timeout(LAST_OUTPUT_DEADLINE, rest).await);
                status?
            }
        };
        drop(process);
        if let Some(how) = failure(status, summary.results() > results) {
            summary.program_failed(&job.name, &how);
        }
        progress.running.remove(&job.name);
        Ok(())
    }
}

/// Describes how a process failed, or returns `None` if it ended in good order and ran tests.
fn failure(status: ExitStatus, has_result: bool) -> Option<String> {
    if !status.success() {
        return Some(describe_exit(status));
    }
    (!has_result).then(|| NO_RESULT.to_owned())
}

/// Waits until one of the files has more bytes.
async fn wait_until_larger(files: &[PathBuf], bytes_max: u64) {
    let mut ticks = tokio::time::interval(OUTPUT_CHECK_INTERVAL);
    let is_larger = |file: &PathBuf| std::fs::metadata(file).is_ok_and(|file| file.len() > bytes_max);
    while !files.iter().any(is_larger) {
        ticks.tick().await;
    }
}

/// Writes the last lines of each file.
async fn show_ends(files: &[&PathBuf], shown: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    for file in files {
        shown.write_all(format!("end of {}:\n", file.display()).as_bytes()).await?;
        for line in logfile::tail(file, LINES_SHOWN) {
            shown.write_all(format!("{line}\n").as_bytes()).await?;
        }
    }
    shown.flush().await
}

/// Writes and counts lines until the end of the output.
async fn copy_lines<R: AsyncBufRead + Unpin>(
    lines: &mut Split<R>,
    shown: &mut (impl AsyncWrite + Unpin),
    summary: &mut Summary,
) -> std::io::Result<()> {
    while let Some(line) = lines.next_segment().await? {
        summary.read_line(&String::from_utf8_lossy(&line));
        shown.write_all(&line).await?;
        shown.write_all(b"\n").await?;
    }
    shown.flush().await
}

#[cfg(test)]
mod tests;

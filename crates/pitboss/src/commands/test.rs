//! `pitboss test`: runs every test against a broker, a document store and a cache. It starts them on free ports in a separate
//! folder and stops them in any case.

mod summary;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use contracts::parts::Part;
use runtime::infra::{self, InfraPorts};
use runtime::os_process::ProcessId;
use runtime::pids::{self, Recorded};
use runtime::{Layout, launch, ports, python};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Split};
use tokio::process::{ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::cargo;
use crate::checkout::{Checkout, END_WITH_VARIABLE, PORT_BASE_VARIABLE, PROGRAMS_VARIABLE, STATE_VARIABLE};
use crate::commands::Context;
use crate::commands::up::prepare::{self, Consent, Purpose};
use crate::steps::{Steps, print_line};
use summary::Summary;

const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Time limit of all tests together. It also ends a test that hangs.
const TESTS_DEADLINE: Duration = Duration::from_secs(4_800);
/// Time for which cargo's output is read after cargo has ended.
const LAST_OUTPUT_DEADLINE: Duration = Duration::from_secs(5);
/// Prefix of the folders of test runs.
const FOLDER_PREFIX: &str = "test-";
/// Number of ports that a platform takes from its base on.
const PLATFORM_PORTS: u16 = 40;

/// Arguments of `test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Use the programs of the last build instead of building them
    #[arg(long)]
    no_build: bool,
    /// Install packages without asking
    #[arg(long)]
    yes: bool,
    /// Arguments of `cargo test`, such as `-p bus`, `one_bet`, or `one_bet -- --nocapture`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

impl TestArgs {
    /// Runs the tests. Exit code 0 only if all of them passed.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let checkout = context.checkout()?;
        checkout.layout.create()?;
        clean_up_old_runs(&checkout.layout).await?;
        let folder = checkout.layout.state().join(format!("{FOLDER_PREFIX}{}", std::process::id()));
        let layout = checkout.layout.with_state(folder.clone());
        let platform = checkout.layout.with_state(folder.join("platform"));
        layout.create()?;
        let mut steps = Steps::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let outcome = tokio::select! {
            outcome = prepare_and_test(self, &checkout, &layout, &platform, &mut steps) => outcome,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        };
        let step = steps.begin("stopping the servers");
        let ended = [launch::end(&platform).await, launch::end(&layout).await];
        steps.end(step, "");
        for ended in ended {
            ended.context("a server of the tests does not stop")?;
        }
        let logs = folder.join("logs");
        let summary = outcome.inspect_err(|_| print_line(&format!("  logs: {}", logs.display())))?;
        context.output.text(&summary.text());
        if summary.holds() {
            drop(std::fs::remove_dir_all(&folder));
            return Ok(ExitCode::SUCCESS);
        }
        print_line(&format!(
            "  logs of the servers and the platform (kept until the next run): {}",
            folder.display()
        ));
        Ok(ExitCode::FAILURE)
    }
}

async fn prepare_and_test(
    args: &TestArgs,
    checkout: &Checkout,
    layout: &Layout,
    platform: &Layout,
    steps: &mut Steps,
) -> Result<Summary> {
    prepare::disk_has_room(&checkout.layout)?;
    prepare::tools(checkout, steps, Consent::new(args.yes), Purpose::Test).await?;
    prepare::downloads(checkout, steps).await?;
    if !args.no_build {
        prepare::programs(&checkout.layout, steps).await?;
    }
    let programs = keep_programs(&checkout.layout, &layout.state().join("programs"))?;
    let python = python(&checkout.layout, steps).await;

    let own =
        i32::try_from(std::process::id()).ok().and_then(ProcessId::of).context("this process is unknown")?;
    let step = steps.begin("servers");
    let infra_ports = InfraPorts::free()?;
    let client = launch::start(layout, Some(&own)).await?;
    client.apply(infra::prepare(layout, infra_ports).await?, false).await?;
    client.wait_ready(&infra::names(), READY_DEADLINE, |_| {}).await?;
    steps.end(
        step,
        &format!("kafka {}, mongo {}, redis {}", infra_ports.kafka, infra_ports.mongo, infra_ports.redis),
    );

    let mut command = cargo_test(checkout.layout.root(), &args.args);
    command
        .env("PITBOSS_TEST_KAFKA", infra_ports.kafka_bootstrap())
        .env("PITBOSS_TEST_WIRE", infra_ports.wire_bootstrap())
        .env("PITBOSS_TEST_WIRE_UPSTREAM", infra_ports.wire_upstream())
        .env("PITBOSS_TEST_MONGO", infra_ports.mongo_uri())
        .env("PITBOSS_TEST_REDIS", infra_ports.redis_url())
        .env("PITBOSS_TEST_KAFKA_LIBS", infra::kafka::jars(layout))
        .env(PROGRAMS_VARIABLE, &programs)
        .env("PITBOSS_TOOLS", checkout.layout.tools())
        .env("PITBOSS_TEST_PLATFORM_STATE", platform.state())
        .env("PITBOSS_TEST_PLATFORM_PORT_BASE", free_base()?.to_string())
        .env("PITBOSS_TEST_PYTHON", python)
        .env(END_WITH_VARIABLE, own.to_string())
        .env_remove(STATE_VARIABLE)
        .env_remove(PORT_BASE_VARIABLE);
    run_tests(command).await
}

/// Keeps the programs under `folder` as hard links, because `cargo test` builds programs without the optimiser and replaces those
/// that were built to run.
fn keep_programs(layout: &Layout, folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    for name in Part::SERVICES.iter().map(|part| part.as_str()).chain(["pitboss"]) {
        let (built, kept) = (layout.programs().join(name), folder.join(name));
        std::fs::hard_link(&built, &kept)
            .or_else(|_| std::fs::copy(&built, &kept).map(drop))
            .with_context(|| format!("cannot keep {}: run again without --no-build", built.display()))?;
    }
    Ok(folder.to_owned())
}

/// Prepares Sentry's own libraries. If they cannot be fetched, the tests still get the path of the interpreter. The tests that
/// need it then fail instead of being skipped silently, and all others run.
async fn python(layout: &Layout, steps: &mut Steps) -> PathBuf {
    let step = steps.begin("Python for tests");
    match python::prepare(layout, &|line| step.progress(line)).await {
        Ok(()) => steps.end(step, ""),
        Err(error) => {
            drop(step);
            print_line(&format!("  {error}\n  the tests that need it will fail"));
        }
    }
    python::interpreter(layout)
}

fn cargo_test(root: &Path, args: &[OsString]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root).env("CARGO_TARGET_DIR", root.join("target"));
    command.args(cargo::config_option()).arg("test");
    let own = args.iter().take_while(|a| *a != "--");
    let chooses = |a: &OsString| {
        let text = a.to_string_lossy();
        text.starts_with("-p") || text.starts_with("--package") || text.starts_with("--workspace")
    };
    if !own.clone().any(chooses) {
        command.arg("--workspace");
    }
    if !own.clone().any(|a| a == "--no-fail-fast") {
        command.arg("--no-fail-fast");
    }
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs the tests, shows their output as it comes, and counts the results.
async fn run_tests(mut command: Command) -> Result<Summary> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut lines =
        BufReader::new(child.stdout.take().context("the output of cargo is not captured")?).split(b'\n');
    let mut summary = Summary::default();
    let run = async {
        let succeeded = tokio::select! {
            shown = show_output(&mut lines, &mut summary) => {
                shown?;
                child.wait().await?.success()
            }
            status = child.wait() => {
                // A process that a failed test has left running may hold the pipe open.
                drop(tokio::time::timeout(LAST_OUTPUT_DEADLINE, show_output(&mut lines, &mut summary)).await);
                status?.success()
            }
        };
        Ok::<_, std::io::Error>(succeeded)
    };
    match tokio::time::timeout(TESTS_DEADLINE, run).await {
        Ok(succeeded) => summary.succeeded = succeeded?,
        Err(_) => bail!("the tests did not finish within {} s", TESTS_DEADLINE.as_secs()),
    }
    Ok(summary)
}

/// Shows and counts lines until the end of the output.
async fn show_output(
    lines: &mut Split<BufReader<ChildStdout>>,
    summary: &mut Summary,
) -> std::io::Result<()> {
    let mut stdout = tokio::io::stdout();
    while let Some(line) = lines.next_segment().await? {
        summary.read_line(&String::from_utf8_lossy(&line));
        stdout.write_all(&line).await?;
        stdout.write_all(b"\n").await?;
    }
    stdout.flush().await
}

/// Ends and removes what earlier test runs left. A failed run keeps its folder, and a killed one may have left processes.
async fn clean_up_old_runs(layout: &Layout) -> Result<()> {
    for entry in std::fs::read_dir(layout.state())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(FOLDER_PREFIX).and_then(|pid| pid.parse::<i32>().ok()) else {
            continue;
        };
        let old = layout.with_state(entry.path());
        let used = pids::recorded(&old).iter().any(|r: &Recorded| r.process.is_alive());
        if used && ProcessId::of(pid).is_some() {
            continue; // another run is in progress
        }
        launch::end(&old.with_state(entry.path().join("platform"))).await?;
        launch::end(&old).await?;
        drop(std::fs::remove_dir_all(entry.path()));
    }
    Ok(())
}

/// A base port that is followed by as many free ports as a platform takes.
fn free_base() -> Result<u16> {
    let first = 20_000 + u16::try_from(std::process::id() % 100)? * 100;
    let mut candidates = (first..32_000).chain(20_000..first).step_by(100);
    let is_free =
        |base: &u16| ports::in_use((*base..*base + PLATFORM_PORTS).map(|port| ("", port))).is_empty();
    candidates
        .find(is_free)
        .with_context(|| format!("no {PLATFORM_PORTS} free ports in a row between 20000 and 32000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_programs_survive_a_rebuild() {
        let folder = tempfile::tempdir().unwrap();
        let built = folder.path().join("built");
        std::fs::create_dir(&built).unwrap();
        let layout = Layout::new(folder.path(), None, None).with_programs(built.clone());
        let names: Vec<&str> = Part::SERVICES.iter().map(|part| part.as_str()).chain(["pitboss"]).collect();
        for name in &names {
            std::fs::write(built.join(name), "built to run").unwrap();
        }
        let kept = keep_programs(&layout, &folder.path().join("kept")).unwrap();
        for name in &names {
            // As cargo does it: another file under the same name.
            std::fs::remove_file(built.join(name)).unwrap();
            std::fs::write(built.join(name), "built for tests").unwrap();
            assert_eq!(std::fs::read_to_string(kept.join(name)).unwrap(), "built to run", "{name}");
        }
    }
}

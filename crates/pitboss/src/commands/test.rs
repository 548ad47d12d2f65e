//! `pitboss test`: runs every test against a broker, a document store and a cache. It starts them on free ports in a separate
//! folder and stops them in any case.
//!
//! Without arguments for `cargo test`, several test programs run at the same time, because most tests wait for a server. With
//! such arguments, cargo runs the programs itself, one after another.

mod old_runs;
mod programs;
mod progress;
mod runner;
mod summary;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use contracts::parts::Part;
use runtime::infra::{self, InfraPorts};
use runtime::os_process::ProcessId;
use runtime::{Layout, launch, ports, python, tools};
use tokio::signal::unix::{SignalKind, signal};

use crate::checkout::{Checkout, END_WITH_VARIABLE, PROGRAMS_VARIABLE};
use crate::commands::Context;
use crate::commands::up::prepare::{self, Consent, Purpose};
use crate::steps::{Steps, print_line};
use programs::Program;
use progress::Progress;
use runner::{Environment, Job, Runner};

const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Time limit of all tests together. It also ends a test that hangs.
const TESTS_DEADLINE: Duration = Duration::from_secs(4_800);
/// Memory that one compiler needs at most. A build runs one for each core.
const MEMORY_BYTES_PER_COMPILER: u64 = 2 << 30;
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
    /// Number of test programs that run at the same time, if there are no arguments of `cargo test`
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    at_once: u8,
    /// Arguments of `cargo test`, such as `-p bus`, `one_bet`, or `one_bet -- --nocapture`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

impl TestArgs {
    /// Runs the tests. Exit code 0 only if all of them passed.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let checkout = context.checkout()?;
        checkout.layout.create()?;
        old_runs::clean_up(&checkout.layout).await?;
        let own = i32::try_from(std::process::id()).ok().and_then(ProcessId::of);
        let run = Run::new(&checkout, own.context("this process is unknown")?)?;
        let (mut steps, mut progress) = (Steps::default(), Progress::default());
        let mut terminate = signal(SignalKind::terminate())?;
        let outcome = tokio::select! {
            outcome = run.prepare_and_test(self, &mut steps, &mut progress) => outcome,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        };
        let step = steps.begin("stopping the servers");
        let ended = [launch::end(&run.platform).await, launch::end(&run.layout).await];
        steps.end(step, "");
        progress.summary.succeeded = outcome.is_ok();
        let has_passed = progress.summary.holds();
        let folder = run.layout.state();
        if !has_passed {
            let unfinished = progress.running.text();
            let kept =
                "output of the tests, and logs of the servers and the platform (kept until the next run)";
            print_line(&format!("{unfinished}  {kept}: {}", folder.display()));
        }
        // Without any result, the error says it all.
        if outcome.is_ok() || progress.summary.results() > 0 {
            context.output.text(&progress.summary.text());
        }
        outcome?;
        for ended in ended {
            ended.context("a server of the tests does not stop")?;
        }
        if has_passed {
            drop(std::fs::remove_dir_all(folder));
        }
        Ok(if has_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A test run: its checkout, its process, and the folders of its servers and of the platform that tests start.
struct Run<'a> {
    checkout: &'a Checkout,
    own: ProcessId,
    layout: Layout,
    platform: Layout,
}

impl<'a> Run<'a> {
    fn new(checkout: &'a Checkout, own: ProcessId) -> Result<Self> {
        let layout = old_runs::create(&checkout.layout, &own)?;
        let platform = old_runs::platform(&layout);
        Ok(Self { checkout, own, layout, platform })
    }

    async fn prepare_and_test(
        &self,
        args: &TestArgs,
        steps: &mut Steps,
        progress: &mut Progress,
    ) -> Result<()> {
        let (checkout, layout) = (self.checkout, &self.layout);
        prepare::disk_has_room(&checkout.layout)?;
        prepare::tools(checkout, steps, Consent::new(args.yes), Purpose::Test).await?;
        let mut beside = Steps::default();
        let python = async { anyhow::Ok(python(&checkout.layout, &mut beside).await) };
        let (built, python) = tokio::try_join!(obtain_programs(args, checkout, layout, steps), python)?;
        let Built { programs, tests } = built;
        let ports = self.start_servers(steps).await?;
        let environment = Environment::new(
            layout,
            vec![
                ("PITBOSS_TEST_KAFKA", ports.kafka_bootstrap().into()),
                ("PITBOSS_TEST_WIRE", ports.wire_bootstrap().into()),
                ("PITBOSS_TEST_WIRE_UPSTREAM", ports.wire_upstream().into()),
                ("PITBOSS_TEST_MONGO", ports.mongo_uri().into()),
                ("PITBOSS_TEST_REDIS", ports.redis_url().into()),
                ("PITBOSS_TEST_KAFKA_LIBS", infra::kafka::jars(layout).into()),
                (PROGRAMS_VARIABLE, programs.into()),
                ("PITBOSS_TOOLS", checkout.layout.tools().into()),
                ("PITBOSS_TEST_PLATFORM_STATE", self.platform.state().into()),
                ("PITBOSS_TEST_PLATFORM_PORT_BASE", ports::free_row(PLATFORM_PORTS)?.to_string().into()),
                ("PITBOSS_TEST_PYTHON", python.into()),
                (END_WITH_VARIABLE, self.own.to_string().into()),
            ],
        );
        let runner = Runner::new(&environment, &layout.state().join("output"));
        let run = run_tests(args, tests, &environment, &runner, progress);
        tokio::time::timeout(TESTS_DEADLINE, run)
            .await
            .with_context(|| format!("the tests did not finish within {} s", TESTS_DEADLINE.as_secs()))?
    }

    async fn start_servers(&self, steps: &mut Steps) -> Result<InfraPorts> {
        let step = steps.begin("servers");
        let ports = InfraPorts::free()?;
        let client = launch::start(&self.layout, Some(&self.own)).await?;
        client.apply(infra::prepare(&self.layout, ports).await?, false).await?;
        client.wait_ready(&infra::names(), READY_DEADLINE, |_| {}).await?;
        steps.end(step, &format!("kafka {}, mongo {}, redis {}", ports.kafka, ports.mongo, ports.redis));
        Ok(ports)
    }
}

/// Programs that cargo built for a test run.
struct Built {
    /// Folder of Pitboss' programs.
    programs: PathBuf,
    /// The test programs, unless cargo builds and runs them with the user's arguments.
    tests: Option<Vec<Program>>,
}

/// Fetches the servers, and builds our programs and the tests. Both at the same time if there is enough memory, because one build
/// alone often leaves a core idle.
async fn obtain_programs(
    args: &TestArgs,
    checkout: &Checkout,
    layout: &Layout,
    steps: &mut Steps,
) -> Result<Built> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if tools::available_memory_bytes() < memory_bytes_for_both_builds(cores) {
        prepare::downloads(checkout, steps).await?;
        return build(args, checkout, layout).await;
    }
    let ((), built) = tokio::try_join!(prepare::downloads(checkout, steps), build(args, checkout, layout))?;
    Ok(built)
}

/// Available memory with which two builds run at the same time.
fn memory_bytes_for_both_builds(cores: usize) -> u64 {
    u64::try_from(cores).unwrap_or(u64::MAX).saturating_mul(2 * MEMORY_BYTES_PER_COMPILER)
}

async fn build(args: &TestArgs, checkout: &Checkout, layout: &Layout) -> Result<Built> {
    let mut steps = Steps::default();
    if !args.no_build {
        prepare::programs(&checkout.layout, &mut steps).await?;
    }
    let built = prepare::symbols(&checkout.layout, &mut steps).await;
    let programs = keep_programs(&built, &layout.state().join("programs"))?;
    if !args.args.is_empty() {
        return Ok(Built { programs, tests: None });
    }
    let step = steps.begin("test programs");
    let environment = Environment::new(layout, vec![]);
    let tests = tokio::time::timeout(TESTS_DEADLINE, programs::build(&environment))
        .await
        .with_context(|| format!("the tests were not built within {} s", TESTS_DEADLINE.as_secs()))??;
    steps.end(step, &format!("{} programs", tests.len()));
    Ok(Built { programs, tests: Some(tests) })
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

/// Runs the tests, shows their output, and counts the results. Every test of the workspace, unless cargo runs those that the user
/// chose: most programs and the doc-tests several at a time, and then alone those that need the whole machine.
async fn run_tests(
    args: &TestArgs,
    tests: Option<Vec<Program>>,
    environment: &Environment,
    runner: &Runner<'_>,
    progress: &mut Progress,
) -> Result<()> {
    let Some(tests) = tests else {
        return runner.run_alone(cargo_job(environment, &args.args), progress).await;
    };
    let (alone, mut beside): (Vec<Program>, Vec<Program>) = tests.into_iter().partition(Program::runs_alone);
    // The longest first, so that at the end no long one runs beside nothing.
    beside.sort_by_key(|program| !program.is_integration_test());
    let mut jobs = vec![doc_tests(environment)];
    jobs.extend(beside.iter().map(|program| program.job(environment)));
    let at_once = usize::from(args.at_once);
    runner.run_side_by_side(jobs, at_once, &mut tokio::io::stdout(), progress).await?;
    for program in &alone {
        runner.run_alone(program.job(environment), progress).await?;
    }
    Ok(())
}

/// The doc-tests of every library, which only cargo can run.
fn doc_tests(environment: &Environment) -> Job {
    let mut command = environment.cargo_test();
    command.args(["--workspace", "--no-fail-fast", "--doc"]);
    Job { name: "doc-tests".to_owned(), command }
}

/// `cargo test` with the user's arguments.
fn cargo_job(environment: &Environment, args: &[OsString]) -> Job {
    let mut command = environment.cargo_test();
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
    command.args(args);
    Job { name: "cargo test".to_owned(), command }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_builds_need_memory_for_all_compilers() {
        assert_eq!(memory_bytes_for_both_builds(2), 8 << 30);
        assert_eq!(memory_bytes_for_both_builds(16), 64 << 30);
    }

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

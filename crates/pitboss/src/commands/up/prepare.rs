//! Preconditions of a start: free ports, free disk space, tools, downloads, programs.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use contracts::Part;
use contracts::parts::Ports;
use runtime::control::Client;
use runtime::fetch::Job;
use runtime::tools::{self, Finding, Tool, Verdict, install};
use runtime::{Layout, RuntimeError, fetch, infra, ports, python};
use tokio::process::Command;

use crate::cargo;
use crate::checkout::Checkout;
use crate::steps::{Steps, print_line};

/// After 50 000 bets Kafka takes 400 MiB, the document store 500, the services 300 together. The rest is for the file cache.
pub const MEMORY_BYTES_NEEDED: u64 = 2_000 << 20;
/// Size of `target/` and `.pitboss/tools/` after a complete build.
const DISK_BYTES_TO_BUILD: u64 = 8 << 30;
/// Name of the program of the command line.
const COMMAND_LINE: &str = "pitboss";
/// Long enough for a slow machine. A program takes a second or two after it was built, and a few milliseconds otherwise.
const SYMBOLS_DEADLINE: Duration = Duration::from_secs(300);
/// Data and logs of an evening's play.
const DISK_BYTES_TO_RUN: u64 = 1 << 30;

/// Purpose for which tools are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Start programs that were built before.
    Run,
    /// Also build our programs.
    Build,
    /// Also run the tests.
    Test,
}

/// Consent to the installation of packages: by `--yes`, by CI, or by the user's answer.
#[derive(Clone, Copy, Debug)]
pub struct Consent {
    given: bool,
}

impl Consent {
    /// Given by `--yes` or by `CI=true`. Otherwise the user has to be asked.
    #[must_use]
    pub fn new(yes: bool) -> Self {
        Self { given: yes || std::env::var("CI").is_ok_and(|v| v == "true") }
    }

    /// Asks on a terminal. Without a terminal the answer is no.
    fn for_packages(self, packages: &str) -> bool {
        if self.given {
            return true;
        }
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return false;
        }
        let mut answer = String::new();
        let prompt = write!(std::io::stderr(), "Install {packages} with apt-get? [Y/n] ");
        let read = prompt.and_then(|()| std::io::stdin().read_line(&mut answer));
        read.is_ok_and(|length| length > 0) && matches!(answer.trim(), "" | "y" | "Y" | "yes")
    }
}

/// Every port of the platform, with the part that needs it. Spotlight, which is optional, is not among them.
#[must_use]
pub fn all_ports(ports: Ports) -> Vec<(String, u16)> {
    let main = Part::ALL.iter().map(|p| (p.as_str().to_owned(), ports.http(*p)));
    let ops = Part::SERVICES.iter().filter_map(|p| Some((p.as_str().to_owned(), ports.ops(*p)?)));
    let more = [
        (Part::Recorder, ports.recorder_query()),
        (Part::Partners, ports.smtp()),
        (Part::Partners, ports.card()),
        (Part::Wire, ports.wire()),
        (Part::Kafka, ports.kafka_controller()),
        (Part::Kafka, ports.kafka_wire()),
    ];
    main.chain(ops).chain(more.map(|(part, port)| (part.as_str().to_owned(), port))).collect()
}

/// Checks that no other process listens on a needed port.
///
/// # Errors
/// All ports in use, with their owners.
pub async fn ports_are_free(checkout: &Checkout, parts: &[Part], spotlight: bool) -> Result<()> {
    let status = Client::new(&checkout.layout).status().await.ok();
    let runs = |name: &str| status.as_ref().and_then(|s| s.part(name)).is_some_and(|p| p.pid.is_some());
    let ports = checkout.ports()?;
    let mut wanted = all_ports(ports);
    wanted.retain(|(name, _)| parts.iter().any(|part| part.as_str() == name));
    wanted.extend(spotlight.then(|| (infra::spotlight::NAME.to_owned(), ports.spotlight())));
    let meant = wanted.iter().filter(|(name, _)| !runs(name));
    let taken = ports::in_use(meant.map(|(name, port)| (name.as_str(), *port)));
    if taken.is_empty() { Ok(()) } else { Err(RuntimeError::PortsInUse(taken).into()) }
}

/// Free disk space that is needed. It is less once everything has been built.
#[must_use]
pub fn disk_bytes_needed(layout: &Layout) -> u64 {
    let built = Part::SERVICES.iter().all(|p| layout.programs().join(p.as_str()).exists());
    if built { DISK_BYTES_TO_RUN } else { DISK_BYTES_TO_BUILD }
}

/// Checks that the disk will not be full in the middle.
pub fn disk_has_room(layout: &Layout) -> Result<(), RuntimeError> {
    let (folder, free) = fullest_disk(layout)?;
    check_disk(&folder, free, disk_bytes_needed(layout))
}

/// Returns the one of the platform's folders with the least free disk space, and the space in bytes. Each may be on another disk.
pub fn fullest_disk(layout: &Layout) -> Result<(PathBuf, u64), RuntimeError> {
    let (mut least, mut free) = (layout.root(), tools::free_disk_bytes(layout.root())?);
    for folder in [layout.state(), layout.tools()] {
        let beside = tools::free_disk_bytes(folder)?;
        if beside < free {
            (least, free) = (folder, beside);
        }
    }
    Ok((least.to_owned(), free))
}

fn check_disk(folder: &Path, free: u64, needed: u64) -> Result<(), RuntimeError> {
    if free >= needed {
        return Ok(());
    }
    let (folder, free, needed) = (folder.display(), free >> 20, needed >> 20);
    Err(RuntimeError::Missing {
        what: format!("the disk of {folder} has {free} MiB free, but {needed} MiB are needed"),
        advice: "free some disk space and try again".to_owned(),
    })
}

/// Checks the tools, and installs missing ones where this is allowed.
///
/// # Errors
/// When something is still missing (exit code 69). The error names the packages to install.
pub async fn tools(checkout: &Checkout, steps: &mut Steps, consent: Consent, purpose: Purpose) -> Result<()> {
    let layout = &checkout.layout;
    let step = steps.begin("tools");
    let needed = || examine(layout, purpose);
    let mut findings = needed();
    let installer = install::installer();
    let packages = install::packages(&findings);
    if !packages.is_empty() && installer == install::Installer::Apt {
        let names = packages.iter().copied().collect::<Vec<_>>().join(" ");
        if consent.for_packages(&names) {
            step.progress(&format!("installing {names}"));
            install::install(layout, &packages).await?;
            findings = needed();
        }
    }
    if let Some(complaint) = install::complaint(&findings, installer) {
        return Err(complaint.into());
    }
    steps.end(step, &versions(&findings));
    Ok(())
}

fn examine(layout: &Layout, purpose: Purpose) -> Vec<Finding> {
    let only_for_building: [Tool; 3] = [tools::CARGO, tools::CC, tools::MAKE];
    let mut findings = infra::examine_tools(layout);
    // The build of the document store needs cargo as well.
    let builds = purpose != Purpose::Run || findings.iter().any(|f| f.tool == tools::CMAKE);
    findings.retain(|f| builds || !only_for_building.contains(&f.tool));
    if purpose == Purpose::Test && !python::is_prepared(layout) {
        findings.push(tools::examine_python());
    }
    findings
}

fn versions(findings: &[Finding]) -> String {
    let good = findings.iter().filter(|f| f.verdict == Verdict::Good);
    let versions: Vec<String> =
        good.filter_map(|f| f.version.as_ref().map(|version| format!("{} {version}", f.tool.name))).collect();
    versions.join(", ")
}

/// Fetches Apache Kafka and builds the document store, unless they exist.
pub async fn downloads(checkout: &Checkout, steps: &mut Steps) -> Result<()> {
    let layout = &checkout.layout;
    // Two fetchers in one folder would corrupt it.
    fetch::kill_leftovers(layout).await?;
    if !infra::kafka::is_fetched(layout) {
        let step = steps.begin("Apache Kafka");
        infra::kafka::fetch(layout, &|line| step.progress(line.trim_start_matches("[INFO] "))).await?;
        steps.end(step, &contracts::versions::versions().kafka.version);
    }
    if infra::mongo::find(layout).is_none() {
        let step = steps.begin("document store");
        step.progress("takes a few minutes, once");
        infra::mongo::build(layout, &|line| step.progress(&cargo::progress(line))).await?;
        steps.end(step, &contracts::versions::versions().mongo.secantus_mdb);
    }
    Ok(())
}

/// Fetches Spotlight, unless it exists.
pub async fn spotlight(layout: &Layout, steps: &mut Steps) -> Result<()> {
    if !infra::spotlight::is_fetched(layout) {
        let step = steps.begin("Spotlight");
        infra::spotlight::fetch(layout, &|line| step.progress(line)).await?;
        steps.end(step, &contracts::versions::versions().spotlight.version);
    }
    Ok(())
}

/// Builds our programs.
pub async fn programs(layout: &Layout, steps: &mut Steps) -> Result<()> {
    let step = steps.begin("programs");
    cargo::build_programs(layout, &|line| step.progress(line)).await?;
    steps.end(step, "");
    Ok(())
}

/// Makes the tables with file and line of our programs, and the copies of them without debug information. Returns the layout with
/// these copies as its programs.
///
/// Programs in a folder that the user named run as they are. So do those that cargo built, if this fails: without tables, stacks
/// still have the names of functions.
pub async fn symbols(layout: &Layout, steps: &mut Steps) -> Layout {
    let Some(command) = symbols_command(layout) else { return layout.clone() };
    let step = steps.begin("symbols");
    let log = layout.log("symbols");
    let job = Job { what: "reading the line tables of the programs", log: &log, deadline: SYMBOLS_DEADLINE };
    let made = fetch::run(layout, command, &job, &|line| step.progress(line)).await;
    match made {
        Ok(()) => {
            steps.end(step, "");
            layout.with_programs(layout.stripped_programs())
        }
        Err(error) => {
            drop(step);
            print_line(&format!("  {error}\n  stacks of errors will have no lines"));
            layout.clone()
        }
    }
}

/// The command of the recorder that makes tables and copies. `None` if cargo has not built the programs that run.
fn symbols_command(layout: &Layout) -> Option<Command> {
    let maker = layout.programs().join(Part::Recorder.as_str());
    if !layout.runs_what_cargo_built() || !maker.is_file() {
        return None;
    }
    let names = Part::SERVICES.iter().map(|part| part.as_str()).chain([COMMAND_LINE]);
    let programs = names.map(|name| layout.programs().join(name)).filter(|program| program.is_file());
    let mut command = fetch::bound(&maker);
    // A recorder of an earlier build does not know the command and would start as a service. With this setting it refuses to.
    command.env("PITBOSS__HTTP__ADDRESS", "none");
    command.arg("symbols").args([layout.symbols(), layout.stripped_programs(), layout.root().to_owned()]);
    command.args(programs);
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorder_makes_the_tables_of_what_cargo_built() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        assert!(symbols_command(&layout).is_none(), "nothing is built");
        std::fs::create_dir_all(layout.programs()).unwrap();
        let built = ["recorder", "game", "pitboss"].map(|name| layout.programs().join(name));
        built.iter().for_each(|program| std::fs::write(program, "").unwrap());
        let command = symbols_command(&layout).unwrap();
        let arguments: Vec<PathBuf> = command.as_std().get_args().map(PathBuf::from).collect();
        let begin = arguments.iter().position(|argument| *argument == built[0]).unwrap();
        let folders = [layout.symbols(), layout.stripped_programs(), layout.root().to_owned()];
        let expected = [vec![built[0].clone(), "symbols".into()], folders.into(), built.to_vec()].concat();
        assert_eq!(arguments[begin..], expected);
        let elsewhere = layout.with_programs(layout.stripped_programs());
        std::fs::create_dir_all(elsewhere.programs()).unwrap();
        std::fs::write(elsewhere.programs().join("recorder"), "").unwrap();
        assert!(symbols_command(&elsewhere).is_none(), "those run as they are");
    }

    #[test]
    fn full_disk_is_an_error_with_advice() {
        let folder = Path::new("/srv/pitboss");
        let error = check_disk(folder, (1 << 30) - 1, 1 << 30).unwrap_err();
        assert_eq!(error.exit_code(), 69);
        let expected = "the disk of /srv/pitboss has 1023 MiB free, but 1024 MiB are needed\n  free some disk space and try again";
        assert_eq!(error.to_string(), expected);
        assert!(check_disk(folder, 1 << 30, 1 << 30).is_ok());
    }
}

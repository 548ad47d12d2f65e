//! `pitboss verify`: proves for each fault that it becomes visible in the recorder, that it ends, and that the money is right.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use faults::{Acts, FaultId, UnknownFault};
use indicatif::ProgressBar;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde::Serialize;

use crate::commands::Context;
use crate::flag_file::FlagFile;
use crate::interrupts::Interrupts;
use crate::output::Output;
use crate::player::Gateway;
use crate::second_witness::SecondWitness;
use crate::steps::print_line;
use crate::target::{Target, TargetArgs};
use crate::verify::debug::{self, DebugRow, group};
use crate::verify::report::{Outcome, Report, Skipped};
use crate::verify::run::Runner;
use crate::verify::run::flow::Flow;
use crate::verify::run::names::Coverage;
use crate::verify::sabotage::Sabotage;
use crate::verify::soak::{Finding, Soak, soak};
use crate::verify::{Means, Row, publish_report, reads, rows, sabotage, scorecard};

/// Page that `--report` writes unless it names another one.
const SCORECARD: &str = "docs/scorecard.md";
/// Reason why a row is left out.
const NOT_LOCAL: &str =
    "the supervisor of ./pitboss up applies this fault, and something else runs this platform";

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Rows to prove: faults (`fault list` shows them), variants such as clock.skew@behind, or debug endpoints such as
    /// debug.payment.crash, debug.payment.* and debug.*.crash [default: all]
    #[arg(value_name = "FAULT[@VARIANT]|debug.SERVICE.FAULT", value_parser = row_name)]
    names: Vec<String>,
    /// Seed of the order and of the amounts [default: random, named in the report]
    #[arg(long)]
    seed: Option<u64>,
    /// Leave out the rows that wait for a big win (notification.provider-*) or for minutes (consumer.dead@missed-check-in)
    #[arg(long)]
    quick: bool,
    /// Number of runs, each with the next seed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    runs: u64,
    /// Write the scorecard of all runs [default file: docs/scorecard.md]
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = SCORECARD)]
    report: Option<PathBuf>,
    /// Also ask Sentry's Spotlight for the traces of each row (./pitboss up --spotlight). A difference fails the row
    #[arg(long, conflicts_with = "sabotage")]
    second_witness: bool,
    /// Instead: on a platform whose faults have no effect, where no row may hold (PITBOSS__FAULTS__INEFFECTIVE=true ./pitboss up).
    /// With `reads`: on the usual platform, where no row may hold without one of the reads of its fault
    #[arg(long, value_enum, value_name = "WHAT", num_args = 0..=1, require_equals = true,
        default_missing_value = "faults", conflicts_with_all = ["runs", "report"])]
    sabotage: Option<Sabotage>,
    /// Instead: load without any fault for this time, which has to show nothing
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["names", "quick", "runs", "report", "sabotage", "second_witness"],
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    soak_s: Option<u64>,
}

/// State that all runs of a command share.
struct Stage<'a> {
    target: &'a Target,
    gateway: &'a Gateway,
    flags: &'a FlagFile,
    output: &'a Output,
    second_witness: Option<&'a SecondWitness>,
}

impl VerifyArgs {
    /// Proves the selected faults, one after the other. Exit code 0 only if all of them are PROVEN, and after all rows if the names
    /// that were sent are the declared ones. With `--sabotage`: if none is PROVEN. No fault stays armed.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        self.check()?;
        let (checkout, output) = (context.checkout()?, &context.output);
        let target = context.target(&TargetArgs::default()).await?;
        self.check_platform(&target).await?;
        let gateway = Gateway::new(&target.gateway_url, target.operator_token.clone())?;
        let flags = FlagFile::of(&checkout.layout);
        let second_witness = match self.second_witness {
            true => Some(SecondWitness::of(&target).await?),
            false => None,
        };
        let second_witness = second_witness.as_ref();
        let stage = Stage { target: &target, gateway: &gateway, flags: &flags, output, second_witness };
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let mut interrupts = Interrupts::listen()?;
        let holds = tokio::select! {
            holds = self.prove_or_soak(&stage, seed) => holds,
            () = interrupts.received() => Err(anyhow::anyhow!("interrupted")),
        };
        flags.disarm_all()?;
        Ok(exit_code(holds?))
    }

    /// Refuses a platform that was started for other rows.
    async fn check_platform(&self, target: &Target) -> Result<()> {
        let is_debug_named = !self.names.is_empty() && !self.selected_debug().is_empty();
        if is_debug_named && !debug::is_enabled(target).await? {
            bail!("{}", debug::IS_OFF);
        }
        // The debug endpoints do not read that setting: their rows are red because another fault is caused
        if self.sabotage.is_none() || !self.selected(0).is_empty() {
            sabotage::check(target, self.sabotage == Some(Sabotage::Faults)).await?;
        }
        Ok(())
    }

    /// Refuses what would only fail after the work.
    fn check(&self) -> Result<()> {
        if self.soak_s.is_none() && self.selected(0).is_empty() && self.selected_debug().is_empty() {
            bail!(
                "nothing is left to run: --quick leaves out slow rows, and --sabotage=reads leaves out faults with one read"
            );
        }
        let Some(path) = &self.report else { return Ok(()) };
        let shown = path.display();
        if row_name(&shown.to_string()).is_ok() {
            bail!("--report would write the file {shown}, which is the name of a row: put --report last");
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) {
            bail!("cannot write {shown}: there is no such folder");
        }
        Ok(())
    }

    async fn prove_or_soak(&self, stage: &Stage<'_>, seed: u64) -> Result<bool> {
        if let Some(soak_s) = self.soak_s {
            return soaked(stage, seed, Duration::from_secs(soak_s)).await;
        }
        if self.sabotage.is_some() {
            let (report, _) = self.prove(stage, seed).await?;
            show_sabotage(&report, stage.output)?;
            return Ok(sabotage::holds(&report));
        }
        let (mut runs, mut coverages) = (Vec::new(), Vec::new());
        for number in 0..self.runs {
            let (report, names) = self.prove(stage, seed.wrapping_add(number)).await?;
            show_report(&report, names.as_ref(), stage.output)?;
            runs.push(report);
            coverages.extend(names);
            // After each run, so that an interrupt of a later one does not cost the results.
            if let Some(path) = &self.report {
                let page = scorecard::page(&runs, &rows(), &coverages);
                std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
                print_line(&format!("wrote {}", path.display()));
            }
        }
        if self.report.is_some() {
            show_in_recorder(stage, &runs).await;
        }
        Ok(all_hold(&runs, &coverages))
    }

    /// Returns true if no row is left out, and every read of a fault has its effect.
    fn is_whole(&self) -> bool {
        self.names.is_empty() && !self.quick && self.sabotage.is_none()
    }

    /// Puts the selected rows through their phases, in the order of the seed. After all rows it also compares the names that were
    /// sent with the declared ones.
    async fn prove(&self, stage: &Stage<'_>, seed: u64) -> Result<(Report, Option<Coverage>)> {
        let began = Instant::now();
        let is_possible =
            |row: &Row| stage.target.layout().is_some() || row.fault.definition().acts == Acts::InService;
        let (rows, skipped): (Vec<Row>, Vec<Row>) = self.selected(seed).into_iter().partition(is_possible);
        let skipped: Vec<Skipped> =
            skipped.iter().map(|row| Skipped { id: row.name(), why: NOT_LOCAL }).collect();
        let reads_names = self.is_whole() && skipped.is_empty();
        let live = stage.output.spinner("verify");
        let mut runner = Runner::new(stage.target, stage.gateway, stage.flags, seed).await?;
        if let Some(second_witness) = stage.second_witness {
            runner.ask_too(second_witness);
        }
        let mut outcomes = Vec::new();
        for (row, number) in rows.iter().zip(1..) {
            let place = format!("{number}/{} {}", rows.len(), row.name());
            let outcome = runner.run(row, |phase| live.set_message(format!("{place}: {phase}"))).await;
            let outcome = outcome.unwrap_or_else(|error| Outcome::unfinished(row, &error));
            show(&outcome, &live);
            outcomes.push(outcome);
            if reads_names {
                runner.read_names().await;
            }
        }
        // Before the debug endpoints, which cause what no declared name is about
        let names = if reads_names { Some(runner.coverage().await) } else { None };
        let mut skipped = skipped;
        outcomes.extend(self.prove_debug(stage, &live, &mut skipped).await);
        live.finish_and_clear();
        let duration_s = began.elapsed().as_secs_f64();
        Ok((Report { seed, rows: outcomes, skipped, duration_s }, names))
    }

    /// Proves the selected debug endpoints, as one group. Where they are off, they are left out, and all of them are one entry. An error
    /// does not cost the results of the rows before.
    async fn prove_debug(
        &self,
        stage: &Stage<'_>,
        live: &ProgressBar,
        skipped: &mut Vec<Skipped>,
    ) -> Vec<Outcome> {
        let rows = self.selected_debug();
        if rows.is_empty() {
            return Vec::new();
        }
        let is_enabled = debug::is_enabled(stage.target).await;
        if matches!(is_enabled, Ok(false)) {
            let group = format!("{}.*", debug::PREFIX);
            if self.sabotage.is_some() {
                live.suspend(|| print_line(&format!("left out {group}: {}", debug::IS_OFF)));
            } else {
                skipped.push(Skipped { id: group, why: debug::IS_OFF });
            }
            return Vec::new();
        }
        let Stage { target, gateway, flags, .. } = *stage;
        let means = group::Stage { target, gateway, flags, is_sabotage: self.sabotage.is_some() };
        let phase = |phase: &str| live.set_message(format!("debug endpoints: {phase}"));
        let proven = match is_enabled {
            Ok(_) => group::run(means, &rows, phase).await,
            Err(error) => Err(error),
        };
        let outcomes = proven.unwrap_or_else(|error| {
            rows.iter().map(|row| Outcome::unfinished_debug_row(*row, &error)).collect()
        });
        for outcome in &outcomes {
            show(outcome, live);
        }
        outcomes
    }

    /// The selected rows of the debug endpoints. They have one read each, and none of them is slow.
    fn selected_debug(&self) -> Vec<DebugRow> {
        if self.soak_s.is_some() || self.sabotage == Some(Sabotage::Reads) {
            return Vec::new();
        }
        let is_named =
            |row: &DebugRow| self.names.is_empty() || self.names.iter().any(|name| row.is_selected_by(name));
        debug::rows().into_iter().filter(is_named).collect()
    }

    /// The selected rows, in the order of the seed. Rows with the same work follow one another, so that they share controls.
    fn selected(&self, seed: u64) -> Vec<Row> {
        let is_named = |row: &Row| self.names.is_empty() || self.names.contains(&row.name());
        let is_wanted = |row: &Row| is_named(row) && !(self.quick && row.is_slow);
        let wanted = rows().into_iter().filter(is_wanted);
        let mut shuffled: Vec<Row> = match self.sabotage {
            Some(Sabotage::Reads) => wanted.flat_map(|row| reads::rows_without_a_read(&row)).collect(),
            Some(Sabotage::Faults) | None => wanted.collect(),
        };
        shuffled.shuffle(&mut StdRng::seed_from_u64(seed));
        let mut selected: Vec<Row> = Vec::with_capacity(shuffled.len());
        while let Some(first) = shuffled.first() {
            let workload = first.workload;
            let (mut same, others): (Vec<Row>, Vec<Row>) =
                shuffled.into_iter().partition(|row| row.workload == workload);
            // A control is read as the row before needed it, so a row that reads more, or for longer, goes first.
            same.sort_by_key(|row| std::cmp::Reverse((row.evidence.reads_monitors(), row.quiet())));
            selected.append(&mut same);
            shuffled = others;
        }
        selected
    }
}

/// Returns true if every row of every run is proven, and the names that were sent are the declared ones.
fn all_hold(runs: &[Report], coverages: &[Coverage]) -> bool {
    runs.iter().all(Report::holds) && coverages.iter().all(Coverage::holds)
}

fn exit_code(holds: bool) -> ExitCode {
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Sends the scorecard to the recorder. A failure is only reported, because the file has the results of the runs.
async fn show_in_recorder(stage: &Stage<'_>, runs: &[Report]) {
    let line = match publish_report::publish(stage.target, runs).await {
        Ok(page) => format!("the recorder shows it: {page}"),
        Err(error) => format!("the recorder does not show it: {error:#}"),
    };
    print_line(&line);
}

async fn soaked(stage: &Stage<'_>, seed: u64, duration: Duration) -> Result<bool> {
    let live = stage.output.spinner("soak");
    // Disarms everything and waits until all parts are ready.
    drop(Runner::new(stage.target, stage.gateway, stage.flags, seed).await?);
    let means = Means { gateway: stage.gateway, target: stage.target };
    let progress = |soak: &Soak| {
        let Soak { duration_s, units, failed, findings, .. } = soak;
        let count = findings.len();
        live.set_message(format!("{duration_s:.0} s, {units} units, {failed} failed, {count} false alarms"));
    };
    let soak = soak(means, &rows(), seed, duration, progress).await?;
    live.finish_and_clear();
    if stage.output.json {
        stage.output.line(&serde_json::to_string(&soak)?);
    } else {
        let Soak { duration_s, units, failed, findings, .. } = &soak;
        let count = findings.len();
        let text = format!(
            "{duration_s:.0} s without a fault: {units} units, {failed} failed, {count} false alarms"
        );
        stage.output.line(&text);
        for Finding { slice, at, what, place, trace_id } in findings {
            let trace = trace_id.as_ref().map(|id| format!(", trace {id}")).unwrap_or_default();
            stage.output.line(&format!("{at}, slice {slice}: {what}: {place}{trace}"));
        }
        if soak.slices_without_telemetry > 0 {
            let count = soak.slices_without_telemetry;
            stage
                .output
                .line(&format!("in {count} slices the recorder received nothing, which proves nothing"));
        }
        if soak.rules_evaluated == 0 {
            stage.output.line("the recorder evaluated no alert rule, so its silence proves nothing");
        }
        stage.output.line(&format!("seed {seed}"));
    }
    Ok(soak.holds())
}

/// A run as JSON.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<&'a Coverage>,
}

fn show_report(report: &Report, names: Option<&Coverage>, output: &Output) -> Result<()> {
    if output.json {
        output.line(&serde_json::to_string(&Printed { report, names })?);
        return Ok(());
    }
    output.line(&report.table(output).to_string());
    for Outcome { id, flow, .. } in &report.rows {
        for violation in flow.iter().flat_map(Flow::proven) {
            output.line(&format!("flow of {id}: {violation}"));
        }
    }
    for Outcome { id, second_witness, .. } in &report.rows {
        if let Some(testimony) = second_witness {
            output.line(&format!("second witness of {id}: {}", testimony.text()));
        }
    }
    for line in names.into_iter().flat_map(Coverage::lines) {
        output.line(&line);
    }
    for Skipped { id, why } in &report.skipped {
        output.line(&format!("left out {id}: {why}"));
    }
    output.line(&format!("seed {}", report.seed));
    Ok(())
}

fn show_sabotage(report: &Report, output: &Output) -> Result<()> {
    if output.json {
        output.line(&serde_json::to_string(report)?);
        return Ok(());
    }
    output.line(&sabotage::table(report, output).to_string());
    output.line(&format!("seed {}", report.seed));
    Ok(())
}

/// Name of a row on the command line.
fn row_name(text: &str) -> Result<String, String> {
    if rows().iter().any(|row| row.name() == text) {
        return Ok(text.to_owned());
    }
    if text.split('.').next() == Some(debug::PREFIX) {
        let is_any = debug::rows().iter().any(|row| row.is_selected_by(text));
        let advice = "expected debug.SERVICE.FAULT, with * for any: ./pitboss debug list shows both";
        return if is_any { Ok(text.to_owned()) } else { Err(advice.to_owned()) };
    }
    let (fault, _) = text.split_once('@').unwrap_or((text, ""));
    let fault: FaultId = fault.parse().map_err(|error: UnknownFault| error.to_string())?;
    let of_fault: Vec<String> = rows().iter().filter(|row| row.fault == fault).map(Row::name).collect();
    Err(format!("the rows of this fault are {}", of_fault.join(", ")))
}

/// Prints the end of a row above the live line.
fn show(outcome: &Outcome, live: &ProgressBar) {
    let Outcome { id, result, duration_s, why, .. } = outcome;
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    live.suspend(|| print_line(&format!("{result:<11} {duration_s:>5.0} s  {id}{why}")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::verdict::Verdict;

    fn args(names: &[&str], quick: bool) -> VerifyArgs {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        VerifyArgs {
            names,
            seed: None,
            quick,
            runs: 1,
            report: None,
            second_witness: false,
            sabotage: None,
            soak_s: None,
        }
    }

    fn order(names: &[&str], quick: bool, seed: u64) -> Vec<String> {
        args(names, quick).selected(seed).iter().map(Row::name).collect()
    }

    #[test]
    fn one_row_that_is_not_proven_fails_the_command() {
        let run = |result| {
            let outcome = Outcome::unfinished(&rows()[0], &anyhow::anyhow!("no answer"));
            let rows = vec![Outcome { result, ..outcome }];
            Report { seed: 7, rows, skipped: Vec::new(), duration_s: 1.0 }
        };
        for verdict in Verdict::ALL {
            let holds = all_hold(&[run(Verdict::Proven), run(verdict)], &[]);
            assert_eq!(holds, verdict == Verdict::Proven, "{verdict}");
        }
        for (holds, code) in [(true, ExitCode::SUCCESS), (false, ExitCode::FAILURE)] {
            assert_eq!(format!("{:?}", exit_code(holds)), format!("{code:?}"));
        }
    }

    #[test]
    fn seed_decides_order_of_all_rows() {
        let all = order(&[], false, 1);
        assert_eq!((all.len(), &all), (rows().len(), &order(&[], false, 1)));
        assert!((2..10).any(|seed| order(&[], false, seed) != all));
    }

    #[test]
    fn rows_with_same_work_follow_one_another() {
        let mut changes: Vec<_> = args(&[], false).selected(3).iter().map(|row| row.workload).collect();
        changes.dedup();
        let distinct = changes.iter().filter(|one| changes.iter().filter(|other| other == one).count() > 1);
        assert_eq!(distinct.count(), 0, "{changes:?}");
    }

    /// Otherwise a row that could share its control would need its own one.
    #[test]
    fn rows_of_one_work_read_less_and_less() {
        let rows = args(&[], false).selected(5);
        for (before, after) in rows.iter().zip(rows.iter().skip(1)) {
            let reads = |row: &Row| (row.evidence.reads_monitors(), row.quiet());
            let is_other_work = before.workload != after.workload;
            assert!(
                is_other_work || reads(before) >= reads(after),
                "{} before {}",
                before.name(),
                after.name()
            );
        }
    }

    #[test]
    fn rows_are_selected_by_name_and_length() {
        assert_eq!(order(&["consumer.slow"], false, 1), ["consumer.slow"]);
        assert_eq!(order(&["clock.skew@behind"], false, 1), ["clock.skew@behind"]);
        assert_eq!(order(&["clock.skew"], false, 1), ["clock.skew"], "a variant has to be named");
        assert!(args(&[], false).is_whole() && !args(&["clock.skew"], false).is_whole());
        let quick = order(&[], true, 1);
        assert!(!args(&[], true).is_whole(), "it leaves rows out");
        assert!(!quick.is_empty() && !quick.iter().any(|name| name == "notification.provider-down"));
    }

    #[test]
    fn debug_endpoints_are_rows() {
        let names = |names: &[&str], quick| {
            args(names, quick).selected_debug().into_iter().map(DebugRow::name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["debug.payment.crash"], false), ["debug.payment.crash"]);
        assert_eq!(names(&["debug.*.deadlock"], true), ["debug.payment.deadlock"]);
        assert_eq!(names(&["clock.skew"], false), Vec::<String>::new());
        assert_eq!(names(&[], false).len(), debug::rows().len());
        assert!(order(&["debug.*"], false, 1).is_empty(), "no fault of the flag file");
        assert!(args(&["debug.*"], false).check().is_ok() && !args(&["debug.*"], false).is_whole());
        assert!(row_name("debug.payment.*").is_ok() && row_name("debug.*").is_ok());
        for unknown in ["debug.recorder.*", "debug.game.deadlock", "debug", "debug.x.crash"] {
            let error = row_name(unknown).unwrap_err();
            assert!(error.contains("debug list"), "{unknown}: {error}");
        }
        let reads = VerifyArgs { sabotage: Some(Sabotage::Reads), ..args(&[], false) };
        let soak = VerifyArgs { soak_s: Some(5), ..args(&[], false) };
        assert!(reads.selected_debug().is_empty() && soak.selected_debug().is_empty());
    }

    #[test]
    fn unknown_rows_are_refused() {
        assert_eq!(row_name("sentry.down@hangs"), Ok("sentry.down@hangs".to_owned()));
        let error = row_name("sentry.down@sleeps").unwrap_err();
        assert!(error.contains("sentry.down, sentry.down@hangs, sentry.down@rate-limited"), "{error}");
        assert!(row_name("sentry.up").is_err() && row_name("").is_err());
    }

    #[test]
    fn names_are_printed_only_after_all_rows() {
        let report = Report { seed: 7, rows: Vec::new(), skipped: Vec::new(), duration_s: 1.0 };
        let json = |names| serde_json::to_value(Printed { report: &report, names }).unwrap();
        assert_eq!(json(None), serde_json::json!({"seed": 7, "rows": [], "duration_s": 1.0}));
        let with = json(Some(&Coverage::default()));
        for field in ["declared", "sent", "excused", "undeclared", "never_sent", "unread"] {
            assert!(with["names"].get(field).is_some(), "{field}");
        }
    }

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        verify: VerifyArgs,
    }

    #[test]
    fn report_has_its_own_default_file() {
        let report = |args: &[&str]| {
            let args = ["verify"].iter().chain(args);
            <Cli as clap::Parser>::try_parse_from(args).map(|cli| cli.verify.report)
        };
        assert_eq!(report(&["--report"]).unwrap(), Some(PathBuf::from(SCORECARD)));
        assert_eq!(report(&["--report", "a.md"]).unwrap(), Some(PathBuf::from("a.md")));
        assert_eq!(report(&[]).unwrap(), None);
        assert!(report(&["--soak-s", "5", "--report"]).is_err());
        assert!(report(&["--soak-s", "5", "--second-witness"]).is_err(), "it compares rows");
        assert!(report(&["--sabotage", "--second-witness"]).is_err());
        assert!(report(&["--sabotage", "--report"]).is_err() && report(&["--sabotage", "--quick"]).is_ok());
    }

    #[test]
    fn sabotage_is_of_faults_or_of_reads() {
        let parsed = |args: &[&str]| {
            let args = ["verify"].iter().chain(args);
            <Cli as clap::Parser>::try_parse_from(args).map(|cli| cli.verify)
        };
        let what = |args: &[&str]| parsed(args).unwrap().sabotage;
        assert_eq!([what(&["--sabotage"]), what(&[])], [Some(Sabotage::Faults), None]);
        assert_eq!(what(&["--sabotage", "consumer.slow"]), Some(Sabotage::Faults), "a row, and no value");
        assert!(parsed(&["--sabotage=reads", "--runs", "2"]).is_err());
        let reads = parsed(&["--sabotage=reads", "consumer.slow", "user.slow-query"]).unwrap();
        let names: Vec<String> = reads.selected(1).iter().map(Row::name).collect();
        assert_eq!(names.len(), 5 + 2, "{names:?}");
        assert!(names.iter().any(|name| name == "user.slow-query:before@user"), "{names:?}");
        assert!(reads.check().is_ok() && !reads.is_whole());
        assert!(parsed(&["--sabotage=reads", "game.cpu-spike"]).unwrap().check().is_err(), "it is read once");
    }

    #[test]
    fn what_fails_after_the_work_is_refused_before() {
        let check = |args: &[&str]| {
            let args = ["verify"].iter().chain(args);
            <Cli as clap::Parser>::try_parse_from(args).unwrap().verify.check()
        };
        assert!(check(&["--report", "consumer.slow"]).is_err(), "it is the name of a row");
        assert!(check(&["--report", "missing/a.md"]).is_err() && check(&["--report", "a.md"]).is_ok());
        assert!(check(&["notification.provider-down", "--quick"]).is_err() && check(&["--quick"]).is_ok());
    }
}

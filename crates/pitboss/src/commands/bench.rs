//! `pitboss bench`: measures what a bet costs, and what becomes of bets above saturation, under a flood of log-ins, and after a kill.
//!
//! A bet is compared with one without our code, with one of another build, with one without telemetry or while its receiver is out of
//! order, with one among few others, and with one after many earlier bets. A backlog is compared with one that is read without our
//! code. Memory, and faults that are not armed, are measured by themselves.
//!
//! For `bench history` two platforms run side by side, one with few stored bets and one with many. They get the same load in turns
//! (A B B A), so that other work of the machine affects both. This is repeated for each number of players that share the history.

mod bettors;
mod chain;
mod chart;
mod child;
mod comparison;
mod consumer;
mod contender;
mod copies;
mod cost;
mod drain;
mod evaluation;
mod flood;
mod memory;
mod order_statistics;
mod overload;
mod pace;
mod page;
mod pairs;
mod platform;
mod profiles;
mod program;
mod rates;
mod recovery;
mod report;
mod rounds;
mod sentry_down;
mod settler;
mod stage;
mod telemetry;
mod trials;
mod turn;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use runtime::Layout;
use runtime::receiver::Receiver;
use serde::Serialize;
use serde_json::Value;

use crate::checkout::{PORT_BASE_VARIABLE, RECEIVER_VARIABLE, STATE_VARIABLE, TOOLS_VARIABLE};
use crate::commands::Context;
use crate::load_generator::plan::Plan;
use crate::steps::print_line;

/// Base ports of the two platforms.
const PORT_BASES: [u16; 2] = [28_100, 28_300];
/// Rate at which history is created, in bets a second. It is well below the limit of one player's lane.
const FILL_RATE_PER_S: u64 = 60;
/// Stake of each bet that the benchmarks send other than `history`, in minor units.
const STAKE_MINOR: i64 = 100;
/// Currency of their players.
const CURRENCY: &str = "EUR";
/// Limit of the cost of a bet with a long history, as a multiple of its cost with a short one.
const RATIO_MAX: f64 = 1.1;

/// Benchmarks. `pairs`, `telemetry`, `profiles`, `sentry-down`, `history` and `faults` need no platform, and the others measure the
/// running one.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    benchmark: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Ratio of the p50 with many stored bets to the p50 with few, measured alternately on two platforms
    #[command(after_help = copies::HELP)]
    History(HistoryArgs),
    /// Time of the question whether a fault is active while nothing is armed, compared with an empty loop
    Faults(evaluation::FaultsArgs),
    /// Cost of a settled bet on the running platform: CPU time by process, and counted requests and records
    Cost(cost::CostArgs),
    /// Throughput, latency and cost of a bet on the running platform divided by those of the least that settles one as durably
    Chain(chain::ChainArgs),
    /// Cost and latency of a bet with this build divided by those with another checkout's, measured alternately on two platforms
    #[command(after_help = copies::HELP)]
    Pairs(pairs::PairsArgs),
    /// Bets at twice the rate that saturates the running platform, compared with bets below it
    Overload(overload::OverloadArgs),
    /// Cost of a bet with telemetry divided by that without, measured alternately on two platforms, and the share of complete traces
    #[command(after_help = copies::HELP)]
    Telemetry(telemetry::TelemetryArgs),
    /// Cost of a bet while all services profile themselves divided by that without, measured alternately on two platforms
    #[command(after_help = copies::HELP)]
    Profiles(profiles::ProfilesArgs),
    /// Latency of a bet while the receiver of telemetry is out of order divided by that while it works, measured alternately on two
    /// platforms
    #[command(after_help = copies::HELP)]
    SentryDown(sentry_down::SentryDownArgs),
    /// Latency of a bet under a flood of wrong log-ins divided by that without, measured alternately on the running platform
    Flood(flood::FloodArgs),
    /// CPU time of a bet at a high rate divided by that at a low one, measured alternately on the running platform
    Rates(rates::RatesArgs),
    /// Speed at which a consumer of the running platform reads a backlog, divided by that of the least that does the same
    Drain(drain::DrainArgs),
    /// Time from the kill of a consumer of the running platform to the next settled bet, divided by that of the least that settles one
    Recovery(recovery::RecoveryArgs),
    /// Growth of the running platform's memory with the number of bets, and its peak
    Memory(memory::MemoryArgs),
}

#[derive(Debug, Args)]
struct HistoryArgs {
    /// Bets stored on the small platform
    #[arg(long, default_value_t = 500)]
    small: u64,
    /// Bets stored on the large platform
    #[arg(long, default_value_t = 50_000)]
    large: u64,
    /// Number of players, or several separated by commas. Each value is measured on a new pair of platforms
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 1])]
    players: Vec<u16>,
    /// Rate at which the stored bets are created, in bets a second
    #[arg(long, default_value_t = FILL_RATE_PER_S, value_parser = clap::value_parser!(u64).range(1..))]
    fill_rate_per_s: u64,
    /// Number of rounds, each measuring small, large, large, small
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Duration of each measurement, in seconds
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Rate during a measurement, in bets a second
    #[arg(long, default_value_t = 20)]
    rate_per_s: u64,
}

/// Result for one number of players.
#[derive(Debug, Serialize)]
struct Measured {
    bench: &'static str,
    players: u16,
    small: Figures,
    large: Figures,
    ratio_of_medians: f64,
    ratio_max: f64,
}

/// Result for one platform.
#[derive(Debug, Serialize)]
struct Figures {
    /// Bets stored before the first measurement and after the last.
    bets_stored: [u64; 2],
    /// One value for each measurement.
    p50_ms: Vec<f64>,
}

impl BenchArgs {
    /// Runs the benchmark. Exit code 0 only if every figure is within its limit. `cost` and `chain` have no limits, `pairs` has one
    /// only on request, and `rates` one only for its usual rates, but every bet has to be answered, and an interval needs 95 %.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let holds = match &self.benchmark {
            Bench::History(args) => run_history(args, context)?,
            Bench::Faults(args) => run_faults(args, context)?,
            Bench::Cost(args) => args.run(context).await?,
            Bench::Chain(args) => args.run(context).await?,
            Bench::Pairs(args) => args.run(context).await?,
            Bench::Overload(args) => args.run(context).await?,
            Bench::Telemetry(args) => args.run(context).await?,
            Bench::Profiles(args) => args.run(context).await?,
            Bench::SentryDown(args) => args.run(context).await?,
            Bench::Flood(args) => args.run(context).await?,
            Bench::Rates(args) => args.run(context).await?,
            Bench::Drain(args) => args.run(context).await?,
            Bench::Recovery(args) => args.run(context).await?,
            Bench::Memory(args) => args.run(context).await?,
        };
        Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Bets at this rate for some seconds, of players with equal stakes.
fn plan(rate_per_s: u32, seconds: u64, players: u16) -> Plan {
    Plan {
        rate_per_s: Some(f64::from(rate_per_s)),
        duration: Duration::from_secs(seconds),
        players: usize::from(players),
        stake_minor: STAKE_MINOR,
        currency: CURRENCY.to_owned(),
    }
}

fn run_faults(args: &evaluation::FaultsArgs, context: &Context) -> Result<bool> {
    let measured = evaluation::measure(args)?;
    if context.output.json {
        context.output.line(&serde_json::to_string(&measured)?);
    } else {
        context.output.text(&measured.to_text());
    }
    Ok(measured.holds())
}

fn run_history(args: &HistoryArgs, context: &Context) -> Result<bool> {
    let (checkout, output) = (context.checkout()?, &context.output);
    let mut holds = true;
    for players in &args.players {
        let measured = history(args, *players, &checkout.layout)?;
        holds &= measured.ratio_of_medians <= RATIO_MAX;
        if output.json {
            output.line(&serde_json::to_string(&measured)?);
        } else {
            output.text(&measured.to_text());
        }
    }
    Ok(holds)
}

fn history(args: &HistoryArgs, players: u16, own: &Layout) -> Result<Measured> {
    let emptied = copies::settings(own)?;
    let folder = tempfile::tempdir().context("cannot create a folder for the two platforms")?;
    let mut sides = PORT_BASES.map(|port_base| Side {
        state: folder.path().join(port_base.to_string()),
        tools: own.tools().to_owned(),
        emptied: emptied.clone(),
        port_base,
        players,
        players_file: folder.path().join(format!("{port_base}.players.json")),
        stored: 0,
    });
    let measured = measure(args, &mut sides);
    // No process of either platform may remain, whatever the result of the measurement.
    let stopped = sides.each_ref().map(|side| side.pitboss(&["down", "--volumes"]));
    let [small, large] = measured?;
    for stopped in stopped {
        stopped.context("a platform did not stop")?;
    }
    Ok(Measured {
        bench: "history",
        players,
        ratio_of_medians: median(&large.p50_ms) / median(&small.p50_ms),
        small,
        large,
        ratio_max: RATIO_MAX,
    })
}

fn measure(args: &HistoryArgs, sides: &mut [Side; 2]) -> Result<[Figures; 2]> {
    for (side, bets) in sides.iter_mut().zip([args.small, args.large]) {
        print_line(&format!("platform at {}: {bets} bets, players: {}", side.port_base, side.players));
        side.pitboss(&["up", "--yes", "--no-build"])?;
        side.fill(args.fill_rate_per_s, bets)?;
    }
    // Not counted, because the platforms still handle the backlog of the fill.
    for side in sides.iter_mut() {
        side.p50_ms(args.rate_per_s, args.seconds)?;
    }
    let mut figures =
        sides.each_ref().map(|side| Figures { bets_stored: [side.stored; 2], p50_ms: Vec::new() });
    for _ in 0..args.rounds {
        for index in [0, 1, 1, 0] {
            let p50_ms = sides[index].p50_ms(args.rate_per_s, args.seconds)?;
            print_line(&format!("platform at {}: p50 {p50_ms:.1} ms", sides[index].port_base));
            figures[index].p50_ms.push(p50_ms);
            figures[index].bets_stored[1] = sides[index].stored;
        }
    }
    Ok(figures)
}

struct Side {
    state: PathBuf,
    tools: PathBuf,
    /// Settings that are empty in its commands, because they would send copies to a real Sentry.
    emptied: BTreeSet<String>,
    port_base: u16,
    players: u16,
    players_file: PathBuf,
    /// Bets that were accepted so far.
    stored: u64,
}

impl Side {
    /// Creates history. A bet that was accepted but not settled in time is stored too. Fails when more than 1 % are missing.
    fn fill(&mut self, rate_per_s: u64, bets: u64) -> Result<()> {
        let report = self.load(rate_per_s, bets.div_ceil(rate_per_s))?.1;
        if self.stored < bets - bets / 100 {
            bail!(
                "only {} of {bets} bets were accepted on the platform at {}: {report}",
                self.stored,
                self.port_base
            );
        }
        Ok(())
    }

    /// Returns the p50 of one load run. A run with an error or a refused bet is not a measurement.
    fn p50_ms(&mut self, rate_per_s: u64, seconds: u64) -> Result<f64> {
        let (holds, report) = self.load(rate_per_s, seconds)?;
        if !holds || refuses(&report) {
            bail!("a measurement on the platform at {} had errors or refused bets: {report}", self.port_base);
        }
        report["latency_ms"]["p50"].as_f64().context("the report of `load` has no p50")
    }

    /// Runs a load and returns whether all of it held, and its report.
    fn load(&mut self, rate_per_s: u64, seconds: u64) -> Result<(bool, Value)> {
        let numbers = [rate_per_s, seconds, u64::from(self.players)].map(|number| number.to_string());
        let [rate, seconds, players] = numbers.each_ref().map(String::as_str);
        let file = self.players_file.display().to_string();
        let load = ["load", "--json", "--no-traces", "--rate", rate, "--duration-s", seconds];
        let spread = ["--warm-up-s", "0", "--players", players, "--players-file", &file];
        let run = self.command(&[load.as_slice(), &spread].concat())?.output()?;
        let report: Value = serde_json::from_slice(&run.stdout).context("`load` printed no report")?;
        let accepted = [&report["settled"], &report["errors"]["not_in_time"]];
        self.stored += accepted.iter().filter_map(|count| count.as_u64()).sum::<u64>();
        Ok((run.status.success(), report))
    }

    fn pitboss(&self, args: &[&str]) -> Result<()> {
        if !self.command(args)?.stdout(Stdio::null()).status()?.success() {
            bail!("{args:?} failed on the platform at {}", self.port_base);
        }
        Ok(())
    }

    /// Command that runs this program for this platform. Its progress on standard error stays visible.
    fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
        command
            .args(args)
            .env(STATE_VARIABLE, &self.state)
            .env(TOOLS_VARIABLE, &self.tools)
            .env(PORT_BASE_VARIABLE, self.port_base.to_string())
            .env(RECEIVER_VARIABLE, Receiver::default().to_string())
            .envs(self.emptied.iter().map(|name| (name, "")))
            .stderr(Stdio::inherit());
        Ok(command)
    }
}

impl Measured {
    fn to_text(&self) -> String {
        format!(
            "players: {} · {} · {} · ratio of medians {:.2} (at most {})\n",
            self.players, self.small, self.large, self.ratio_of_medians, self.ratio_max,
        )
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, after] = self.bets_stored;
        write!(f, "with {before} to {after} bets stored, p50 in ms:")?;
        self.p50_ms.iter().try_for_each(|p50_ms| write!(f, " {p50_ms:.1}"))
    }
}

/// Returns true unless the report of a load says that no bet was refused. Refused bets have no latency, so those of an overloaded
/// platform would look fast.
fn refuses(report: &Value) -> bool {
    report["refused"].as_u64() != Some(0)
}

/// The middle value. For an even number of values, the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => f64::midpoint(*below, *above),
        (_, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{median, refuses};

    #[test]
    fn run_with_refused_bets_is_no_measurement() {
        assert!(!refuses(&json!({ "refused": 0 })));
        assert!(refuses(&json!({ "refused": 3 })) && refuses(&json!({})));
    }

    #[test]
    fn median_of_odd_even_and_no_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}

//! `pitboss bench history`: whether a bet costs more when many were played before it.
//!
//! Two platforms side by side, one with few bets stored and one with many; the same load on each in turns (A B B A), so that
//! what the machine does meanwhile falls on both. Once with one player's history, once spread over many players.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::output::Output;
use crate::steps::say;

/// Port blocks of the two platforms.
const PORT_BASES: [u16; 2] = [28_100, 28_300];
/// The rate at which history is made, in bets a second; well below saturation, so that nothing is refused.
const FILL_RATE_PER_S: u64 = 60;

/// Benchmarks that need platforms of their own.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// p50 of a bet with many bets stored ÷ with few, two platforms measured in turns
    History(HistoryArgs),
}

#[derive(Debug, Args)]
struct HistoryArgs {
    /// Bets stored on the small platform
    #[arg(long, default_value_t = 500)]
    small: u64,
    /// Bets stored on the large platform
    #[arg(long, default_value_t = 50_000)]
    large: u64,
    /// Among how many players they are spread
    #[arg(long, default_value_t = 1_000)]
    players: u16,
    /// The rate at which history is made, in bets a second
    #[arg(long, default_value_t = FILL_RATE_PER_S)]
    fill_rate_per_s: u64,
    /// Rounds of A B B A
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Bets a second while measuring
    #[arg(long, default_value_t = 20)]
    rate_per_s: u64,
}

struct Side {
    state: PathBuf,
    port_base: u16,
    players_file: PathBuf,
}

/// Runs the benchmark. Exit code 0 only when the ratio is at most 1.1.
///
/// # Errors
/// When a platform does not come up or a load run fails.
pub fn run(args: &BenchArgs, output: &Output) -> Result<ExitCode> {
    let Bench::History(args) = &args.what;
    let folder = tempfile::tempdir().context("no room for two platforms")?;
    let sides = PORT_BASES.map(|port_base| Side {
        state: folder.path().join(port_base.to_string()),
        port_base,
        players_file: folder.path().join(format!("{port_base}.players.json")),
    });
    let measured = measure(args, &sides);
    for side in &sides {
        // Whatever became of the measurement, no process may stay.
        side.pitboss(&["down", "--volumes"]).context("a platform did not stop")?;
    }
    let (small, large) = measured?;
    let ratio = median(&large) / median(&small);
    let report = json!({
        "bench": "history", "bets_stored": [args.small, args.large], "players": args.players,
        "p50_ms_small": small, "p50_ms_large": large, "ratio_of_medians": ratio, "goal": 1.1,
    });
    output.line(&report.to_string());
    Ok(if ratio <= 1.1 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(args: &HistoryArgs, sides: &[Side; 2]) -> Result<(Vec<f64>, Vec<f64>)> {
    for (side, bets) in sides.iter().zip([args.small, args.large]) {
        say(&format!("platform at {}: {bets} bets", side.port_base));
        side.pitboss(&["up", "--yes"])?;
        side.load(args, args.fill_rate_per_s, (bets / args.fill_rate_per_s).max(1))?;
    }
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        for index in [0, 1, 1, 0] {
            let p50 = sides[index].load(args, args.rate_per_s, args.seconds)?;
            if index == 0 { small.push(p50) } else { large.push(p50) }
        }
    }
    Ok((small, large))
}

impl Side {
    /// One load run; its p50 in milliseconds. A run with an error is no measurement.
    fn load(&self, args: &HistoryArgs, rate: u64, seconds: u64) -> Result<f64> {
        let (rate, seconds, players) = (rate.to_string(), seconds.to_string(), args.players.to_string());
        let file = self.players_file.display().to_string();
        let text = self.pitboss(&[
            "load",
            "--json",
            "--no-traces",
            "--rate",
            &rate,
            "--duration-s",
            &seconds,
            "--players",
            &players,
            "--players-file",
            &file,
        ])?;
        let report: Value = serde_json::from_str(&text).context("load printed no JSON")?;
        report["latency_ms"]["p50"].as_f64().context("load reported no p50")
    }

    fn pitboss(&self, args: &[&str]) -> Result<String> {
        let program = std::env::current_exe().context("where is this program?")?;
        let run = Command::new(program)
            .args(args)
            .env("PITBOSS_STATE", &self.state)
            .env("PITBOSS_PORT_BASE", self.port_base.to_string())
            .output()?;
        if !run.status.success() {
            bail!(
                "{args:?} failed on the platform at {}: {}",
                self.port_base,
                String::from_utf8_lossy(&run.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&run.stdout).into_owned())
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

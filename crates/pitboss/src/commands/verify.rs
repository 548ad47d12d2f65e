//! `pitboss verify`: proves for each fault that it becomes visible in the recorder, that it ends, and that the money is right.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use faults::FaultId;
use indicatif::ProgressBar;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::commands::Context;
use crate::flag_file::FlagFile;
use crate::output::Output;
use crate::player::Gateway;
use crate::steps::print_line;
use crate::target::{Target, TargetArgs};
use crate::verify::report::{Outcome, Report};
use crate::verify::run::Runner;
use crate::verify::{Row, rows};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Faults to prove [default: all; `fault list` shows them]
    #[arg(value_name = "FAULT")]
    ids: Vec<FaultId>,
    /// Seed of the order and of the amounts [default: random; the report names it]
    #[arg(long)]
    seed: Option<u64>,
    /// Leave out the rows that need many bets
    #[arg(long)]
    quick: bool,
}

impl VerifyArgs {
    /// Proves the selected faults, one after the other. Exit code 0 only if all of them are PROVEN. No fault stays armed.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let (checkout, output) = (context.checkout()?, &context.output);
        let target = context.target(&TargetArgs::default()).await?;
        let flags = FlagFile::of(&checkout.layout);
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let selected = self.selected(seed);
        let report = tokio::select! {
            report = prove(&selected, seed, &target, &flags, output) => report,
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        };
        flags.disarm_all()?;
        let report = report?;
        if output.json {
            output.line(&serde_json::to_string(&report)?);
        } else {
            output.line(&report.table(output).to_string());
            output.line(&format!("seed {seed}"));
        }
        Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The selected rows, in the order of the seed.
    fn selected(&self, seed: u64) -> Vec<Row> {
        let is_named = |row: &Row| self.ids.is_empty() || self.ids.contains(&row.fault);
        let is_wanted = |row: &Row| is_named(row) && !(self.quick && row.is_slow);
        let mut selected: Vec<Row> = rows().into_iter().filter(is_wanted).collect();
        selected.shuffle(&mut StdRng::seed_from_u64(seed));
        selected
    }
}

async fn prove(
    rows: &[Row],
    seed: u64,
    target: &Target,
    flags: &FlagFile,
    output: &Output,
) -> Result<Report> {
    let gateway = Gateway::new(&target.gateway_url, target.operator_token.clone())?;
    let live = output.spinner("verify");
    let runner = Runner::new(target, &gateway, flags, seed).await?;
    let mut outcomes = Vec::new();
    for (row, number) in rows.iter().zip(1..) {
        let place = format!("{number}/{} {}", rows.len(), row.fault);
        let outcome = runner.run(row, |phase| live.set_message(format!("{place}: {phase}"))).await;
        let outcome = outcome.unwrap_or_else(|error| Outcome::unfinished(row.fault, &error));
        show(&outcome, &live);
        outcomes.push(outcome);
    }
    live.finish_and_clear();
    Ok(Report { seed, rows: outcomes })
}

/// Prints the end of a row above the live line.
fn show(outcome: &Outcome, live: &ProgressBar) {
    let Outcome { id, result, duration_s, .. } = outcome;
    live.suspend(|| print_line(&format!("{result:<11} {duration_s:>5.0} s  {id}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(ids: &[FaultId], quick: bool, seed: u64) -> Vec<FaultId> {
        let args = VerifyArgs { ids: ids.to_vec(), seed: None, quick };
        args.selected(seed).into_iter().map(|row| row.fault).collect()
    }

    #[test]
    fn seed_decides_order_of_all_rows() {
        let all = order(&[], false, 1);
        assert_eq!((all.len(), &all), (FaultId::ALL.len(), &order(&[], false, 1)));
        assert!((2..10).any(|seed| order(&[], false, seed) != all));
    }

    #[test]
    fn rows_are_selected_by_name_and_length() {
        assert_eq!(order(&[FaultId::ConsumerSlow], false, 1), [FaultId::ConsumerSlow]);
        let quick = order(&[], true, 1);
        assert!(!quick.is_empty() && !quick.contains(&FaultId::NotificationProviderDown));
    }
}

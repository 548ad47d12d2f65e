//! The two sides, and the players that bet there. The bare chain knows no players: its requests only name one each.

use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::commands::bench::bettors::Bettors;
use crate::commands::bench::program::PROGRAM;
use crate::commands::bench::stage::Stage;
use crate::load_generator::plan::Plan;
use crate::output::Output;

/// Processes that both sides use, by the name of their part.
const SHARED: [&str; 2] = ["kafka", "mongo"];

/// What gets bets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    /// The bare chain (A).
    Chain,
    /// The platform (B).
    Platform,
}

impl Side {
    /// Returns true if the process works for this side.
    pub(super) fn uses(self, process: &str) -> bool {
        SHARED.contains(&process) || (self == Self::Chain) == (process == PROGRAM)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "bare chain",
            Self::Platform => "platform",
        })
    }
}

/// One side with its players.
#[derive(Debug)]
pub(super) struct Contender<'a> {
    /// The side.
    pub(super) side: Side,
    /// Its players.
    pub(super) bettors: Bettors<'a>,
}

impl<'a> Contender<'a> {
    /// The chain, which listens at this address.
    pub(super) fn chain(address: SocketAddr, players: u16, output: &'a Output) -> Result<Self> {
        Ok(Self { side: Side::Chain, bettors: Bettors::of_chain(address, players, output)? })
    }

    /// The platform, with players that have enough money for the plan.
    pub(super) async fn platform(stage: &Stage<'a>, plan: &Plan) -> Result<Self> {
        let bettors = Bettors::on(stage.target, plan, stage.output).await.context("the platform")?;
        Ok(Self { side: Side::Platform, bettors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broker_and_store_work_for_both_sides() {
        let used = |side: Side| {
            let all = [PROGRAM, "kafka", "mongo", "game", "redis", "supervisor"];
            all.into_iter().filter(|process| side.uses(process)).collect::<Vec<_>>()
        };
        assert_eq!(used(Side::Chain), [PROGRAM, "kafka", "mongo"]);
        assert_eq!(used(Side::Platform), ["kafka", "mongo", "game", "redis", "supervisor"]);
    }
}

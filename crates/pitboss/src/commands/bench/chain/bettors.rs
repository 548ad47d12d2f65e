//! The two sides, and the players that bet there. The bare chain knows no players: its requests only name one each.

use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde::Serialize;
use uuid::Uuid;

use super::program::PROGRAM;
use crate::commands::{bench, load};
use crate::load_generator::load_report::Tally;
use crate::load_generator::plan::Plan;
use crate::output::Output;
use crate::player::{Gateway, Player};
use crate::target::Target;

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

/// Players of one side.
#[derive(Debug)]
pub(super) struct Bettors<'a> {
    /// Their side.
    pub(super) side: Side,
    gateway: Gateway,
    players: Vec<Player>,
    output: &'a Output,
}

impl<'a> Bettors<'a> {
    /// Players of the chain, which listens at this address. It takes their token as their name.
    pub(super) fn of_chain(address: SocketAddr, players: u16, output: &'a Output) -> Result<Self> {
        let gateway = Gateway::new(format!("http://{address}"), None)?;
        let player = |_| {
            let player_id = Uuid::now_v7().to_string();
            Player { token: player_id.clone(), player_id }
        };
        Ok(Self { side: Side::Chain, gateway, players: (0..players).map(player).collect(), output })
    }

    /// Registers players on the platform, with enough money for the plan.
    pub(super) async fn of_platform(target: &Target, plan: &Plan, output: &'a Output) -> Result<Self> {
        let gateway = Gateway::new(&target.gateway_url, target.operator_token.clone())?;
        let players = load::register(&gateway, plan, output).await.context("the platform")?;
        Ok(Self { side: Side::Platform, gateway, players, output })
    }

    /// Sends bets at fixed times for some seconds. Returns when the last one has ended.
    pub(super) async fn send(&self, rate_per_s: f64, seconds: u64) -> Tally {
        let players = u16::try_from(self.players.len()).unwrap_or(u16::MAX);
        let plan = Plan { rate_per_s: Some(rate_per_s), ..bench::plan(1, seconds, players) };
        load::send(&self.gateway, &self.players, &plan, self.output).await
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

//! Arguments that several benchmarks share: the load of a turn, and the number of rounds.

use std::fmt;

use clap::Args;
use serde::Serialize;

use crate::load_generator::plan::Plan;

/// Load of a turn.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Pace {
    /// Bets a second, sent at fixed times (open loop)
    #[arg(long, visible_alias = "rate", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) rate_per_s: u32,
    /// Duration of each measurement, in seconds. An idle interval before them lasts as long
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(super) seconds: u64,
    /// Duration of the load before each measurement, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub(super) warm_up_s: u64,
    /// Number of players that share the bets, on each side
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) players: u16,
}

/// Rounds of four turns, and the load of each turn.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct RoundsArgs {
    /// Number of rounds of four turns. An interval with 95 % needs at least 6
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) rounds: u32,
    #[command(flatten)]
    pub(super) pace: Pace,
}

impl Pace {
    /// Bets of this many turns, with those before their measurements.
    pub(super) fn turns(self, turns: u32) -> Plan {
        let each_s = self.warm_up_s.saturating_add(self.seconds);
        super::plan(self.rate_per_s, each_s.saturating_mul(u64::from(turns)), self.players)
    }
}

impl RoundsArgs {
    /// Turns of one side: two in each round, and one that does not count.
    pub(super) fn turns(self) -> u32 {
        self.rounds.saturating_mul(2).saturating_add(1)
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate_per_s, seconds, warm_up_s, .. } = self;
        write!(f, "{rate_per_s} bets/s for {seconds} s after {warm_up_s} s of warm-up")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        rounds: RoundsArgs,
    }

    fn args(args: &[&str]) -> Result<RoundsArgs, clap::Error> {
        Cli::try_parse_from(["rounds"].iter().chain(args)).map(|cli| cli.rounds)
    }

    #[test]
    fn arguments_have_defaults_and_limits() {
        let RoundsArgs { rounds, pace } = args(&[]).unwrap();
        assert_eq!(rounds, 7);
        assert_eq!(pace, Pace { rate_per_s: 20, seconds: 15, warm_up_s: 3, players: 50 });
        assert_eq!(args(&["--rate", "25"]).unwrap().pace.rate_per_s, 25);
        for wrong in [["--rounds", "0"], ["--rate-per-s", "0"], ["--seconds", "0"], ["--players", "0"]] {
            assert!(args(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn plan_of_turns_has_their_warm_ups() {
        let two = args(&["--rounds", "2", "--seconds", "10", "--players", "10"]).unwrap();
        let plan = two.pace.turns(two.turns());
        assert_eq!((plan.rate_per_s, plan.duration.as_secs(), plan.players), (Some(20.0), 5 * 13, 10));
    }
}

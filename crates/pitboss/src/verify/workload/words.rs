//! Workloads in words, for `docs/EVIDENCE.md`.

use std::fmt;

use super::Workload;

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deposits { count } => write!(f, "{count} deposits"),
            Self::PacedDeposits { count, interval_ms } => {
                write!(f, "{count} deposits, one every {interval_ms} ms")
            }
            Self::Bets { count, earlier_bets: 0 } => write!(f, "{count} bets"),
            Self::Bets { count, earlier_bets } => {
                write!(f, "{count} bets of a player with {earlier_bets} bets")
            }
            Self::PacedBets { count, interval_ms } => write!(f, "{count} bets, one every {interval_ms} ms"),
            Self::Mixed { count, interval_ms } => {
                write!(f, "{count} bets, deposits, reads and limits, one every {interval_ms} ms")
            }
            Self::HistoryReads { count, earlier_bets: 0 } => write!(f, "{count} reads of the bet history"),
            Self::HistoryReads { count, earlier_bets } => {
                write!(f, "{count} reads of the bet history by a player with {earlier_bets} bets")
            }
            Self::PacedReads { count, interval_ms } => {
                write!(f, "{count} reads of the bet history, one every {interval_ms} ms")
            }
            Self::LimitChanges { count } => write!(f, "{count} changes of a player's limits"),
            Self::Summaries { count } => write!(f, "{count} reads of the summary of figures"),
            Self::BigWins { count: 1, .. } => f.write_str("bets until one is a big win"),
            Self::BigWins { count, .. } => write!(f, "bets until {count} are big wins"),
        }
    }
}

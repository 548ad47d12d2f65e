//! A turn: its bets, and what our services used for one, apart from the rest of the platform.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use contracts::parts::Part;
use serde::Serialize;

use crate::commands::bench::comparison::Figure;
use crate::commands::bench::contender;
use crate::commands::bench::platform::Side;
use crate::commands::bench::turn::{Sent, Settled};

/// The figures that are compared. The limit applies to the first.
pub(in crate::commands::bench) const FIGURES: [Figure<Turn>; 6] = [
    Figure::less("services_cpu_ms_per_bet", "services CPU ms/bet", true, |turn| turn.services_cpu_ms_per_bet),
    Figure::less("services_cpu_ms_per_bet_without_idle", "services, without idle", false, |turn| {
        turn.services_cpu_ms_per_bet_without_idle
    }),
    Figure::less("cpu_ms_per_bet", "platform CPU ms/bet", false, |turn| turn.bets.measured.cpu_ms_per_bet),
    Figure::less("p50_ms", "p50 ms", false, |turn| turn.bets.measured.bets.latency_ms.p50),
    Figure::less("p95_ms", "p95 ms", false, |turn| turn.bets.measured.bets.latency_ms.p95),
    Figure::less("p99_ms", "p99 ms", false, |turn| turn.bets.measured.bets.latency_ms.p99),
];

/// CPU time by those who use it, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(in crate::commands::bench) struct Cpu {
    /// Our services but the recorder, which stands in for Sentry.
    pub(in crate::commands::bench) services: f64,
    /// All processes of the platform.
    pub(in crate::commands::bench) platform: f64,
}

/// Result of one turn.
#[derive(Clone, Debug, Serialize)]
pub(in crate::commands::bench) struct Turn {
    #[serde(flatten)]
    pub(in crate::commands::bench) bets: contender::Turn,
    /// CPU time of our services but the recorder, divided by the settled bets.
    pub(in crate::commands::bench) services_cpu_ms_per_bet: f64,
    /// The same without what they use when nothing is sent.
    pub(in crate::commands::bench) services_cpu_ms_per_bet_without_idle: f64,
    /// The settled bets, whose traces are looked for after the round.
    #[serde(skip)]
    pub(in crate::commands::bench) settled: Settled,
}

impl Cpu {
    /// Adds up the CPU time of processes.
    pub(in crate::commands::bench) fn of(processes: &BTreeMap<String, f64>) -> Self {
        let services = processes.iter().filter(|(process, _)| is_service(process));
        Self { services: services.map(|(_, cpu_ms)| cpu_ms).sum(), platform: processes.values().sum() }
    }
}

/// Returns true for our services but the recorder.
fn is_service(process: &str) -> bool {
    let part = process.parse::<Part>();
    part.is_ok_and(|part| part.is_service() && part != Part::Recorder)
}

impl Turn {
    /// Divides what the processes used by the settled bets. `idle` is what they use in a second without bets.
    ///
    /// # Errors
    /// When a process did not run throughout.
    pub(in crate::commands::bench) fn of(side: Side, sent: Sent, idle: Cpu) -> Result<Self> {
        let used = Cpu::of(&sent.cpu_ms()?);
        let settled = sent.settled.clone();
        Ok(Self::with(contender::Turn::of(side, sent)?, settled, used, idle))
    }

    fn with(bets: contender::Turn, settled: Settled, used: Cpu, idle: Cpu) -> Self {
        let (count, seconds) = (bets.measured.bets.settled as f64, bets.measured.bets.seconds);
        Self {
            bets,
            services_cpu_ms_per_bet: used.services / count,
            services_cpu_ms_per_bet_without_idle: (used.services - idle.services * seconds) / count,
            settled,
        }
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, of which services {:.2}", self.bets, self.services_cpu_ms_per_bet)
    }
}

#[cfg(test)]
pub(in crate::commands::bench) mod tests {
    use super::*;
    use crate::commands::bench::contender::tests;

    /// A round whose turns A, B, B, A used this CPU time for a bet in our services.
    pub(in crate::commands::bench) fn round(services_cpu_ms_per_bet: [f64; 4]) -> [Turn; 4] {
        let bets = tests::round([20.0; 4]);
        let mut used = services_cpu_ms_per_bet.into_iter();
        bets.map(|bets| {
            let services = used.next().unwrap_or_default() * bets.measured.bets.settled as f64;
            Turn::with(bets, Settled::default(), Cpu { services, platform: 0.0 }, Cpu::default())
        })
    }

    #[test]
    fn recorder_and_servers_are_no_services() {
        let names = ["game", "gateway", "kafka", "recorder", "supervisor", "wire"];
        let processes = names.into_iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
        let processes = processes.map(|(name, cpu_ms)| (name.to_owned(), cpu_ms)).collect();
        assert_eq!(Cpu::of(&processes), Cpu { services: 35.0, platform: 63.0 });
    }

    #[test]
    fn cost_is_shown_with_and_without_idle_time() {
        let [bets, ..] = tests::round([20.0; 4]);
        // 300 bets in 15 s.
        let used = Cpu { services: 1_800.0, platform: 9_000.0 };
        let turn = Turn::with(bets, Settled::default(), used, Cpu { services: 40.0, platform: 90.0 });
        assert_eq!(turn.services_cpu_ms_per_bet, 6.0);
        assert_eq!(turn.services_cpu_ms_per_bet_without_idle, 4.0);
        assert!(turn.to_string().ends_with("of which services 6.00"), "{turn}");
    }
}

//! Faults of a played bet: a draw that burns CPU time, and payouts that differ from the pay table.

use std::time::Duration;

use faults::{FaultId, Values};
use money::Money;
use telemetry::spans;
use tracing::Span;

use super::context::Game;
use crate::document::BetDocument;
use crate::domain::payout::{self, Deviation};
use crate::primes::hunt_primes;

/// What the fault `game.cpu-spike` does to a spin.
struct CpuSpike {
    /// Time after which the hunt ends.
    within: Duration,
    /// Time for which the process profiles itself continuously from now on.
    profiled: Duration,
}

impl Game {
    /// Burns CPU time as part of the draw while the fault `game.cpu-spike` is active.
    ///
    /// It runs on a thread for blocking work, so that the listeners of the process still answer. The bet's transaction gets a CPU
    /// profile, unless this process has another one now or had one just before. The fault can also ask for a continuous one.
    pub(super) async fn burn_cpu(&self, bet: &BetDocument) {
        let Some(CpuSpike { within, profiled }) = self.cpu_spike(bet) else { return };
        if !profiled.is_zero() && !telemetry::profile::run_for(profiled) {
            tracing::debug!("nothing would get a continuous profile, so there is none");
        }
        let hunt = move || {
            let profiler = telemetry::profile::start(&Span::current());
            let found = spans::function("hunt_primes").in_scope(|| hunt_primes(within));
            drop(profiler);
            found
        };
        // The number of primes does not matter, and an error means that the process ends.
        drop(telemetry::spawn_blocking(hunt).await);
    }

    fn cpu_spike(&self, bet: &BetDocument) -> Option<CpuSpike> {
        let values = self.active(FaultId::GameCpuSpike, bet)?;
        let number = |value: i64| u64::try_from(value).unwrap_or_default();
        let within = Duration::from_millis(number(values.get("duration_ms")));
        Some(CpuSpike { within, profiled: Duration::from_secs(number(values.get("profile_s"))) })
    }

    fn active(&self, id: FaultId, bet: &BetDocument) -> Option<Values> {
        chassis::faults::active(&self.faults, id, Some(&bet.player_id), Some(&bet.id))
    }

    /// Returns what is paid for a bet that is owed this payout. The faults `game.rtp-drift` and `game.payout-scale` change it.
    pub(super) fn paid(&self, bet: &BetDocument, owed: Money) -> Money {
        // A lost bet has nothing to change.
        if !owed.is_positive() {
            return owed;
        }
        let drift = self.active(FaultId::GameRtpDrift, bet);
        let scale = self.active(FaultId::GamePayoutScale, bet);
        let deviation = Deviation {
            rtp_percent: drift.and_then(|values| u64::try_from(values.get("rtp_percent")).ok()),
            factor: scale.and_then(|values| u64::try_from(values.get("factor")).ok()),
        };
        payout::paid(owed, self.rules.machine().statistics().rtp(), deviation)
    }
}

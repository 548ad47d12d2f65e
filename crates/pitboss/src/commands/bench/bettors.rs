//! The players of a benchmark, and the gateway that gets their bets.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use uuid::Uuid;

use super::cost::report::kinds;
use super::pace::Pace;
use super::turn::{Bets, Reading, Sent, Settled};
use crate::commands::{bench, load};
use crate::load_generator::load_report::{Outcome, Tally};
use crate::load_generator::plan::Plan;
use crate::output::Output;
use crate::player::{Gateway, Player};
use crate::target::Target;

/// Rate of the bets that show whether a backlog is settled.
const PROBE_RATE_PER_S: f64 = 5.0;
/// Time in which a backlog is settled.
const SETTLED_DEADLINE: Duration = Duration::from_secs(120);

/// Players of one gateway. All turns have the same ones.
#[derive(Debug)]
pub(super) struct Bettors<'a> {
    gateway: Gateway,
    players: Vec<Player>,
    output: &'a Output,
}

impl<'a> Bettors<'a> {
    /// Players of the bare chain, which listens at this address. It knows no players: it takes the token of one as their name.
    pub(super) fn of_chain(address: SocketAddr, players: u16, output: &'a Output) -> Result<Self> {
        let gateway = Gateway::new(format!("http://{address}"), None)?;
        let player = |_| {
            let player_id = Uuid::now_v7().to_string();
            Player { token: player_id.clone(), player_id }
        };
        Ok(Self { gateway, players: (0..players).map(player).collect(), output })
    }

    /// Registers players at a gateway, with enough money for the plan.
    pub(super) async fn register(gateway: Gateway, plan: &Plan, output: &'a Output) -> Result<Self> {
        let players = load::register(&gateway, plan, output).await?;
        Ok(Self { gateway, players, output })
    }

    /// Registers players on a platform, with enough money for the plan.
    pub(super) async fn on(target: &Target, plan: &Plan, output: &'a Output) -> Result<Self> {
        let gateway = Gateway::new(&target.gateway_url, target.operator_token.clone())?;
        Self::register(gateway, plan, output).await
    }

    /// Sends bets at fixed times for some seconds. Returns when the last one has ended.
    pub(super) async fn send(&self, rate_per_s: f64, seconds: u64) -> Tally {
        self.send_each(rate_per_s, seconds, |_| {}).await
    }

    /// Like [`Self::send`], and calls `on_outcome` for each outcome as it comes.
    pub(super) async fn send_each(
        &self,
        rate_per_s: f64,
        seconds: u64,
        on_outcome: impl FnMut(&Outcome),
    ) -> Tally {
        let players = u16::try_from(self.players.len()).unwrap_or(u16::MAX);
        let plan = Plan { rate_per_s: Some(rate_per_s), ..bench::plan(1, seconds, players) };
        load::send_each(&self.gateway, &self.players, &plan, self.output, on_outcome).await
    }

    /// Sends a few bets at a time until all of them are settled in time.
    ///
    /// # Errors
    /// When that is not so after two minutes.
    pub(super) async fn until_settled(&self) -> Result<()> {
        let until = Instant::now() + SETTLED_DEADLINE;
        loop {
            let errors = self.send(PROBE_RATE_PER_S, 1).await.errors_and_refusals();
            if errors.is_empty() {
                return Ok(());
            }
            if Instant::now() > until {
                let deadline_s = SETTLED_DEADLINE.as_secs();
                bail!("no bets are settled in time {deadline_s} s after the load: {}", kinds(&errors));
            }
        }
    }

    /// Warms the gateway up and sends the bets of an interval. Reads the processes before and after it.
    ///
    /// # Errors
    /// When no bet was settled, or when `read` fails.
    pub(super) async fn turn(&self, pace: Pace, read: impl Fn() -> Result<Reading>) -> Result<Sent> {
        let (sent, ()) = self.turn_beside(pace, read, |_seconds| std::future::ready(())).await?;
        Ok(sent)
    }

    /// Like [`Self::turn`], while `beside` does something else for the seconds of the warm-up and for those of the interval.
    /// Returns its result for the interval, too.
    ///
    /// # Errors
    /// Those of [`Self::turn`].
    pub(super) async fn turn_beside<F: Future>(
        &self,
        pace: Pace,
        read: impl Fn() -> Result<Reading>,
        beside: impl Fn(u64) -> F,
    ) -> Result<(Sent, F::Output)> {
        let Pace { rate_per_s, seconds, warm_up_s, .. } = pace;
        let rate_per_s = f64::from(rate_per_s);
        let (warm_up, _uncounted) = tokio::join!(self.send(rate_per_s, warm_up_s), beside(warm_up_s));
        let begin = read()?;
        let (tally, result) = tokio::join!(self.send(rate_per_s, seconds), beside(seconds));
        let end = read()?;
        let bets = Bets::of(&tally, &warm_up, end.since(&begin));
        if bets.settled == 0 {
            bail!("no bet was settled (errors: {})", kinds(&bets.errors));
        }
        let settled = Settled::of([warm_up, tally]);
        Ok((Sent { bets, settled, begin, end }, result))
    }
}

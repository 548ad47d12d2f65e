//! Worker of one fault: applies it while it is wanted, repeats it, and reverts it.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Result;
use faults::{Armed, FaultId};
use tokio::sync::watch;

use super::receipts::Receipts;

/// Applies one fault and reverts it.
pub(super) trait Actuator {
    /// Applies the fault once, and returns how often its effect was observed: 0 if it was in effect already.
    ///
    /// The future may be dropped at any place. [`Actuator::take_back`] is called then.
    async fn apply(&self, armed: &Armed) -> Result<u64>;

    /// Reverts the fault, also one that was applied in part or not at all. Without `armed` an earlier supervisor applied it,
    /// whose processes are gone.
    async fn take_back(&self, armed: Option<&Armed>, cause: Cause) -> Result<()>;

    /// Returns how the fault repeats while it is armed.
    fn rhythm(&self, armed: &Armed) -> Rhythm;
}

/// Repetition of a fault while it is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rhythm {
    /// Applied once, it lasts until it is reverted.
    Lasting,
    /// It acts once for each arming, also if the supervisor restarts.
    Once,
    /// It is applied again and again, so long from one beginning to the next.
    Every(Duration),
}

/// Reason why a fault is reverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is not armed any more.
    Disarmed,
    /// The platform shuts down. Parts that do not run are left so.
    Shutdown,
}

/// Wanted state of a fault, by the flag file and the platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// The armed fault.
    pub(super) armed: Option<Armed>,
    /// The platform is complete. While it comes up, nothing is applied.
    pub(super) is_platform_up: bool,
    /// The platform shuts down.
    pub(super) must_end: bool,
}

impl Wish {
    /// The fault that should be in effect.
    fn wanted(&self) -> Option<&Armed> {
        self.armed.as_ref().filter(|_| self.is_platform_up && !self.must_end)
    }

    fn cause(&self) -> Cause {
        if self.must_end { Cause::Shutdown } else { Cause::Disarmed }
    }
}

/// Pauses between attempts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Number of attempts in a row.
    pub(super) attempts_max: u32,
    /// Pause after the first failure. Each further one doubles it.
    pub(super) pause_min: Duration,
    /// Pause after a row of failed attempts to take a fault back. Then the next row begins.
    pub(super) row_pause: Duration,
    /// Shortest pause between two applications of a fault that repeats.
    pub(super) repeat_min: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            attempts_max: 6,
            pause_min: Duration::from_millis(500),
            row_pause: Duration::from_secs(10),
            repeat_min: Duration::from_millis(200),
        }
    }
}

impl Pace {
    /// Pause after that many failures in a row, or None if there are too many.
    fn pause_after(&self, failures: u32) -> Option<Duration> {
        let doublings = failures.saturating_sub(1).min(16);
        (failures < self.attempts_max).then(|| self.pause_min.saturating_mul(1 << doublings))
    }
}

/// The worker of one fault.
pub(super) struct Worker<'a, A> {
    pub(super) id: FaultId,
    pub(super) actuator: A,
    pub(super) receipts: &'a Receipts,
    pub(super) pace: Pace,
}

impl<A: Actuator> Worker<'_, A> {
    /// Works until the platform shuts down. The fault is reverted then, unless that failed too often: the next supervisor
    /// continues. Otherwise the worker tries to revert it until that succeeds, because a broker that is starting answers late.
    pub(super) async fn work(self, mut wishes: watch::Receiver<Wish>) {
        let mut held: Option<Armed> = None;
        let mut is_left_behind = self.receipts.is_in_effect(self.id);
        loop {
            let wish = wishes.borrow_and_update().clone();
            let wanted = wish.wanted();
            if (held.is_some() && held.as_ref() != wanted) || (is_left_behind && wanted.is_none()) {
                if self.take_back(held.as_ref(), wish.cause()).await {
                    (held, is_left_behind) = (None, false);
                } else if wish.must_end || !self.waits_for_next_row(&mut wishes).await {
                    return;
                }
                continue; // The wanted state may have changed.
            }
            if wish.must_end {
                return;
            }
            if wish.armed.is_none() {
                self.receipts.disarmed(self.id);
            }
            let has_changed = match wanted {
                None => wishes.changed().await,
                Some(armed) => {
                    held = Some(armed.clone());
                    is_left_behind = false;
                    tokio::select! {
                        never = self.hold(armed) => match never {},
                        changed = wishes.changed() => changed,
                    }
                }
            };
            if has_changed.is_err() {
                return; // The reconciler is gone, which happens only with this whole thread.
            }
        }
    }

    /// Applies the fault, repeats it if it repeats, and then waits until it is dropped.
    async fn hold(&self, armed: &Armed) -> Infallible {
        let rhythm = self.actuator.rhythm(armed);
        if rhythm == Rhythm::Once && self.receipts.is_done(armed) {
            return std::future::pending().await;
        }
        self.receipts.begin(self.id);
        let (mut failures, mut is_logged) = (0, false);
        loop {
            let began = Instant::now();
            match self.actuator.apply(armed).await {
                Ok(times) => {
                    failures = 0;
                    self.receipts.add(self.id, times);
                    if times > 0 && !is_logged {
                        is_logged = true;
                        let (fault, scope) = (self.id.as_str(), armed.scope.to_string());
                        tracing::info!(fault, scope, "applied the fault: {}", armed.values);
                    }
                }
                Err(error) => {
                    failures += 1;
                    let pause = self.report(failures, "applied", &error);
                    match pause {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return std::future::pending().await,
                    }
                    continue;
                }
            }
            match rhythm {
                Rhythm::Every(interval) => {
                    let left = interval.saturating_sub(began.elapsed());
                    tokio::time::sleep(left.max(self.pace.repeat_min)).await;
                }
                Rhythm::Once => {
                    self.receipts.set_done(armed);
                    return std::future::pending().await;
                }
                Rhythm::Lasting => return std::future::pending().await,
            }
        }
    }

    /// Reverts the fault. Returns false after a row of failures.
    async fn take_back(&self, held: Option<&Armed>, cause: Cause) -> bool {
        if !self.receipts.is_in_effect(self.id) {
            return true; // A fault that acts once had acted before.
        }
        let mut failures = 0;
        loop {
            match self.actuator.take_back(held, cause).await {
                Ok(()) => {
                    self.receipts.end(self.id);
                    tracing::info!(fault = self.id.as_str(), "the fault has ended");
                    return true;
                }
                Err(error) => {
                    failures += 1;
                    match self.report(failures, "reverted", &error) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return false,
                    }
                }
            }
        }
    }

    /// Waits until the next row of attempts is due, or the wish changes. Returns false if the reconciler is gone.
    async fn waits_for_next_row(&self, wishes: &mut watch::Receiver<Wish>) -> bool {
        tokio::select! {
            () = tokio::time::sleep(self.pace.row_pause) => true,
            changed = wishes.changed() => changed.is_ok(),
        }
    }

    /// Logs the first and the last failure of a row, and returns the pause before the next attempt if there is one.
    fn report(&self, failures: u32, what: &str, error: &anyhow::Error) -> Option<Duration> {
        let (fault, pause) = (self.id.as_str(), self.pace.pause_after(failures));
        self.receipts.set_problem(self.id, &format!("it cannot be {what}: {error:#}"));
        if pause.is_none() {
            tracing::error!(fault, "the fault cannot be {what} after {failures} attempts: {error:#}");
        } else if failures == 1 {
            tracing::warn!(fault, "the fault cannot be {what} yet: {error:#}");
        }
        pause
    }
}

#[cfg(test)]
mod tests;

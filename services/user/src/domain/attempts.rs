//! When an account may be tried again: pure counting, told the time.
//!
//! The rule: so many failures in a window, then the account waits, twice as long each time, up to a bound. Nothing is checked
//! while it waits, so guesses that come meanwhile neither count nor prolong it: whoever knows the password gets in after it.

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Failures in one window before the account waits.
    pub failures_max: u32,
    /// The window, from its first failure.
    pub window_ms: i64,
    /// The first wait.
    pub wait_ms_min: i64,
    /// The longest one.
    pub wait_ms_max: i64,
}

impl Rule {
    /// The wait that follows when the window was used up for the `strikes`-th time, counted from 1.
    #[must_use]
    pub fn wait_ms(&self, strikes: u64) -> i64 {
        let doublings = u32::try_from(strikes.saturating_sub(1)).unwrap_or(u32::MAX).min(32);
        self.wait_ms_min.saturating_mul(1_i64 << doublings).min(self.wait_ms_max)
    }

    /// After so long without one, earlier waits are forgotten.
    #[must_use]
    pub fn strikes_ms(&self) -> i64 {
        self.wait_ms_max.saturating_mul(4)
    }
}

/// What one process knows of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Attempts that are being checked.
    in_flight: u32,
    failures: u32,
    window_ends_ms: i64,
    strikes: u64,
    strikes_end_ms: i64,
    waits_until_ms: i64,
}

impl Account {
    /// Begins an attempt; `Err` holds the milliseconds to wait. What is being checked counts as a failure until it is known,
    /// so that guesses which come at once are no more than those that come one after the other.
    ///
    /// # Errors
    /// When the account waits, or would if everything in flight failed.
    pub fn begin(&mut self, rule: &Rule, now_ms: i64) -> Result<(), i64> {
        if now_ms < self.waits_until_ms {
            return Err(self.waits_until_ms.saturating_sub(now_ms));
        }
        let failures = if now_ms < self.window_ends_ms { self.failures } else { 0 };
        if failures.saturating_add(self.in_flight) >= rule.failures_max {
            return Err(rule.wait_ms_min.min(1_000));
        }
        self.in_flight = self.in_flight.saturating_add(1);
        Ok(())
    }

    /// An attempt is over, whatever became of it.
    pub fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The attempt was a wrong guess.
    pub fn failed(&mut self, rule: &Rule, now_ms: i64) {
        if now_ms >= self.window_ends_ms {
            self.failures = 0;
            self.window_ends_ms = now_ms.saturating_add(rule.window_ms);
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= rule.failures_max {
            let strikes = if now_ms < self.strikes_end_ms { self.strikes } else { 0 };
            self.strikes = strikes.saturating_add(1);
            self.wait(now_ms.saturating_add(rule.wait_ms(self.strikes)));
            self.strikes_end_ms = self.waits_until_ms.saturating_add(rule.strikes_ms());
        }
    }

    /// The account waits until then, because of this process's count or of everybody's.
    pub fn wait(&mut self, until_ms: i64) {
        (self.failures, self.window_ends_ms) = (0, 0);
        self.waits_until_ms = self.waits_until_ms.max(until_ms);
    }

    /// The right password: what was before is forgotten.
    pub fn succeeded(&mut self) {
        *self = Self { in_flight: self.in_flight, ..Self::default() };
    }

    /// Whether forgetting the account would change anything.
    #[must_use]
    pub fn matters(&self, now_ms: i64) -> bool {
        self.in_flight > 0
            || [self.window_ends_ms, self.strikes_end_ms, self.waits_until_ms]
                .into_iter()
                .any(|end_ms| now_ms < end_ms)
    }
}

//! Decides when an account may be tried again, as pure counting with the time as an argument.
//!
//! After a number of failures in one window the account waits, each time twice as long, up to a maximum. During the wait nothing
//! is checked, so further guesses neither count nor extend it. The right password is accepted after the wait.

/// Limits of the attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Failures in one window before the account waits.
    pub failures_max: u32,
    /// Length of the window, which starts with its first failure.
    pub window_ms: i64,
    /// The first wait.
    pub wait_ms_min: i64,
    /// The longest wait.
    pub wait_ms_max: i64,
}

impl Rule {
    /// Returns the wait after the `strikes`-th full window, counted from 1.
    #[must_use]
    pub fn wait_ms(&self, strikes: u64) -> i64 {
        let doublings = u32::try_from(strikes.saturating_sub(1)).unwrap_or(u32::MAX).min(32);
        self.wait_ms_min.saturating_mul(1_i64 << doublings).min(self.wait_ms_max)
    }

    /// Time without a full window after which earlier waits no longer count.
    #[must_use]
    pub fn strikes_ms(&self) -> i64 {
        self.wait_ms_max.saturating_mul(4)
    }
}

/// State of one account in one process.
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
    /// Begins an attempt. `Err` holds the milliseconds to wait. An attempt in flight counts as a failure until its result is
    /// known, so parallel guesses get no more tries than sequential ones.
    ///
    /// # Errors
    /// When the account waits, or would wait if all attempts in flight failed.
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

    /// Ends an attempt, whatever its result.
    pub fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Counts a wrong guess.
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

    /// Makes the account wait until then, because of this process's count or the replicas' shared one.
    pub fn wait(&mut self, until_ms: i64) {
        (self.failures, self.window_ends_ms) = (0, 0);
        self.waits_until_ms = self.waits_until_ms.max(until_ms);
    }

    /// Resets the account after the right password.
    pub fn succeeded(&mut self) {
        *self = Self { in_flight: self.in_flight, ..Self::default() };
    }

    /// True while evicting the account would lose information.
    #[must_use]
    pub fn is_active(&self, now_ms: i64) -> bool {
        self.in_flight > 0
            || [self.window_ends_ms, self.strikes_end_ms, self.waits_until_ms]
                .into_iter()
                .any(|end_ms| now_ms < end_ms)
    }
}

//! Rounds, attempts and reports of one payment: how many there are, and how long they can last together.

use crate::config::ProviderConfig;

/// Number of rounds for one payment before it is put back.
pub(crate) const ROUNDS_MAX: u32 = 3;
/// First pause between two rounds. It doubles each time.
pub(crate) const PAUSE_MS: u64 = 100;
/// Largest number of requests of one round: the request, a look-up of its outcome, and a void of what the look-up did not find.
const REQUESTS_PER_ROUND: u64 = 3;
/// Time for everything beside requests and pauses: the claim in the store, and a process that gets no processor for a moment.
const MARGIN_MS: u64 = 1_000;
/// Longest pause between two attempts.
const ATTEMPT_PAUSE_MS_MAX: i64 = 30_000;
/// Number of attempts until the pause has its full length.
const ATTEMPT_DOUBLINGS_MAX: i64 = 5;
/// Number of reports until the pause has its full length.
const REPORT_DOUBLINGS_MAX: i64 = 6;
/// Number of times that a report is published before its payment is parked.
pub(crate) const REPORTS_MAX: i64 = 5;

/// Returns the time of all rounds with their pauses if every request takes `timeout_ms`, with a margin.
pub(crate) fn longest_ms(timeout_ms: u64) -> u64 {
    let requests = u64::from(ROUNDS_MAX).saturating_mul(REQUESTS_PER_ROUND);
    let pauses = 2_u64.saturating_pow(ROUNDS_MAX.saturating_sub(1)).saturating_sub(1);
    let rounds = requests.saturating_mul(timeout_ms).saturating_add(pauses.saturating_mul(PAUSE_MS));
    rounds.saturating_add(MARGIN_MS)
}

/// Returns the pause after this number of attempts, longer after each.
pub(crate) fn attempt_pause_ms(attempts: i64) -> i64 {
    doubled_ms(1_000, attempts, ATTEMPT_DOUBLINGS_MAX).min(ATTEMPT_PAUSE_MS_MAX)
}

/// Returns the pause after a report that was published `reports` times before, longer after each.
pub(crate) fn report_pause_ms(lease_ms: i64, reports: i64) -> i64 {
    doubled_ms(lease_ms, reports, REPORT_DOUBLINGS_MAX)
}

fn doubled_ms(first_ms: i64, doublings: i64, doublings_max: i64) -> i64 {
    let doublings = u32::try_from(doublings.clamp(0, doublings_max)).unwrap_or_default();
    first_ms.saturating_mul(2_i64.saturating_pow(doublings))
}

/// Returns the longest time for which a payment is open with these settings, if the provider can be reached and slots are free.
///
/// It waits in the queue, is tried at a provider that never answers in time, and is answered at last. Then its report is published
/// as often as possible without being settled.
pub(crate) fn open_ms_max(provider: &ProviderConfig) -> i64 {
    let times_ms = [provider.lease_ms, provider.sweep_interval_ms, longest_ms(provider.timeout_ms)];
    let [lease_ms, sweep_ms, rounds_ms] = times_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
    let attempts_max = provider.attempts_max;
    let attempts_ms = attempts_max.saturating_mul(rounds_ms.saturating_add(sweep_ms));
    let growing_ms = sum_ms((1..attempts_max.min(ATTEMPT_DOUBLINGS_MAX)).map(attempt_pause_ms));
    let full_pauses = attempts_max.saturating_sub(ATTEMPT_DOUBLINGS_MAX).max(0);
    let reports_ms = sum_ms((0..REPORTS_MAX).map(|reports| report_pause_ms(lease_ms, reports)));
    let swept_ms = REPORTS_MAX.saturating_mul(sweep_ms);
    let full_ms = full_pauses.saturating_mul(ATTEMPT_PAUSE_MS_MAX);
    sum_ms([lease_ms, attempts_ms, growing_ms, full_ms, reports_ms, swept_ms].into_iter())
}

fn sum_ms(times_ms: impl Iterator<Item = i64>) -> i64 {
    times_ms.fold(0, i64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_their_limits() {
        let pauses = [0, 1, 2, 3, 4, 5, 6, i64::MAX].map(attempt_pause_ms);
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
        let pauses = [0, 1, 5, 6, 7, i64::MAX].map(|reports| report_pause_ms(20_000, reports));
        assert_eq!(pauses, [20_000, 40_000, 640_000, 1_280_000, 1_280_000, 1_280_000]);
    }

    #[test]
    fn open_time_is_the_sum_of_its_parts() {
        let provider = |attempts_max| ProviderConfig {
            concurrent_max: 8,
            timeout_ms: 2_000,
            waiting_max: 256,
            lease_ms: 20_000,
            sweep_interval_ms: 1_000,
            attempts_max,
            escalate_after_ms: 600_000,
        };
        let fixed_ms = 20_000 + 31 * 20_000 + 5 * 1_000;
        assert_eq!(open_ms_max(&provider(1)), fixed_ms + 20_300, "no pause follows the last attempt");
        assert_eq!(open_ms_max(&provider(3)), fixed_ms + 3 * 20_300 + 2_000 + 4_000);
        let pauses_ms = 2_000 + 4_000 + 8_000 + 16_000 + 55 * 30_000;
        assert_eq!(open_ms_max(&provider(60)), fixed_ms + 60 * 20_300 + pauses_ms);
        assert_eq!(open_ms_max(&provider(i64::MAX)), i64::MAX);
    }

    #[test]
    fn rounds_of_slow_requests_last_as_documented() {
        assert_eq!(longest_ms(2_000), 9 * 2_000 + 300 + 1_000);
    }
}

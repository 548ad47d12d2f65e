//! Rounds of one claimed payment: how many there are, and how long they can last together.

/// Number of rounds for one payment before it is put back.
pub(crate) const ROUNDS_MAX: u32 = 3;
/// First pause between two rounds. It doubles each time.
pub(crate) const PAUSE_MS: u64 = 100;
/// Largest number of requests of one round: the request, a look-up of its outcome, and a void of what the look-up did not find.
const REQUESTS_PER_ROUND: u64 = 3;
/// Time for everything beside requests and pauses: the claim in the store, and a process that gets no processor for a moment.
const MARGIN_MS: u64 = 1_000;

/// Returns the time of all rounds with their pauses if every request takes `timeout_ms`, with a margin.
pub(crate) fn longest_ms(timeout_ms: u64) -> u64 {
    let requests = u64::from(ROUNDS_MAX).saturating_mul(REQUESTS_PER_ROUND);
    let pauses = 2_u64.saturating_pow(ROUNDS_MAX.saturating_sub(1)).saturating_sub(1);
    let rounds = requests.saturating_mul(timeout_ms).saturating_add(pauses.saturating_mul(PAUSE_MS));
    rounds.saturating_add(MARGIN_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_slow_requests_last_as_documented() {
        assert_eq!(longest_ms(2_000), 9 * 2_000 + 300 + 1_000);
    }
}

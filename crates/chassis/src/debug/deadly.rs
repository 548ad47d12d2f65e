//! Faults that end the process. Nothing of the service answers them, and another process reports them ([`telemetry::crash`]).

use std::hint::black_box;

use super::answer::Outcome;

/// Calls of the recursion: far more than fit on any stack, so that it ends by the end of the stack only.
const CALLS: u64 = u64::MAX;
/// Memory that each call has on the stack, in words. With it 2 MiB are full after some thousand calls.
const WORDS: usize = 32;

/// Calls a function until the stack is full, as a recursion without an end does. The kernel sends SIGSEGV at the guard page.
pub(super) fn overflow_stack() -> Outcome {
    tracing::info!("a function begins to call itself without an end");
    let calls = descend(black_box(CALLS));
    // It is not reached on any machine
    Outcome { detail: format!("the stack held {calls} calls"), event_id: None }
}

/// One step of the recursion. The sum after the call keeps the optimiser from making a loop of it.
#[inline(never)]
fn descend(left: u64) -> u64 {
    let words = black_box([left; WORDS]);
    if left == 0 {
        return 0;
    }
    descend(black_box(left - 1)).wrapping_add(words[WORDS / 2] & 1)
}

/// Aborts the process, as code does that cannot continue. The kernel sends SIGABRT.
#[inline(never)]
pub(super) fn abort() -> ! {
    tracing::info!("the process is about to abort");
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recursion_is_real_and_counts_the_odd_depths() {
        assert_eq!(descend(0), 0);
        assert_eq!(descend(9), 5);
    }
}

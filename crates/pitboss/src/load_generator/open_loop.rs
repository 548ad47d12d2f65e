//! Units of work that begin at fixed times, whatever becomes of earlier ones.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Times at which units begin, and a bound of those that have not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenLoop {
    /// Units that begin in a second.
    pub(crate) rate_per_s: f64,
    /// Time for which units begin.
    pub(crate) duration: Duration,
    /// Maximum number of units that have begun and not ended.
    pub(crate) in_flight_max: usize,
}

impl OpenLoop {
    /// Begins each unit at its intended time. Every result goes to `results`. Returns when the last unit has ended.
    ///
    /// A unit that cannot begin because too many others have not ended has the result of `left_out`.
    pub(crate) async fn run<U, F: Future>(
        self,
        units: impl Iterator<Item = U>,
        begin: impl Fn(U, Instant) -> F,
        left_out: impl Fn(Instant) -> F::Output,
        results: &mpsc::Sender<F::Output>,
    ) {
        let Self { rate_per_s, duration, in_flight_max } = self;
        let count = (rate_per_s * duration.as_secs_f64()).round() as u32;
        let start = Instant::now();
        let mut in_flight = FuturesUnordered::new();
        for (index, unit) in (0..count).zip(units) {
            let intended = start + Duration::from_secs_f64(f64::from(index) / rate_per_s);
            // Units in flight continue until the next one is due.
            loop {
                tokio::select! {
                    biased;
                    () = sleep_until(intended) => break,
                    Some(result) = in_flight.next() => pass_on(results, result).await,
                }
            }
            if in_flight.len() < in_flight_max {
                in_flight.push(begin(unit, intended));
            } else {
                pass_on(results, left_out(intended)).await;
            }
        }
        while let Some(result) = in_flight.next().await {
            pass_on(results, result).await;
        }
    }
}

/// Sends a result to its receiver.
pub(super) async fn pass_on<T>(results: &mpsc::Sender<T>, result: T) {
    // The receiver outlives the run. If it does not, the run was aborted and its results are not needed.
    let _aborted = results.send(result).await;
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn unit_beyond_the_bound_is_left_out() {
        let (freed, (sender, mut results)) = (Notify::new(), mpsc::channel(16));
        let open_loop =
            OpenLoop { rate_per_s: 1_000.0, duration: Duration::from_millis(10), in_flight_max: 1 };
        // The first unit ends when the second one was left out.
        let begin = |unit: u32, _intended| {
            let freed = &freed;
            async move {
                if unit == 0 {
                    freed.notified().await;
                }
                Some(unit)
            }
        };
        let left_out = |_intended| {
            freed.notify_one();
            None
        };
        open_loop.run(0.., begin, left_out, &sender).await;
        drop(sender);
        let mut all = Vec::new();
        while let Some(result) = results.recv().await {
            all.push(result);
        }
        assert_eq!(all.len(), 10, "{all:?}");
        assert_eq!(all[0], None, "the second unit found no room");
        assert!(all.contains(&Some(0)), "{all:?}");
    }

    #[tokio::test]
    async fn no_time_has_no_units() {
        let (sender, mut results) = mpsc::channel(1);
        let open_loop = OpenLoop { rate_per_s: 25.0, duration: Duration::ZERO, in_flight_max: 1 };
        open_loop.run(0.., |unit: u32, _intended| async move { unit }, |_intended| 0, &sender).await;
        drop(sender);
        assert_eq!(results.recv().await, None);
    }
}

//! Check-ins of a consumer: as long as it is ready, it tells its monitor so at a fixed interval.

use std::time::Duration;

use tokio::time::sleep;

/// Interval at which a consumer that is not ready is asked again.
const READY_INTERVAL: Duration = Duration::from_secs(1);

/// Checks in as soon as the consumer is ready, and then at the interval while it stays ready. It never ends by itself.
pub(crate) async fn run(interval: Duration, is_ready: impl Fn() -> bool, check_in: impl Fn()) {
    loop {
        if is_ready() {
            check_in();
            sleep(interval).await;
        } else {
            sleep(READY_INTERVAL.min(interval)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn only_a_ready_consumer_checks_in() {
        let (asked, checked_in) = (Cell::new(0), Cell::new(0));
        // Ready at the third and fourth question, and never again.
        let is_ready = || {
            asked.set(asked.get() + 1);
            (3..=4).contains(&asked.get())
        };
        let ended = async {
            while asked.get() < 7 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = run(Duration::from_millis(1), is_ready, || checked_in.set(checked_in.get() + 1)) => {}
            () = ended => {}
        }
        assert_eq!(checked_in.get(), 2);
    }
}

//! A consumer of a test, which receives every event of some topics.

use bus::{CancellationToken, HandleAny, Producer, Router, Tail};
use contracts::{EventType, Topic};

use crate::READY_MAX;

/// Starts a consumer, and waits until it is ready. `handler` gets each event that is published from then on, until the token is
/// cancelled.
///
/// # Panics
/// When it is not ready in time.
pub async fn start(
    config: &bus::Config,
    topics: &[Topic],
    handler: impl HandleAny + 'static,
    producer: &Producer,
) -> CancellationToken {
    let types = EventType::ALL.iter().copied().filter(|kind| topics.contains(&kind.topic()));
    let router = Router::new().on_each(types, handler);
    let tail = Tail::new(config, topics, router, producer.clone()).expect("a tail");
    let stop = CancellationToken::new();
    let (ready, mut is_ready) = tokio::sync::watch::channel(false);
    let running = tail.run(stop.clone(), move |now| {
        ready.send_replace(now);
    });
    telemetry::spawn(async move { running.await.expect("the tail runs to its end") });
    let becoming_ready = is_ready.wait_for(|now| *now);
    tokio::time::timeout(READY_MAX, becoming_ready).await.expect("in time").expect("a tail");
    stop
}

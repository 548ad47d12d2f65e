//! Losses of copies are reported to the target once it accepts a request. No failure in between loses the report.

use serde_json::json;

use crate::{
    stub::{ENVELOPE, Stub, forwarding_to, wait_for_count},
    support::{Recorder, transaction},
};

/// Sends an error and waits until the count of this outcome is reached.
async fn send(recorder: &Recorder, counted_as: &str, count: u64) {
    recorder.store(3, ENVELOPE).await;
    wait_for_count(recorder, counted_as, count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_loss_report_is_sent_again() {
    let (stub, host) = Stub::start(vec![(403, Vec::new()), (403, Vec::new()), (200, Vec::new())]).await;
    let recorder = forwarding_to(&host).await;
    send(&recorder, "refused", 1).await;
    send(&recorder, "refused", 2).await;
    send(&recorder, "sent", 1).await;
    send(&recorder, "sent", 2).await;
    let expected = [
        json!({}),
        json!({"error": {"send_error": 1}}),
        json!({"error": {"send_error": 2}}),
        json!({}), // accepted reports are not repeated
    ];
    assert_eq!(stub.reported_losses(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn undelivered_loss_report_is_sent_again() {
    let (stub, host) = Stub::start_after(2, vec![(200, Vec::new())]).await;
    let recorder = forwarding_to(&host).await;
    send(&recorder, "dropped_failed", 1).await;
    send(&recorder, "dropped_failed", 2).await;
    send(&recorder, "sent", 1).await;
    assert_eq!(stub.reported_losses(), [json!({"error": {"network_error": 2}})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_copy_keeps_losses_for_next_report() {
    let limits = ("x-sentry-rate-limits", "600:transaction:organization".to_owned());
    let (stub, host) = Stub::start(vec![(200, vec![limits]), (403, Vec::new()), (200, Vec::new())]).await;
    let recorder = forwarding_to(&host).await;
    send(&recorder, "sent", 1).await;
    send(&recorder, "refused", 1).await;
    let span = transaction(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", None, "function", "x", 1.0);
    recorder.store(3, span).await;
    wait_for_count(&recorder, "dropped_rate_limited", 1).await;
    send(&recorder, "sent", 2).await;
    let lost = json!({"error": {"send_error": 1}, "transaction": {"ratelimit_backoff": 1}, "span": {"ratelimit_backoff": 2}});
    assert_eq!(stub.reported_losses(), [json!({}), json!({}), lost]);
}

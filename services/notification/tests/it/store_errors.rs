//! Tests for store errors while an e-mail is in flight: nothing is sent that is not stored, and nothing is lost.

use store::bson::{DateTime, doc};

use crate::harness::{Platform, tally};
use crate::mongo_proxy::{MongoProxy, Pattern};

const FIND_CONTACT: Pattern = &["contacts"];
const HAND_OVER: Pattern = &["$unset", "held_back_by"];
const STORE_END: Pattern = &["put_off", "ended_at"];
const RELEASE: Pattern = &["$inc", "put_off"];

/// Nothing was tried, so the e-mail is due again after a pause as if it had never been claimed.
#[tokio::test(flavor = "multi_thread")]
async fn failed_contact_read_releases_claim() {
    let proxy = MongoProxy::start().await;
    // A pause longer than the test.
    let pause = ("PITBOSS__MAIL__PAUSE_MS_MIN", "3600000");
    let platform = Platform::start_with(&[("PITBOSS__MONGO__URI", proxy.uri().as_str()), pause]).await;
    proxy.refuse(FIND_CONTACT);
    proxy.refuse(RELEASE);
    let (big, email) = platform.store_due(&testkit::unique("player"), doc! {}).await;
    // It is repeated until the store has accepted it.
    proxy.wait_for_matches(RELEASE, 2).await;
    proxy.forward(RELEASE);
    let due = platform.wait_for(&big, "due").await;
    assert_eq!(tally(&due), (0, 0, 0));
    assert!(due.get_datetime("due_at").is_ok_and(|at| *at > DateTime::now()), "due without a pause: {due}");

    proxy.forward(FIND_CONTACT);
    platform.update(&big, doc! { "due_at": DateTime::from_millis(0) }).await;
    assert_eq!(tally(&platform.wait_for(&big, "sent").await), (1, 0, 0));
    assert_eq!(platform.mails.to(&email).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_hand_over_write_sends_nothing() {
    let proxy = MongoProxy::start().await;
    let platform = Platform::start_with(&[("PITBOSS__MONGO__URI", proxy.uri().as_str())]).await;
    proxy.refuse(HAND_OVER);
    let (big, email) = platform.store_due(&testkit::unique("player"), doc! {}).await;
    let put_off = platform.wait_for_put_off(&big).await;
    assert_eq!(put_off.get_str("why").ok(), Some("storing the hand-over failed"));
    assert_eq!(platform.mails.to(&email).len(), 0);

    proxy.forward(HAND_OVER);
    let (_, unknown, _) = tally(&platform.wait_for(&big, "sent").await);
    assert_eq!((platform.mails.to(&email).len(), unknown), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn result_is_stored_when_store_recovers() {
    let proxy = MongoProxy::start().await;
    let platform = Platform::start_with(&[("PITBOSS__MONGO__URI", proxy.uri().as_str())]).await;
    proxy.refuse(STORE_END);
    let (big, email) = platform.store_due(&testkit::unique("player"), doc! {}).await;
    proxy.wait_for_matches(STORE_END, 2).await;
    proxy.forward(STORE_END);
    assert_eq!(tally(&platform.wait_for(&big, "sent").await), (1, 0, 0));
    assert_eq!(platform.mails.to(&email).len(), 1);
}

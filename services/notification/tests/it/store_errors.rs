//! Tests for store errors while an e-mail is in flight: nothing is sent that is not stored, and nothing is lost.

use store::bson::{DateTime, doc};

use crate::harness::{PATIENCE, Platform, tally};
use crate::way::{Way, Words};

const FIND_CONTACT: Words = &["contacts"];
const HAND_OVER: Words = &["$unset", "held_back_by"];
const NOTE_END: Words = &["put_off", "ended_at"];
const GIVE_BACK: Words = &["$inc", "put_off"];

/// Nothing was tried, so the e-mail is due again after a pause as if it had never been claimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_contact_cannot_be_asked_for_is_given_back() {
    let way = Way::start().await;
    // A pause longer than the test.
    let pause = ("PITBOSS__MAIL__PAUSE_MS_MIN", "3600000");
    let platform = Platform::start_with(&[("PITBOSS__MONGO__URI", way.uri().as_str()), pause]).await;
    way.refuse(FIND_CONTACT);
    way.refuse(GIVE_BACK);
    let (big, email) = platform.store_due(&testkit::unique("player"), doc! {}).await;
    // It is repeated until the store has accepted it.
    way.until_met(GIVE_BACK, 2).await;
    way.let_pass(GIVE_BACK);
    let due = platform.wait_for(&big, "due").await;
    assert_eq!(tally(&due), (0, 0, 0));
    assert!(due.get_datetime("due_at").is_ok_and(|at| *at > DateTime::now()), "at once again: {due}");

    way.let_pass(FIND_CONTACT);
    platform.set(&big, doc! { "due_at": DateTime::from_millis(0) }).await;
    assert_eq!(tally(&platform.wait_for(&big, "sent").await), (1, 0, 0));
    assert_eq!(platform.mails.to(&email).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_hand_over_cannot_be_stored_is_not_handed_over() {
    let way = Way::start().await;
    let platform = Platform::start_with(&[("PITBOSS__MONGO__URI", way.uri().as_str())]).await;
    way.refuse(HAND_OVER);
    let (big, email) = platform.store_due(&testkit::unique("player"), doc! {}).await;
    let put_off = testkit::eventually("the mail to be put off", PATIENCE, || async {
        let now = platform.find(&big).await;
        (tally(&now).2 > 0).then_some(now)
    })
    .await;
    assert_eq!(put_off.get_str("why").ok(), Some("that it is handed over could not be stored"));
    assert_eq!(platform.mails.to(&email).len(), 0);

    way.let_pass(HAND_OVER);
    let (_, unknown, _) = tally(&platform.wait_for(&big, "sent").await);
    assert_eq!((platform.mails.to(&email).len(), unknown), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_mail_is_noted_once_the_store_answers() {
    let way = Way::start().await;
    let platform = Platform::start_with(&[("PITBOSS__MONGO__URI", way.uri().as_str())]).await;
    way.refuse(NOTE_END);
    let (big, email) = platform.store_due(&testkit::unique("player"), doc! {}).await;
    way.until_met(NOTE_END, 2).await;
    way.let_pass(NOTE_END);
    assert_eq!(tally(&platform.wait_for(&big, "sent").await), (1, 0, 0));
    assert_eq!(platform.mails.to(&email).len(), 1);
}

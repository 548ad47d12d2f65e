//! Tests with two processes on one store: while one of them has an e-mail, the other one does not touch it.

use store::bson::{DateTime, doc};

use crate::harness::{Platform, tally};
use crate::smtp::{MailServer, Mailbox};
use crate::way::{Way, Words};

const CLAIM: Words = &["$inc", "held_back_by"];

/// Both processes have found an e-mail. The first one's claim is in flight while the second one claims it.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_another_process_has_claimed_meanwhile_is_left_to_it() {
    let way = Way::start().await;
    let platform = Platform::start_with(&[("PITBOSS__MONGO__URI", way.uri().as_str())]).await;
    let player = testkit::unique("player");
    way.hold(CLAIM);
    let (big, email) = platform.store_due(&player, doc! {}).await;
    way.until_met(CLAIM, 1).await;
    let (others_mails, smtp) = MailServer::start().await;
    others_mails.let_be(&player, Mailbox::TakesWhenTold);
    let _other = platform.another(smtp).await;
    others_mails.until_here(&email, 1).await;
    let claimed = platform.find(&big).await;

    way.let_pass(CLAIM);
    way.until_answered(CLAIM).await;
    let after = platform.find(&big).await;
    assert_eq!(after.get_str("owner").ok(), claimed.get_str("owner").ok(), "it is the second one's still");
    others_mails.let_be(&player, Mailbox::Good);
    let sent = platform.wait_for(&big, "sent").await;
    assert_eq!(tally(&sent), (1, 0, 0));
    assert_eq!((platform.mails.to(&email).len(), others_mails.to(&email).len()), (0, 1));
}

/// The first process was paused for longer than its claim lasted, and continues when the second one has the e-mail.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_a_claim_hands_nothing_over_and_notes_nothing() {
    // Nothing is renewed meanwhile, so the lost claim is detected at the hand-over.
    let platform = Platform::start_with(&[("PITBOSS__MAIL__CLAIM_MS", "600000")]).await;
    let player = testkit::unique("player");
    platform.mails.let_be(&player, Mailbox::WaitsBeforeTheContent);
    let (big, email) = platform.store_due(&player, doc! {}).await;
    platform.mails.until_waited(1).await;
    let claimed = platform.find(&big).await;
    let first = claimed.get_str("owner").unwrap();
    assert_eq!(claimed.get_str("held_back_by").ok(), Some(first), "nothing is handed over so far");

    let (others_mails, smtp) = MailServer::start().await;
    others_mails.let_be(&player, Mailbox::WaitsBeforeTheContent);
    let _other = platform.another(smtp).await;
    platform.set(&big, doc! { "due_at": DateTime::from_millis(0) }).await;
    others_mails.until_waited(1).await;
    let taken_over = platform.find(&big).await;
    let second = taken_over.get_str("owner").unwrap();
    assert_ne!(second, first);

    platform.mails.let_be(&player, Mailbox::Good);
    platform.mails.until_left(1).await;
    assert_eq!(platform.mails.to(&email).len(), 0);
    let after = platform.find(&big).await;
    assert_eq!(
        (after.get_str("owner").ok(), after.get_str("held_back_by").ok()),
        (Some(second), Some(second))
    );
    others_mails.let_be(&player, Mailbox::Good);
    let sent = platform.wait_for(&big, "sent").await;
    // The first process had certainly not handed the e-mail over, so its attempt counts as put off.
    assert_eq!(tally(&sent), (2, 0, 1));
    assert_eq!((platform.mails.to(&email).len(), others_mails.to(&email).len()), (0, 1));
}

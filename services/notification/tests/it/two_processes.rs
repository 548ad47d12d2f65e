//! Tests with two processes on one store: while one of them has an e-mail, the other one does not touch it.

use store::bson::{DateTime, doc};

use crate::harness::{Platform, tally};
use crate::mongo_proxy::{MongoProxy, Pattern};
use crate::smtp::{MailServer, Mailbox};

const CLAIM: Pattern = &["$inc", "held_back_by"];

/// Both processes have found an e-mail. The first one's claim is in flight while the second one claims it.
#[tokio::test(flavor = "multi_thread")]
async fn mail_claimed_by_another_process_is_not_sent() {
    let proxy = MongoProxy::start().await;
    let platform = Platform::start_with(&[("PITBOSS__MONGO__URI", proxy.uri().as_str())]).await;
    let player = testkit::unique("player");
    proxy.hold(CLAIM);
    let (big, email) = platform.store_due(&player, doc! {}).await;
    proxy.wait_for_matches(CLAIM, 1).await;
    let (other_mails, smtp) = MailServer::start().await;
    other_mails.set_mailbox(&player, Mailbox::AnswersAfterChange);
    let _other = platform.start_another(smtp).await;
    other_mails.wait_for_mails(&email, 1).await;
    let claimed = platform.find(&big).await;

    proxy.forward(CLAIM);
    proxy.wait_for_answers(CLAIM).await;
    let after = platform.find(&big).await;
    assert_eq!(after.get_str("owner").ok(), claimed.get_str("owner").ok(), "the claim has changed");
    other_mails.set_mailbox(&player, Mailbox::Good);
    let sent = platform.wait_for(&big, "sent").await;
    assert_eq!(tally(&sent), (1, 0, 0));
    assert_eq!((platform.mails.to(&email).len(), other_mails.to(&email).len()), (0, 1));
}

/// The first process was paused for longer than its claim lasted, and continues when the second one has the e-mail.
#[tokio::test(flavor = "multi_thread")]
async fn lost_claim_sends_and_stores_nothing() {
    // Nothing is renewed meanwhile, so the lost claim is detected at the hand-over.
    let platform = Platform::start_with(&[("PITBOSS__MAIL__CLAIM_MS", "600000")]).await;
    let player = testkit::unique("player");
    platform.mails.set_mailbox(&player, Mailbox::BlocksBeforeContent);
    let (big, email) = platform.store_due(&player, doc! {}).await;
    platform.mails.wait_for_blocked(1).await;
    let claimed = platform.find(&big).await;
    let first = claimed.get_str("owner").unwrap();
    assert_eq!(claimed.get_str("held_back_by").ok(), Some(first), "it was handed over too early");

    let (other_mails, smtp) = MailServer::start().await;
    other_mails.set_mailbox(&player, Mailbox::BlocksBeforeContent);
    let _other = platform.start_another(smtp).await;
    platform.update(&big, doc! { "due_at": DateTime::from_millis(0) }).await;
    other_mails.wait_for_blocked(1).await;
    let taken_over = platform.find(&big).await;
    let second = taken_over.get_str("owner").unwrap();
    assert_ne!(second, first);

    platform.mails.set_mailbox(&player, Mailbox::Good);
    platform.mails.wait_for_disconnects(1).await;
    assert_eq!(platform.mails.to(&email).len(), 0);
    let after = platform.find(&big).await;
    assert_eq!(
        (after.get_str("owner").ok(), after.get_str("held_back_by").ok()),
        (Some(second), Some(second))
    );
    other_mails.set_mailbox(&player, Mailbox::Good);
    let sent = platform.wait_for(&big, "sent").await;
    // The first process had certainly not handed the e-mail over, so its attempt counts as put off.
    assert_eq!(tally(&sent), (2, 0, 1));
    assert_eq!((platform.mails.to(&email).len(), other_mails.to(&email).len()), (0, 1));
}

//! Test of a shutdown while e-mails are in flight before the content. The case after the hand-over is in `mailboxes`.

use store::bson::doc;

use crate::harness::{Platform, tally};
use crate::smtp::Mailbox;

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_before_content_releases_claim() {
    let mut platform = Platform::start().await;
    let player = testkit::unique("player");
    platform.mails.set_mailbox(&player, Mailbox::BlocksBeforeContent);
    let (big, email) = platform.store_due(&player, doc! {}).await;
    platform.mails.wait_for_blocked(1).await;
    platform.stop().await;
    let given_back = platform.find(&big).await;
    assert_eq!((given_back.get_str("state").ok(), tally(&given_back)), (Some("due"), (0, 0, 0)));

    platform.mails.set_mailbox(&player, Mailbox::Good);
    platform.start_again().await;
    assert_eq!(tally(&platform.wait_for(&big, "sent").await), (1, 0, 0));
    assert_eq!(platform.mails.to(&email).len(), 1);
}

//! Test of a shutdown while e-mails are in flight before the content. The case after the hand-over is in `mailboxes`.

use store::bson::doc;

use crate::harness::{Platform, tally};
use crate::smtp::Mailbox;

#[tokio::test(flavor = "multi_thread")]
async fn an_end_before_the_content_is_offered_gives_the_mail_back() {
    let mut platform = Platform::start().await;
    let player = testkit::unique("player");
    platform.mails.let_be(&player, Mailbox::WaitsBeforeTheContent);
    let (big, email) = platform.store_due(&player, doc! {}).await;
    platform.mails.until_waited(1).await;
    platform.end().await;
    let given_back = platform.find(&big).await;
    assert_eq!((given_back.get_str("state").ok(), tally(&given_back)), (Some("due"), (0, 0, 0)));

    platform.mails.let_be(&player, Mailbox::Good);
    platform.begin().await;
    assert_eq!(tally(&platform.wait_for(&big, "sent").await), (1, 0, 0));
    assert_eq!(platform.mails.to(&email).len(), 1);
}

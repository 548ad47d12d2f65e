//! Tests that an answer of the server before the content, or a missing one, is never an unknown outcome.

use store::bson::doc;

use crate::harness::{Platform, TIMEOUT, tally};
use crate::smtp::Mailbox;

/// A refusal in the greeting concerns the server and not the e-mail.
#[tokio::test(flavor = "multi_thread")]
async fn refusal_in_greeting_puts_mail_off() {
    let platform = Platform::start().await;
    platform.mails.greet_with(Some("554 no service\r\n"));
    let (big, email) = platform.store_due(&testkit::unique("player"), doc! {}).await;
    let put_off = platform.wait_for_put_off(&big).await;
    assert_eq!(put_off.get_str("why").ok(), Some("the mail server greeted with code 554"));
    platform.mails.greet_with(None);
    platform.wait_for(&big, "sent").await;
    assert_eq!(platform.mails.to(&email).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_before_content_puts_mail_off() {
    let soon = ("PITBOSS__MAIL__TIMEOUTS__COMMAND_MS", "1000");
    let platform = Platform::start_with(&[soon]).await;
    for (bad, why) in [
        (Mailbox::ClosesBeforeContent, "the connection was lost"),
        (Mailbox::BlocksBeforeContent, "no answer in time"),
    ] {
        let player = testkit::unique("player");
        platform.mails.set_mailbox(&player, bad);
        let (big, email) = platform.store_due(&player, doc! {}).await;
        testkit::eventually(why, TIMEOUT, || async {
            let now = platform.find(&big).await;
            (tally(&now).2 > 0 && now.get_str("why").ok() == Some(why)).then_some(())
        })
        .await;
        platform.mails.set_mailbox(&player, Mailbox::Good);
        let (_, unknown, _) = tally(&platform.wait_for(&big, "sent").await);
        assert_eq!((platform.mails.to(&email).len(), unknown), (1, 0), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn non_ascii_address_needs_smtputf8() {
    let platform = Platform::start().await;
    let (refused, email) = platform.store_due(&testkit::unique("jürgen"), doc! {}).await;
    let ended = platform.wait_for(&refused, "refused").await;
    assert_eq!(ended.get_str("why").ok(), Some("the mail server does not accept non-ASCII addresses"));
    assert_eq!(platform.mails.to(&email).len(), 0);

    platform.mails.accept_utf8();
    for (name, is_utf8) in [("jürgen", true), ("ada", false)] {
        let (big, email) = platform.store_due(&testkit::unique(name), doc! {}).await;
        platform.wait_for(&big, "sent").await;
        let mails = platform.mails.to(&email);
        assert_eq!((mails.len(), mails[0].from.contains(" SMTPUTF8")), (1, is_utf8), "{name}: {mails:?}");
    }
}

//! Tests that an answer of the server before the content, or a missing one, is never an unknown outcome.

use store::bson::doc;

use crate::harness::{PATIENCE, Platform, tally};
use crate::smtp::Mailbox;

/// A refusal in the greeting concerns the server and not the e-mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_server_refuses_everybody_is_put_off() {
    let platform = Platform::start().await;
    platform.mails.greet_with(Some("554 nobody\r\n"));
    let (big, email) = platform.store_due(&testkit::unique("player"), doc! {}).await;
    let put_off = testkit::eventually("the mail to be put off", PATIENCE, || async {
        let now = platform.find(&big).await;
        (tally(&now).2 > 0).then_some(now)
    })
    .await;
    assert_eq!(put_off.get_str("why").ok(), Some("the server greets with code 554"));
    platform.mails.greet_with(None);
    platform.wait_for(&big, "sent").await;
    assert_eq!(platform.mails.to(&email).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_breaks_off_before_the_content_is_put_off() {
    let soon = ("PITBOSS__MAIL__TIMEOUTS__COMMAND_MS", "1000");
    let platform = Platform::start_with(&[soon]).await;
    for (bad, why) in [
        (Mailbox::HangsUpBeforeTheContent, "the connection broke"),
        (Mailbox::WaitsBeforeTheContent, "no answer in time"),
    ] {
        let player = testkit::unique("player");
        platform.mails.let_be(&player, bad);
        let (big, email) = platform.store_due(&player, doc! {}).await;
        testkit::eventually(why, PATIENCE, || async {
            let now = platform.find(&big).await;
            (tally(&now).2 > 0 && now.get_str("why").ok() == Some(why)).then_some(())
        })
        .await;
        platform.mails.let_be(&player, Mailbox::Good);
        let (_, unknown, _) = tally(&platform.wait_for(&big, "sent").await);
        assert_eq!((platform.mails.to(&email).len(), unknown), (1, 0), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_beyond_ascii_goes_to_a_server_that_takes_it_and_is_refused_elsewhere() {
    let platform = Platform::start().await;
    let (refused, email) = platform.store_due(&testkit::unique("jürgen"), doc! {}).await;
    let ended = platform.wait_for(&refused, "refused").await;
    assert_eq!(ended.get_str("why").ok(), Some("the server takes no addresses beyond ASCII"));
    assert_eq!(platform.mails.to(&email).len(), 0);

    platform.mails.take_utf8();
    for (name, is_told) in [("jürgen", true), ("ada", false)] {
        let (big, email) = platform.store_due(&testkit::unique(name), doc! {}).await;
        platform.wait_for(&big, "sent").await;
        let mails = platform.mails.to(&email);
        assert_eq!((mails.len(), mails[0].from.contains(" SMTPUTF8")), (1, is_told), "{name}: {mails:?}");
    }
}

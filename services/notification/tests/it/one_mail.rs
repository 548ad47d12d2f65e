//! Tests that an event causes one e-mail in spite of redeliveries and kills, and only for players who want e-mails.

use std::time::Duration;

use store::bson::doc;

use crate::harness::{Platform, prefers, registered, win};

/// Asserts that each event caused exactly one e-mail, besides those of the markers.
fn assert_one_mail_each(platform: &Platform, email: &str, events: usize, markers: usize) {
    let mails = platform.mails.to(email);
    assert_eq!(mails.len(), events + markers, "not one mail for each event: {} mails", mails.len());
    let ids: std::collections::BTreeSet<_> =
        mails.iter().map(|mail| mail.header("Message-ID").unwrap()).collect();
    assert_eq!(ids.len(), mails.len(), "not one mail for each event: a Message-ID came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn redelivered_win_sends_one_mail() {
    let mut platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    let big = win(&player, 100, 2_000);
    platform.publish(&win(&player, 100, 1_999)).await;
    for _ in 0..3 {
        platform.publish(&big).await;
    }
    platform.flush(&player).await;
    assert_one_mail_each(&platform, &email, 1, 1);
    let mail = &platform.mails.to(&email)[0];
    assert_eq!(mail.header("Message-ID"), Some(format!("<{}.email@pitboss.invalid>", big.id).as_str()));
    assert_eq!(mail.header("Subject"), Some("You won 20.00 EUR"));

    platform.restart().await;
    platform.publish(&big).await;
    platform.flush(&player).await;
    assert_one_mail_each(&platform, &email, 1, 2);
}

/// Negative test: a service that loses the record of what it has sent is caught by the same check.
#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "not one mail for each event")]
async fn lost_send_record_is_detected() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    let big = win(&player, 100, 5_000);
    platform.publish(&big).await;
    platform.wait_for(&big, "sent").await;
    platform.sent().delete_many(doc! {}).await.unwrap();
    platform.publish(&big).await;
    platform.flush(&player).await;
    assert_one_mail_each(&platform, &email, 1, 1);
}

/// A process died after the server had accepted the e-mail and before it stored that.
#[tokio::test(flavor = "multi_thread")]
async fn crash_after_send_repeats_mail_once() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    let big = win(&player, 100, 2_500);
    platform.publish(&big).await;
    platform.wait_for(&big, "sent").await;
    platform.claim_by_dead_process(&big).await;
    platform.wait_for(&big, "sent").await;
    platform.publish(&big).await;
    platform.flush(&player).await;
    let mails = platform.mails.to(&email);
    assert_eq!(mails.len(), 3, "the mail, one more, and the marker's");
    assert_eq!(mails[0].header("Message-ID"), mails[1].header("Message-ID"));
    assert_eq!(mails[0].raw, mails[1].raw, "the same mail, byte for byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn put_off_mail_is_sent_later() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    platform.mails.fail_next(3);
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    let sent = platform.wait_for(&big, "sent").await;
    assert_eq!(platform.mails.failures_left(), 0);
    assert_eq!(sent.get_i32("attempts").ok(), Some(4));
    assert_one_mail_each(&platform, &email, 1, 0);
}

/// A permanent refusal ends the e-mail, also for a replay, and does not affect the next one.
#[tokio::test(flavor = "multi_thread")]
async fn refused_mail_is_not_repeated() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    platform.mails.refuse_next(1);
    let refused = win(&player, 100, 2_000);
    platform.publish(&refused).await;
    let ended = platform.wait_for(&refused, "refused").await;
    assert_eq!((ended.get_i32("attempts").ok(), ended.get_str("why").ok()), (Some(1), Some("code 550")));
    platform.publish(&refused).await;
    platform.flush(&player).await;
    assert_one_mail_each(&platform, &email, 0, 1);
    assert_eq!(platform.dead_letters().await, 0, "its record was handled");
}

#[tokio::test(flavor = "multi_thread")]
async fn opted_out_player_gets_no_mail() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    let mut earlier = prefers(&player, true);
    earlier.time -= Duration::from_secs(60);
    let off = prefers(&player, false);
    platform.publish(&off).await;
    platform.publish(&registered(&player, &email)).await;
    platform.publish(&earlier).await;
    let mut of_same_time = prefers(&player, true);
    of_same_time.time = off.time;
    platform.publish(&of_same_time).await;
    platform.publish(&off).await;
    // Events of one player are handled in order. When this address is known, all earlier ones have been handled.
    let email = format!("moved-{email}");
    platform.register_at(&player, &email).await;
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    let skipped = platform.wait_for(&big, "skipped").await;
    assert_eq!(skipped.get_str("why").ok(), Some("unwanted"));
    assert_eq!(platform.mails.to(&email).len(), 0);
}

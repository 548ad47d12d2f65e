//! Tests for bad mailboxes and slow servers: an e-mail is repeated a bounded number of times and does not delay other players.

use store::bson::{DateTime, doc};

use crate::harness::{Platform, TIMEOUT, tally, win};
use crate::smtp::{MailServer, Mailbox};

/// The server accepts the e-mail but does not answer. No process is killed, and the player gets it at most twice.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_outcome_is_repeated_once_then_parked() {
    let platform = Platform::start_with(&[("PITBOSS__MAIL__TIMEOUTS__ACCEPTED_MS", "3000")]).await;
    let (silent, other) = (testkit::unique("silent"), testkit::unique("other"));
    let (email, others) = (platform.register(&silent).await, platform.register(&other).await);
    platform.mails.set_mailbox(&silent, Mailbox::NeverAnswers);
    let big = win(&silent, 100, 2_000);
    platform.publish(&big).await;
    let parked = platform.wait_for(&big, "parked").await;
    assert_eq!((parked.get_i32("attempts").ok(), parked.get_i32("unknown").ok()), (Some(2), Some(2)));
    let mails = platform.mails.to(&email);
    assert_eq!(mails.len(), 2, "once, and once more");
    assert_eq!(mails[0].raw, mails[1].raw, "the same mail, with the same Message-ID");

    platform.publish(&big).await;
    platform.publish(&win(&other, 100, 2_000)).await;
    platform.flush(&other).await;
    assert_eq!(platform.mails.to(&others).len(), 2);
    assert_eq!(platform.mails.to(&email).len(), 2, "a replay does not send it");
    let (status, listed) = platform.request("GET", "/internal/v1/parked").await;
    assert_eq!((status, listed["parked"].as_array().map(Vec::len)), (200, Some(1)));
    assert_eq!(listed["parked"][0]["event_id"], big.id.as_str());
    assert_eq!(listed["parked"][0]["player_id"], silent);

    platform.mails.set_mailbox(&silent, Mailbox::Good);
    let path = format!("/internal/v1/parked/{}/retry", big.id);
    assert_eq!(platform.request("POST", &path).await.0, 202);
    platform.wait_for(&big, "sent").await;
    assert_eq!(platform.mails.to(&email).len(), 3);
    assert_eq!(platform.request("POST", &path).await.0, 404, "it is no longer parked");
}

/// A server that answers slowly, but within the protocol's time-out, gets an e-mail once. The claim is renewed meanwhile, so no
/// other process takes it over.
#[tokio::test(flavor = "multi_thread")]
async fn slow_server_gets_mail_once() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    platform.mails.set_mailbox(&player, Mailbox::AnswersAfterChange);
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    platform.mails.wait_for_mails(&email, 1).await;
    let (other_mails, smtp) = MailServer::start().await;
    let _other = platform.start_another(smtp).await;
    let claimed = platform.find(&big).await;
    let runs_out_at = claimed.get_datetime("due_at").ok().copied();
    let renewed = testkit::eventually("the claim to hold for longer", TIMEOUT, || async {
        let now = platform.find(&big).await;
        (now.get_datetime("due_at").ok().copied() > runs_out_at).then_some(now)
    })
    .await;
    assert_eq!(renewed.get_str("owner").ok(), claimed.get_str("owner").ok(), "another process took it over");
    platform.mails.set_mailbox(&player, Mailbox::Good);
    let sent = platform.wait_for(&big, "sent").await;
    assert_eq!(tally(&sent), (1, 0, 0));
    assert_eq!((platform.mails.to(&email).len(), other_mails.to(&email).len()), (1, 0));
}

/// The lane and the slots stay free although every e-mail of one player is put off or never answered.
#[tokio::test(flavor = "multi_thread")]
async fn bad_mailbox_delays_no_other_player() {
    const WINS: usize = 20;
    let few_slots = ("PITBOSS__MAIL__CONCURRENT_MAX", "2");
    let platform = Platform::start_with(&[few_slots]).await;
    for bad in [Mailbox::AlwaysPutsOff, Mailbox::NeverAnswers] {
        let (affected, other) = (testkit::unique("bad"), testkit::unique("other"));
        platform.register(&affected).await;
        let email = platform.register(&other).await;
        platform.mails.set_mailbox(&affected, bad);
        for _ in 0..WINS {
            // Without a key, so that chance does not decide if both players share a lane.
            platform.publish_without_key(&win(&affected, 100, 2_000)).await;
        }
        let unaffected = win(&other, 100, 2_000);
        platform.publish_without_key(&unaffected).await;
        platform.wait_for(&unaffected, "sent").await;
        assert_eq!(platform.mails.to(&email).len(), 1, "{bad:?}");
        let all = doc! { "player_id": &affected };
        testkit::eventually("all of the bad mailbox's wins to be handled", TIMEOUT, || async {
            (platform.sent().count(all.clone()).await.unwrap() == WINS as u64).then_some(())
        })
        .await;
    }
}

/// There are as many bad mailboxes as slots. One of two slots stays free for e-mails without earlier attempts.
#[tokio::test(flavor = "multi_thread")]
async fn retries_use_half_of_slots() {
    let mut platform = Platform::start_with(&[("PITBOSS__MAIL__CONCURRENT_MAX", "2")]).await;
    // Both are due at the same time, before every other e-mail, when the next process makes its first pass.
    platform.stop().await;
    for _ in 0..2 {
        let player = testkit::unique("bad");
        platform.mails.set_mailbox(&player, Mailbox::NeverAnswers);
        let tried = doc! { "attempts": 1, "put_off": 1, "due_at": DateTime::from_millis(-1) };
        platform.store_due(&player, tried).await;
    }
    platform.start_again().await;
    let count = async |state: &str| platform.sent().count(doc! { "state": state }).await.unwrap();
    testkit::eventually("a bad mailbox to have a slot", TIMEOUT, || async {
        (count("claimed").await > 0).then_some(())
    })
    .await;
    let other = testkit::unique("other");
    platform.register(&other).await;
    platform.flush(&other).await;
    assert_eq!((count("claimed").await, count("due").await), (1, 1));
}

/// A retry by an operator starts with new counters.
#[tokio::test(flavor = "multi_thread")]
async fn mail_put_off_too_often_is_parked() {
    let platform = Platform::start_with(&[("PITBOSS__MAIL__PUT_OFF_MAX", "3")]).await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    platform.mails.set_mailbox(&player, Mailbox::AlwaysPutsOff);
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    let parked = platform.wait_for(&big, "parked").await;
    assert_eq!((tally(&parked), parked.get_str("why").ok()), ((3, 0, 3), Some("code 451")));
    let (status, listed) = platform.request("GET", "/internal/v1/parked").await;
    assert_eq!(status, 200);
    let entry = &listed["parked"][0];
    assert_eq!((&entry["attempts"], &entry["unknown"], &entry["put_off"]), (&3.into(), &0.into(), &3.into()));
    assert!(!listed.to_string().contains('@'), "the list contains an address: {listed}");

    assert_eq!(platform.request("POST", &format!("/internal/v1/parked/{}/retry", big.id)).await.0, 202);
    let parked_again = platform.wait_for(&big, "parked").await;
    assert_eq!(tally(&parked_again), (6, 0, 3));
    assert_eq!(platform.mails.to(&email).len(), 0);
}

/// A process that dies before the hand-over has certainly not sent the e-mail, so the outcome is not unknown. After the claim has
/// expired, another process takes over.
#[tokio::test(flavor = "multi_thread")]
async fn crash_before_hand_over_is_no_unknown_outcome() {
    let mut platform = Platform::start().await;
    let player = testkit::unique("player");
    platform.mails.set_mailbox(&player, Mailbox::BlocksBeforeContent);
    // One attempt already has an unknown outcome, so a second one would park the e-mail.
    let (big, email) = platform.store_due(&player, doc! { "attempts": 1, "unknown": 1 }).await;
    platform.mails.wait_for_blocked(1).await;
    let (other_mails, smtp) = MailServer::start().await;
    other_mails.set_mailbox(&player, Mailbox::NeverAnswers);
    let _other = platform.start_another(smtp).await;
    platform.kill().await;
    platform.mails.wait_for_disconnects(1).await;
    platform.update(&big, doc! { "due_at": DateTime::from_millis(0) }).await;
    other_mails.wait_for_mails(&email, 1).await;
    let claimed = platform.find(&big).await;
    assert_eq!(claimed.get_str("state").ok(), Some("claimed"));
    assert!(!claimed.contains_key("held_back_by"), "the hand-over is not stored: {claimed}");
    assert_eq!(platform.mails.to(&email).len(), 0);
}

/// Covers a claim whose holder had handed the e-mail over, and a claim of an older build, which did not store that.
#[tokio::test(flavor = "multi_thread")]
async fn crash_after_hand_over_is_unknown_outcome() {
    let platform = Platform::start().await;
    for held_back_by in [None, Some("owner of an earlier claim")] {
        let player = testkit::unique("player");
        let big = win(&player, 100, 2_000);
        platform.publish(&big).await;
        platform.wait_for(&big, "waiting").await;
        let left_by_dead_process = doc! {
            "state": "claimed", "owner": "dead-process", "held_back_by": held_back_by,
            "due_at": DateTime::from_millis(0), "attempts": 2, "unknown": 1,
        };
        platform.update(&big, left_by_dead_process).await;
        let parked = platform.wait_for(&big, "parked").await;
        assert_eq!(parked.get_i32("unknown").ok(), Some(2));
    }
}

/// An e-mail in flight at shutdown is stored as unknown and not lost, and the next process sends it once more.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_after_hand_over_repeats_mail_once() {
    let mut platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    platform.mails.set_mailbox(&player, Mailbox::NeverAnswers);
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    platform.mails.wait_for_mails(&email, 1).await;
    platform.mails.set_mailbox(&player, Mailbox::Good);
    platform.restart().await;
    let sent = platform.wait_for(&big, "sent").await;
    assert_eq!((sent.get_i32("attempts").ok(), sent.get_i32("unknown").ok()), (Some(2), Some(1)));
    assert_eq!(platform.mails.to(&email).len(), 2);
}

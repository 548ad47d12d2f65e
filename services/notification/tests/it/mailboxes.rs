//! Tests for bad mailboxes and slow servers: an e-mail is repeated a bounded number of times and does not delay other players.

use store::bson::{DateTime, doc};

use crate::harness::{PATIENCE, Platform, tally, win};
use crate::smtp::{MailServer, Mailbox};

/// The server accepts the e-mail but does not answer. No process is killed, and the player gets it at most twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_outcome_is_unknown_is_sent_once_more_and_then_parked() {
    let platform = Platform::start_with(&[("PITBOSS__MAIL__TIMEOUTS__ACCEPTED_MS", "3000")]).await;
    let (silent, other) = (testkit::unique("silent"), testkit::unique("other"));
    let (email, others) = (platform.register(&silent).await, platform.register(&other).await);
    platform.mails.let_be(&silent, Mailbox::TakesAndSaysNothing);
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
    let (status, listed) = platform.ask("GET", "/internal/v1/parked").await;
    assert_eq!((status, listed["parked"].as_array().map(Vec::len)), (200, Some(1)));
    assert_eq!(listed["parked"][0]["event_id"], big.id.as_str());
    assert_eq!(listed["parked"][0]["player_id"], silent);

    platform.mails.let_be(&silent, Mailbox::Good);
    let path = format!("/internal/v1/parked/{}/retry", big.id);
    assert_eq!(platform.ask("POST", &path).await.0, 202);
    platform.wait_for(&big, "sent").await;
    assert_eq!(platform.mails.to(&email).len(), 3);
    assert_eq!(platform.ask("POST", &path).await.0, 404, "it is no longer parked");
}

/// A server that answers slowly, but within the protocol's time-out, gets an e-mail once. The claim is renewed meanwhile, so no
/// other process takes it over.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_late_gets_a_mail_once() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    platform.mails.let_be(&player, Mailbox::TakesWhenTold);
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    platform.mails.until_here(&email, 1).await;
    let (others_mails, smtp) = MailServer::start().await;
    let _other = platform.another(smtp).await;
    let claimed = platform.find(&big).await;
    let runs_out_at = claimed.get_datetime("due_at").ok().copied();
    let renewed = testkit::eventually("the claim to hold for longer", PATIENCE, || async {
        let now = platform.find(&big).await;
        (now.get_datetime("due_at").ok().copied() > runs_out_at).then_some(now)
    })
    .await;
    assert_eq!(renewed.get_str("owner").ok(), claimed.get_str("owner").ok(), "somebody took it over");
    platform.mails.let_be(&player, Mailbox::Good);
    let sent = platform.wait_for(&big, "sent").await;
    assert_eq!(tally(&sent), (1, 0, 0));
    assert_eq!((platform.mails.to(&email).len(), others_mails.to(&email).len()), (1, 0));
}

/// The lane and the places stay free although every e-mail of one player is put off or never answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_mailbox_holds_up_neither_other_players_nor_the_group() {
    const WINS: usize = 20;
    let few_places = ("PITBOSS__MAIL__CONCURRENT_MAX", "2");
    let platform = Platform::start_with(&[few_places]).await;
    for bad in [Mailbox::AlwaysLater, Mailbox::TakesAndSaysNothing] {
        let (harmed, other) = (testkit::unique("bad"), testkit::unique("other"));
        platform.register(&harmed).await;
        let email = platform.register(&other).await;
        platform.mails.let_be(&harmed, bad);
        for _ in 0..WINS {
            // Without a key, so that chance does not decide if both players share a lane.
            platform.publish_without_key(&win(&harmed, 100, 2_000)).await;
        }
        let unharmed = win(&other, 100, 2_000);
        platform.publish_without_key(&unharmed).await;
        platform.wait_for(&unharmed, "sent").await;
        assert_eq!(platform.mails.to(&email).len(), 1, "{bad:?}");
        let all = doc! { "player_id": &harmed };
        testkit::eventually("all of the bad mailbox's wins to be handled", PATIENCE, || async {
            (platform.sent().count(all.clone()).await.unwrap() == WINS as u64).then_some(())
        })
        .await;
    }
}

/// There are as many bad mailboxes as places. One of two places stays free for e-mails without earlier attempts.
#[tokio::test(flavor = "multi_thread")]
async fn mails_that_were_tried_before_get_half_of_the_places() {
    let mut platform = Platform::start_with(&[("PITBOSS__MAIL__CONCURRENT_MAX", "2")]).await;
    // Both are due at the same time, before every other e-mail, when the next process makes its first pass.
    platform.end().await;
    for _ in 0..2 {
        let player = testkit::unique("bad");
        platform.mails.let_be(&player, Mailbox::TakesAndSaysNothing);
        let tried = doc! { "attempts": 1, "put_off": 1, "due_at": DateTime::from_millis(-1) };
        platform.store_due(&player, tried).await;
    }
    platform.begin().await;
    let count = async |state: &str| platform.sent().count(doc! { "state": state }).await.unwrap();
    testkit::eventually("a bad mailbox to have a place", PATIENCE, || async {
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
async fn a_mail_that_is_put_off_too_often_is_parked() {
    let platform = Platform::start_with(&[("PITBOSS__MAIL__PUT_OFF_MAX", "3")]).await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    platform.mails.let_be(&player, Mailbox::AlwaysLater);
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    let parked = platform.wait_for(&big, "parked").await;
    assert_eq!((tally(&parked), parked.get_str("why").ok()), ((3, 0, 3), Some("code 451")));
    let (status, listed) = platform.ask("GET", "/internal/v1/parked").await;
    assert_eq!(status, 200);
    let told = &listed["parked"][0];
    assert_eq!((&told["attempts"], &told["unknown"], &told["put_off"]), (&3.into(), &0.into(), &3.into()));
    assert!(!listed.to_string().contains('@'), "an address is told: {listed}");

    assert_eq!(platform.ask("POST", &format!("/internal/v1/parked/{}/retry", big.id)).await.0, 202);
    let parked_again = platform.wait_for(&big, "parked").await;
    assert_eq!(tally(&parked_again), (6, 0, 3));
    assert_eq!(platform.mails.to(&email).len(), 0);
}

/// A process that dies before the hand-over has certainly not sent the e-mail, so the outcome is not unknown. After the claim has
/// expired, another process takes over.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_before_the_hand_over_is_no_unknown_outcome() {
    let mut platform = Platform::start().await;
    let player = testkit::unique("player");
    platform.mails.let_be(&player, Mailbox::WaitsBeforeTheContent);
    // One attempt already has an unknown outcome, so a second one would park the e-mail.
    let (big, email) = platform.store_due(&player, doc! { "attempts": 1, "unknown": 1 }).await;
    platform.mails.until_waited(1).await;
    let (others_mails, smtp) = MailServer::start().await;
    others_mails.let_be(&player, Mailbox::TakesAndSaysNothing);
    let _other = platform.another(smtp).await;
    platform.die().await;
    platform.mails.until_left(1).await;
    platform.set(&big, doc! { "due_at": DateTime::from_millis(0) }).await;
    others_mails.until_here(&email, 1).await;
    let claimed = platform.find(&big).await;
    assert_eq!(claimed.get_str("state").ok(), Some("claimed"));
    assert!(!claimed.contains_key("held_back_by"), "whoever takes this claim over does not know: {claimed}");
    assert_eq!(platform.mails.to(&email).len(), 0);
}

/// Covers a claim whose holder had handed the e-mail over, and a claim of an older build, which did not store that.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_after_the_hand_over_is_an_unknown_outcome() {
    let platform = Platform::start().await;
    for held_back_by in [None, Some("the owner of an earlier claim")] {
        let player = testkit::unique("player");
        let big = win(&player, 100, 2_000);
        platform.publish(&big).await;
        platform.wait_for(&big, "waiting").await;
        let as_the_dead_left_it = doc! { "$set": {
            "state": "claimed", "owner": "the dead", "held_back_by": held_back_by,
            "due_at": DateTime::from_millis(0), "attempts": 2, "unknown": 1,
        } };
        let id = format!("{}/email", big.id);
        platform.sent().update_one(doc! { "_id": &id }, as_the_dead_left_it).await.unwrap();
        let parked = platform.wait_for(&big, "parked").await;
        assert_eq!(parked.get_i32("unknown").ok(), Some(2));
    }
}

/// An e-mail in flight at shutdown is stored as unknown and not lost, and the next process sends it once more.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_while_the_server_has_the_mail_costs_one_more() {
    let mut platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    platform.mails.let_be(&player, Mailbox::TakesAndSaysNothing);
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    platform.mails.until_here(&email, 1).await;
    platform.mails.let_be(&player, Mailbox::Good);
    platform.restart().await;
    let sent = platform.wait_for(&big, "sent").await;
    assert_eq!((sent.get_i32("attempts").ok(), sent.get_i32("unknown").ok()), (Some(2), Some(1)));
    assert_eq!(platform.mails.to(&email).len(), 2);
}

//! Bad mailboxes and slow servers: a mail is repeated a bounded number of times, and holds up nobody else.

use std::time::Duration;

use store::bson::{DateTime, Document, doc};

use crate::harness::{PATIENCE, Platform, win};
use crate::smtp::Mailbox;

/// The server has the mail and does not say so. Nobody was killed, and the player gets it twice at most.
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

/// Slow is not silent: a server that answers within the time that the protocol gives it gets a mail once.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_late_gets_a_mail_once() {
    let claim = ("PITBOSS__MAIL__CLAIM_MS", "2000");
    let platform = Platform::start_with(&[claim]).await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    // Longer than a claim: it is renewed while the server is waited for.
    platform.mails.let_be(&player, Mailbox::TakesLate(Duration::from_secs(5)));
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    let sent = platform.wait_for(&big, "sent").await;
    assert_eq!((sent.get_i32("attempts").ok(), platform.mails.to(&email).len()), (Some(1), 1));
}

/// The lane and the places are free although every mail of one player is put off, or never answered.
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
            // Without a key, so that it does not depend on chance whether both players share a lane.
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

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_put_off_too_often_is_parked() {
    let platform = Platform::start_with(&[("PITBOSS__MAIL__PUT_OFF_MAX", "3")]).await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    platform.mails.let_be(&player, Mailbox::AlwaysLater);
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    let parked = platform.wait_for(&big, "parked").await;
    assert_eq!((parked.get_i32("attempts").ok(), parked.get_str("why").ok()), (Some(3), Some("code 451")));
    assert_eq!(platform.mails.to(&email).len(), 0);
}

/// Processes that die before they hand a mail over have certainly not sent it: that is no unknown outcome.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_before_the_hand_over_is_no_unknown_outcome() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = format!("{player}@mail.example");
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    platform.wait_for(&big, "waiting").await;
    let contacts = platform.mongo.collection::<Document>("contacts");
    contacts.insert_one(&doc! { "_id": &player, "email": &email }).await.unwrap();
    // One attempt has an unknown outcome already: a second one would park the mail.
    let as_the_dead_left_it = doc! { "$set": {
        "state": "claimed", "owner": "the dead", "held_back_by": "the dead", "due_at": DateTime::from_millis(0),
        "attempts": 2, "unknown": 1,
    } };
    let id = format!("{}/email", big.id);
    platform.mails.let_be(&player, Mailbox::TakesAndSaysNothing);
    platform.sent().update_one(doc! { "_id": &id }, as_the_dead_left_it).await.unwrap();
    testkit::eventually("the server to have the mail", PATIENCE, || async {
        (platform.mails.to(&email).len() == 1).then_some(())
    })
    .await;
    let claimed = platform.sent().find_one(doc! { "_id": &id }).await.unwrap().unwrap();
    assert_eq!(claimed.get_str("state").ok(), Some("claimed"));
    assert!(!claimed.contains_key("held_back_by"), "whoever takes this claim over does not know: {claimed}");
}

/// A claim whose holder had handed the mail over, and one of an older build, which did not say.
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

/// What is under way when the process ends is noted as unknown, not forgotten, and the next process sends it once more.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_while_the_server_has_the_mail_costs_one_more() {
    let mut platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    platform.mails.let_be(&player, Mailbox::TakesAndSaysNothing);
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    testkit::eventually("the server to have the mail", PATIENCE, || async {
        (platform.mails.to(&email).len() == 1).then_some(())
    })
    .await;
    platform.mails.let_be(&player, Mailbox::Good);
    platform.restart().await;
    let sent = platform.wait_for(&big, "sent").await;
    assert_eq!((sent.get_i32("attempts").ok(), sent.get_i32("unknown").ok()), (Some(2), Some(1)));
    assert_eq!(platform.mails.to(&email).len(), 2);
}

//! Tests for a big win that is read before its player's registration. It waits without blocking its lane and is sent once,
//! regardless of the order of the two records and of a death between two writes.

use store::bson::{DateTime, Document, doc};

use crate::harness::{PATIENCE, Platform, address, prefers, registered, win};

/// Asserts that this number of e-mails arrived besides the marker's, and none for redelivered records.
async fn assert_mails(platform: &Platform, player: &str, expected: usize) {
    // Registrations of one player are handled in order. When this address is known, all earlier ones have been handled.
    let moved = format!("moved-{}", address(player));
    platform.publish(&registered(player, &moved)).await;
    let contacts = platform.mongo.collection::<Document>("contacts");
    testkit::eventually("the new address", PATIENCE, || async {
        contacts.find_one(doc! { "_id": player, "email": &moved }).await.unwrap().map(drop)
    })
    .await;
    platform.flush(player).await;
    // The marker's address ends like the first one.
    assert_eq!(platform.mails.to(&address(player)).len(), expected + 1, "and the marker's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_win_that_is_read_before_the_registration_goes_out_with_it() {
    let mut platform = Platform::start().await;
    let player = testkit::unique("player");
    let (big, who) = (win(&player, 100, 2_000), registered(&player, &address(&player)));
    platform.publish(&big).await;
    platform.wait_for(&big, "waiting").await;
    platform.publish(&big).await;
    platform.restart().await;
    platform.publish(&who).await;
    platform.wait_for(&big, "sent").await;
    platform.publish(&who).await;
    platform.publish(&big).await;
    assert_mails(&platform, &player, 1).await;
    let mail = &platform.mails.to(&address(&player))[0];
    assert_eq!(mail.header("Message-ID"), Some(format!("<{}.email@pitboss.invalid>", big.id).as_str()));
    assert_eq!(mail.header("Subject"), Some("You won 20.00 EUR"));
}

/// More notifications wait than there are places, and one of them is refused permanently.
#[tokio::test(flavor = "multi_thread")]
async fn all_that_wait_go_out_but_the_refused_one() {
    const WINS: usize = 60;
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let wins: Vec<_> = (0..WINS).map(|_| win(&player, 100, 2_000)).collect();
    for big in &wins {
        platform.publish(big).await;
    }
    for big in &wins {
        platform.wait_for(big, "waiting").await;
    }
    platform.mails.refuse_next(1);
    let who = registered(&player, &address(&player));
    platform.publish(&who).await;
    let documents = platform.sent();
    let count = |state: &'static str| documents.count(doc! { "player_id": &player, "state": state });
    testkit::eventually("all mails but one", PATIENCE, || async {
        (count("sent").await.unwrap() == WINS as u64 - 1).then_some(())
    })
    .await;
    assert_eq!(count("refused").await.unwrap(), 1);
    platform.publish(&who).await;
    assert_mails(&platform, &player, WINS - 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_no_mail_gets_none_that_has_waited_either() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    platform.wait_for(&big, "waiting").await;
    platform.publish(&prefers(&player, false)).await;
    platform.publish(&registered(&player, &address(&player))).await;
    let skipped = platform.wait_for(&big, "skipped").await;
    assert_eq!(skipped.get_str("why").ok(), Some("unwanted"));
    assert_eq!(platform.mails.to(&address(&player)).len(), 0);
}

/// The process that stored the waiting notification died before its second check, and the registration had found nothing by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_after_the_wait_is_noted_loses_nothing() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    platform.wait_for(&big, "waiting").await;
    let contacts = platform.mongo.collection::<Document>("contacts");
    let contact = doc! { "_id": &player, "email": address(&player), "display_name": "Ada" };
    contacts.insert_one(&contact).await.unwrap();
    platform.publish(&big).await;
    platform.wait_for(&big, "sent").await;
    assert_mails(&platform, &player, 1).await;
}

/// The process died after the server had accepted the e-mail that the registration released, and before it stored that.
#[tokio::test(flavor = "multi_thread")]
async fn a_death_while_the_registration_sends_costs_one_more_mail_with_the_same_id() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let (big, who) = (win(&player, 100, 2_000), registered(&player, &address(&player)));
    platform.publish(&big).await;
    platform.wait_for(&big, "waiting").await;
    platform.publish(&who).await;
    platform.wait_for(&big, "sent").await;
    let long_ago = DateTime::from_millis(0);
    let as_the_dead_left_it =
        doc! { "$set": { "state": "claimed", "owner": "the dead", "due_at": long_ago } };
    let id = format!("{}/email", big.id);
    platform.sent().update_one(doc! { "_id": id }, as_the_dead_left_it).await.unwrap();
    platform.publish(&who).await;
    platform.wait_for(&big, "sent").await;
    platform.publish(&who).await;
    assert_mails(&platform, &player, 2).await;
    let mails = platform.mails.to(&address(&player));
    assert_eq!(mails[0].raw, mails[1].raw, "the same mail, byte for byte");
}

/// One of the two records sees the other's write in either order, and they do not cause two e-mails.
#[tokio::test(flavor = "multi_thread")]
async fn a_win_and_the_registration_at_the_same_moment_bring_one_mail() {
    let mut platform = Platform::start().await;
    let players: Vec<_> = (0..60).map(|_| testkit::unique("player")).collect();
    let mut wins = Vec::new();
    for player in &players {
        let (big, who) = (win(player, 100, 2_000), registered(player, &address(player)));
        tokio::join!(platform.publish_without_key(&big), platform.publish_without_key(&who));
        wins.push(big);
    }
    for big in &wins {
        platform.wait_for(big, "sent").await;
    }
    // All work in progress ends before the process does.
    platform.restart().await;
    for player in &players {
        assert_eq!(platform.mails.to(&address(player)).len(), 1, "{player}");
    }
}

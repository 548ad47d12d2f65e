//! Tests for a big win that is read before its player's registration. It waits without blocking its lane and is sent once,
//! regardless of the order of the two records and of a death between two writes.

use store::bson::{Document, doc};

use crate::harness::{Platform, TIMEOUT, address, prefers, registered, win};

/// Asserts that this number of e-mails arrived besides the marker's, and none for redelivered records.
async fn assert_mails(platform: &Platform, player: &str, expected: usize) {
    // Registrations of one player are handled in order. When this address is known, all earlier ones have been handled.
    let moved = format!("moved-{}", address(player));
    platform.register_at(player, &moved).await;
    platform.flush(player).await;
    // The marker's address ends like the first one.
    assert_eq!(platform.mails.to(&address(player)).len(), expected + 1, "and the marker's");
}

#[tokio::test(flavor = "multi_thread")]
async fn win_before_registration_is_sent_after_it() {
    let mut platform = Platform::start().await;
    let player = testkit::unique("player");
    let (big, registration) = (win(&player, 100, 2_000), registered(&player, &address(&player)));
    platform.publish(&big).await;
    platform.wait_for(&big, "waiting").await;
    platform.publish(&big).await;
    platform.restart().await;
    platform.publish(&registration).await;
    platform.wait_for(&big, "sent").await;
    platform.publish(&registration).await;
    platform.publish(&big).await;
    assert_mails(&platform, &player, 1).await;
    let mail = &platform.mails.to(&address(&player))[0];
    assert_eq!(mail.header("Message-ID"), Some(format!("<{}.email@pitboss.invalid>", big.id).as_str()));
    assert_eq!(mail.header("Subject"), Some("You won 20.00 EUR"));
}

/// More notifications wait than there are slots, and one of them is refused permanently.
#[tokio::test(flavor = "multi_thread")]
async fn refused_mail_does_not_stop_waiting_ones() {
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
    let registration = registered(&player, &address(&player));
    platform.publish(&registration).await;
    let documents = platform.sent();
    let count = |state: &'static str| documents.count(doc! { "player_id": &player, "state": state });
    testkit::eventually("all mails but one", TIMEOUT, || async {
        (count("sent").await.unwrap() == WINS as u64 - 1).then_some(())
    })
    .await;
    assert_eq!(count("refused").await.unwrap(), 1);
    platform.publish(&registration).await;
    assert_mails(&platform, &player, WINS - 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_mail_of_opted_out_player_is_skipped() {
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
async fn crash_after_storing_the_wait_loses_nothing() {
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
async fn crash_after_released_send_repeats_mail_once() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let (big, registration) = (win(&player, 100, 2_000), registered(&player, &address(&player)));
    platform.publish(&big).await;
    platform.wait_for(&big, "waiting").await;
    platform.publish(&registration).await;
    platform.wait_for(&big, "sent").await;
    platform.claim_by_dead_process(&big).await;
    platform.publish(&registration).await;
    platform.wait_for(&big, "sent").await;
    platform.publish(&registration).await;
    assert_mails(&platform, &player, 2).await;
    let mails = platform.mails.to(&address(&player));
    assert_eq!(mails[0].raw, mails[1].raw, "the same mail, byte for byte");
}

/// One of the two records sees the other's write in either order, and they do not cause two e-mails.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_win_and_registration_send_one_mail() {
    let mut platform = Platform::start().await;
    let players: Vec<_> = (0..60).map(|_| testkit::unique("player")).collect();
    let mut wins = Vec::new();
    for player in &players {
        let (big, registration) = (win(player, 100, 2_000), registered(player, &address(player)));
        tokio::join!(platform.publish_without_key(&big), platform.publish_without_key(&registration));
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

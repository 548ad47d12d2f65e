//! Tests that documents of another build affect only their own player.

use std::sync::atomic::{AtomicI64, Ordering};

use store::bson::{DateTime, Document, doc};

use crate::harness::{Platform, TIMEOUT, tally, win};

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_documents_affect_only_their_player() {
    let platform = Platform::start().await;
    let (affected, other) = (testkit::unique("affected"), testkit::unique("other"));
    let email = platform.register(&other).await;
    // A newer build stores a currency and a format of contacts that this build does not know.
    let long_ago = DateTime::from_millis(0);
    let newer = doc! {
        "_id": "newer/email", "player_id": "another-player", "state": "due", "due_at": long_ago, "owner": "",
        "win": {
            "event_id": "newer", "game": "slots", "at": long_ago,
            "stake": { "minor": 100_i64, "currency": "XBT" }, "payout": { "minor": 2_000_i64, "currency": "XBT" },
        },
    };
    platform.sent().insert_one(&newer).await.unwrap();
    let contacts = platform.mongo.collection::<Document>("contacts");
    let contact = doc! { "_id": &affected, "email": { "address": "a@b.example", "verified": true } };
    contacts.insert_one(&contact).await.unwrap();

    let unsendable = win(&affected, 100, 2_000);
    platform.publish(&unsendable).await;
    platform.publish(&win(&other, 100, 2_000)).await;
    platform.flush(&other).await;
    assert_eq!(platform.mails.to(&email).len(), 2);
    assert_eq!(platform.sent().find_one(doc! { "_id": "newer/email" }).await.unwrap(), Some(newer));
    let probes = AtomicI64::new(0);
    testkit::eventually("the win of the unreadable contact to be parked", TIMEOUT, || async {
        // Each call appends a probe record before the next one.
        let probes_before = probes.fetch_add(1, Ordering::SeqCst);
        (platform.dead_letters().await - probes_before == 1).then_some(())
    })
    .await;
}

/// The contact became unreadable after the win was stored. The e-mail waits for an operator and is sent after a retry.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_contact_parks_mail_until_retry() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let big = win(&player, 100, 2_000);
    platform.publish(&big).await;
    platform.wait_for(&big, "waiting").await;
    let contacts = platform.mongo.collection::<Document>("contacts");
    let newer = doc! { "_id": &player, "email": { "address": "a@b.example", "verified": true } };
    contacts.insert_one(&newer).await.unwrap();
    platform.update(&big, doc! { "state": "due", "due_at": DateTime::from_millis(0) }).await;
    let parked = platform.wait_for(&big, "parked").await;
    assert_eq!(parked.get_str("why").ok(), Some("the contact cannot be read"));
    let (status, listed) = platform.request("GET", "/internal/v1/parked").await;
    assert_eq!((status, &listed["parked"][0]["event_id"]), (200, &big.id.as_str().into()));

    let email = format!("{player}@mail.example");
    contacts.update_one(doc! { "_id": &player }, doc! { "$set": { "email": &email } }).await.unwrap();
    assert_eq!(platform.request("POST", &format!("/internal/v1/parked/{}/retry", big.id)).await.0, 202);
    platform.wait_for(&big, "sent").await;
    assert_eq!(platform.mails.to(&email).len(), 1);
}

/// An older build was killed while sending. Its document has no time and no text of the e-mail, and the record is redelivered.
#[tokio::test(flavor = "multi_thread")]
async fn old_claim_is_sent_on_redelivery() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let email = platform.register(&player).await;
    let big = win(&player, 100, 2_000);
    let old = doc! {
        "_id": format!("{}/email", big.id), "player_id": &player, "state": "claimed", "owner": "dead-process/x",
        "claimed_at": DateTime::now(), "attempts": 1,
    };
    platform.sent().insert_one(&old).await.unwrap();
    platform.publish(&big).await;
    let sent = platform.wait_for(&big, "sent").await;
    assert_eq!((sent.get_i32("attempts").ok(), sent.get_i32("unknown").ok()), (Some(2), Some(1)));
    assert_eq!(platform.mails.to(&email).len(), 1);
}

/// The same with the data of the e-mail, for a player who was unknown. The registration sends it.
#[tokio::test(flavor = "multi_thread")]
async fn old_claim_is_sent_on_registration() {
    let platform = Platform::start().await;
    let player = testkit::unique("player");
    let big = win(&player, 100, 2_000);
    let old = doc! {
        "_id": format!("{}/email", big.id), "player_id": &player, "state": "claimed", "owner": "dead-process/x",
        "claimed_at": DateTime::now(), "attempts": 1,
        "win": {
            "event_id": big.id.as_str(), "game": "slots", "at": DateTime::now(),
            "stake": { "minor": 100_i64, "currency": "EUR" }, "payout": { "minor": 2_000_i64, "currency": "EUR" },
        },
    };
    platform.sent().insert_one(&old).await.unwrap();
    let email = platform.register(&player).await;
    assert_eq!(tally(&platform.wait_for(&big, "sent").await), (2, 1, 0));
    assert_eq!(platform.mails.to(&email).len(), 1);
}

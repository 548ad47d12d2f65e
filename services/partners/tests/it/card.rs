//! The card provider gives the same answer for the same key, also after a restart.

use crate::world::World;

#[tokio::test]
async fn repeated_key_gets_same_line_after_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let (status, first) = world.order("/card/v1/charges", "a:capture", 500).await;
    assert_eq!((status, first["status"].as_str()), (200, Some("captured")));
    let (_, again) = world.order("/card/v1/charges", "a:capture", 500).await;
    assert_eq!(first, again);
    let (status, _) = world.order("/card/v1/charges", "a:capture", 501).await;
    assert_eq!(status, 409);
    world.stop().await;

    let world = World::start(folder.path()).await;
    let (_, after_restart) = world.order("/card/v1/charges", "a:capture", 500).await;
    assert_eq!(first, after_restart);
    let (status, found) = world.get("/card/v1/charges?idempotency_key=a:capture").await;
    assert_eq!((status, found), (200, first.clone()));
    assert_eq!(world.get("/card/v1/charges?idempotency_key=b:capture").await.0, 404);
    assert_eq!(world.get("/card/v1/payouts?idempotency_key=a:capture").await.0, 404);
    let (_, statement) = world.get("/card/v1/statement").await;
    assert_eq!(statement["entries"].as_array().map(Vec::len), Some(1));
    world.stop().await;
}

#[tokio::test]
async fn amounts_ending_in_13_are_declined_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    assert_eq!(world.order("/card/v1/charges", "a", 1_013).await.1["status"], "declined");
    assert_eq!(world.order("/card/v1/payouts", "b", 13).await.1["status"], "declined");
    assert_eq!(world.order("/card/v1/payouts", "c", 130).await.1["status"], "captured");
    let (_, statement) = world.get("/card/v1/statement?since=1").await;
    let kinds: Vec<_> = statement["entries"].as_array().unwrap().iter().map(|e| e["kind"].clone()).collect();
    assert_eq!(kinds, ["payout", "payout"]);
    world.stop().await;
}

#[tokio::test]
async fn invalid_order_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    assert_eq!(world.order("/card/v1/charges", "", 500).await.0, 400);
    assert_eq!(world.order("/card/v1/charges", "a", 0).await.0, 400);
    assert_eq!(world.order("/card/v1/charges", "a", -5).await.0, 400);
    assert_eq!(world.get("/card/v1/statement").await.1["entries"].as_array().map(Vec::len), Some(0));
    world.stop().await;
}

#[tokio::test]
async fn concurrent_orders_with_one_key_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let requests = (0..20).map(|_| world.order("/card/v1/charges", "same", 700));
    let answers = futures::future::join_all(requests).await;
    assert!(answers.iter().all(|answer| answer == &answers[0] && answer.0 == 200));
    assert_eq!(world.get("/card/v1/statement").await.1["entries"].as_array().map(Vec::len), Some(1));
    world.stop().await;
}

#[tokio::test]
async fn voided_key_never_captures() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let (status, voided) = world.order("/card/v1/payouts/void", "a:capture", 500).await;
    assert_eq!((status, voided["status"].as_str()), (200, Some("voided")));
    assert_eq!(world.order("/card/v1/payouts/void", "a:capture", 500).await.1, voided, "same line again");
    assert_eq!(world.order("/card/v1/payouts/void", "a:capture", 501).await.0, 409);
    assert_eq!(world.order("/card/v1/payouts/void", "", 500).await.0, 400);
    let (_, captured) = world.order("/card/v1/charges", "b:capture", 500).await;
    assert_eq!(
        world.order("/card/v1/charges/void", "b:capture", 500).await.1,
        captured,
        "the void was too late"
    );
    world.stop().await;

    let world = World::start(folder.path()).await;
    let (_, late) = world.order("/card/v1/payouts", "a:capture", 500).await;
    assert_eq!(late, voided, "a later order under the voided key moves nothing");
    assert_eq!(world.get("/card/v1/payouts?idempotency_key=a:capture").await.1, voided);
    let (_, statement) = world.get("/card/v1/statement").await;
    let lines = statement["entries"].as_array().unwrap();
    assert_eq!(lines.iter().filter(|line| line["status"] == "captured").count(), 1);
    world.stop().await;
}

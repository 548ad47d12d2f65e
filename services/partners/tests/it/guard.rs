//! Without the internal token a client reads no line and moves no money.

use faults::Faults;
use partners::card::Card;
use partners::mail::Mailbox;
use testkit::guard::{every_route_refuses, without_internal_token};

use crate::world::{TOKEN, World, client};

#[tokio::test]
async fn every_route_requires_internal_token() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let other = tempfile::tempdir().unwrap();
    let card = Card::open(&other.path().join("statement.jsonl")).unwrap();
    let mailbox = Mailbox::open(&other.path().join("mail.jsonl"), 1 << 20).unwrap();
    let paths = chassis::http::paths(&partners::routes(card, mailbox, Faults::none()));
    assert!(paths.len() >= 4 && paths.iter().any(|path| path == "/card/v1/statement"), "{paths:?}");
    let credentials = without_internal_token(TOKEN);
    let ask = |method: &'static str, path: String, headers: Vec<(String, String)>| {
        let mut request = client().request(method.parse().unwrap(), world.url(&path));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        async move { request.send().await.unwrap().status().as_u16() }
    };
    every_route_refuses(&paths, &credentials, 401, ask).await;
    let order = serde_json::json!({ "payment_id": "p-1", "amount_minor": 500, "currency": "EUR" });
    let charge = client().post(world.url("/card/v1/charges")).header("idempotency-key", "a").json(&order);
    assert_eq!(charge.send().await.unwrap().status().as_u16(), 401);
    let (_, statement) = world.get("/card/v1/statement").await;
    assert_eq!(statement["entries"].as_array().map(Vec::len), Some(0), "nothing was stored");
    world.stop().await;
}

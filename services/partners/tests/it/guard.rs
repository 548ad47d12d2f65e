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
    let books = chassis::http::paths(&partners::routes(card.clone(), mailbox));
    let orders = chassis::http::paths(&partners::card::http::routes(card, Faults::none()));
    assert!(books.len() >= 4 && books.iter().any(|path| path == "/card/v1/statement"), "{books:?}");
    assert!(orders.len() >= 4 && orders.iter().any(|path| path == "/card/v1/charges"), "{orders:?}");
    let credentials = without_internal_token(TOKEN);
    for (paths, address) in [(books, world.http), (orders, world.card)] {
        let ask = |method: &'static str, path: String, headers: Vec<(String, String)>| {
            let mut request = client().request(method.parse().unwrap(), format!("http://{address}{path}"));
            for (name, value) in headers {
                request = request.header(name, value);
            }
            async move { request.send().await.unwrap().status().as_u16() }
        };
        every_route_refuses(&paths, &credentials, 401, ask).await;
    }
    let order = serde_json::json!({ "payment_id": "p-1", "amount_minor": 500, "currency": "EUR" });
    let charge =
        client().post(world.card_url("/card/v1/charges")).header("idempotency-key", "a").json(&order);
    assert_eq!(charge.send().await.unwrap().status().as_u16(), 401);
    let (_, statement) = world.get("/card/v1/statement").await;
    assert_eq!(statement["entries"].as_array().map(Vec::len), Some(0), "nothing was stored");
    world.stop().await;
}

//! Tests of the whole chain against the suite's broker and store.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use barechain::{Bet, COLLECTIONS, Order, Role, Settings};
use futures::future::join_all;
use mongodb::Client;
use mongodb::bson::{Document, doc};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Settings of one chain, with time-outs for a busy machine.
fn settings() -> Settings {
    let long_ms = LONG.as_millis();
    let mongo = testkit::mongo();
    Settings {
        kafka: testkit::kafka(),
        mongo: format!("{mongo}&connectTimeoutMS={long_ms}&serverSelectionTimeoutMS={long_ms}"),
        name: testkit::unique("barechain"),
        listen: ([127, 0, 0, 1], 0).into(),
        reply_deadline_ms: u64::try_from(long_ms).expect("a minute"),
        role: Role::Chain,
        writes_before_answer: 4,
        writes_after_answer: 2,
        order: Order::Batch,
    }
}

/// Runs a chain for the duration of `test`, which gets the chain's address.
async fn with_chain<T: Future<Output = ()>>(settings: &Settings, test: impl FnOnce(SocketAddr) -> T) {
    let listener = TcpListener::bind(settings.listen).await.expect("a port");
    let (ready, address) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let announce = |address| ready.send(address).expect("the test waits");
    let chain = barechain::run(settings, listener, announce, async { drop(stopped.await) });
    let play = async {
        // A chain that fails drops its end. The result below says why.
        if let Ok(address) = address.await {
            test(address).await;
        }
        drop(stop);
    };
    let (ended, ()) = tokio::join!(chain, play);
    ended.expect("a chain that ends when it is asked to");
}

/// Runs a settler for the duration of `test`, which begins when the settler has its partitions.
async fn with_settler<T: Future<Output = ()>>(settings: &Settings, test: impl FnOnce() -> T) {
    let (ready, joined) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let announce = || ready.send(()).expect("the test waits");
    let settler = barechain::settle(settings, announce, async { drop(stopped.await) });
    let play = async {
        if joined.await.is_ok() {
            test().await;
        }
        drop(stop);
    };
    let (ended, ()) = tokio::join!(settler, play);
    ended.expect("a settler that ends when it is asked to");
}

/// Sends a bet and returns the status and the body of the answer.
async fn bet(address: SocketAddr, player: &str) -> (u16, Value) {
    let body = json!({ "game": "slots", "stake_minor": 100, "currency": "EUR" }).to_string();
    let request = format!(
        "POST /api/v1/bets HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {player}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("a response");
    let (head, body) = response.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// Number of documents in each collection.
async fn stored(settings: &Settings) -> Vec<u64> {
    let client = Client::with_uri_str(&settings.mongo).await.expect("the store");
    let database = client.database(&settings.name);
    let counts = COLLECTIONS.map(|name| {
        let collection = database.collection::<Document>(name);
        async move { collection.count_documents(doc! {}).await.expect("a count") }
    });
    join_all(counts).await
}

fn client(settings: &Settings) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &settings.kafka);
    client
}

/// Number of records on each topic. `None` for a topic that does not exist.
fn records(settings: &Settings) -> [Option<i64>; 2] {
    let reader: BaseConsumer = client(settings).create().expect("a reader");
    let metadata = reader.fetch_metadata(None, LONG).expect("metadata");
    [settings.commands_topic(), settings.outcomes_topic()].map(|name| {
        let topic = metadata.topics().iter().find(|topic| topic.name() == name)?;
        let partitions = topic.partitions().iter().map(|partition| {
            let (low, high) = reader.fetch_watermarks(&name, partition.id(), LONG).expect("watermarks");
            high - low
        });
        Some(partitions.sum())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_100_bets_is_answered_and_stored() {
    let settings = settings();
    with_chain(&settings, |address| {
        let settings = settings.clone();
        async move {
            let bets = (0..100).map(|player| async move { bet(address, &format!("p-{}", player % 7)).await });
            let answers = join_all(bets).await;
            let ids: BTreeSet<String> = answers
                .iter()
                .map(|(status, body)| {
                    assert_eq!((*status, &body["outcome"]), (200, &json!("lost")), "{body}");
                    body["bet_id"].as_str().expect("an id").to_owned()
                })
                .collect();
            assert_eq!(ids.len(), 100, "each request has its own answer");
            // The last two collections are written while the outcome is published.
            testkit::eventually("all documents", LONG, || async {
                (stored(&settings).await == [100; COLLECTIONS.len()]).then_some(())
            })
            .await;
            assert_eq!(records(&settings), [Some(100), Some(100)]);
        }
    })
    .await;
    let client = Client::with_uri_str(&settings.mongo).await.expect("the store");
    let databases = client.list_database_names().await.expect("names of databases");
    assert!(!databases.contains(&settings.name), "{databases:?}");
    testkit::eventually("no topics", LONG, || async { (records(&settings) == [None, None]).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_that_comes_twice_is_stored_once() {
    let settings = settings();
    with_chain(&settings, |address| {
        let settings = settings.clone();
        async move {
            let mut client = client(&settings);
            let producer: FutureProducer =
                client.set("partitioner", "murmur2_random").create().expect("a producer");
            let repeated = Bet {
                bet_id: Uuid::now_v7(),
                player_id: "p-1".to_owned(),
                game: "slots".to_owned(),
                stake_minor: 100,
                currency: "EUR".to_owned(),
            };
            let (topic, value) = (settings.commands_topic(), serde_json::to_vec(&repeated).expect("JSON"));
            for _ in 0..2 {
                let record = FutureRecord::to(&topic).key(&repeated.player_id).payload(&value);
                producer.send(record, LONG).await.expect("an acknowledgement");
            }
            // It has the same key and so the same partition. It is settled after the others, or with them.
            assert_eq!(bet(address, "p-1").await.0, 200);
            testkit::eventually("all documents", LONG, || async {
                (stored(&settings).await == [2; COLLECTIONS.len()]).then_some(())
            })
            .await;
        }
    })
    .await;
}

/// The version and the stakes of a player's account, and the number of the player's rows.
async fn of_player(settings: &Settings, player: &str) -> (i64, i64, u64) {
    let database = Client::with_uri_str(&settings.mongo).await.expect("the store").database(&settings.name);
    let accounts = database.collection::<Document>("accounts");
    let account = accounts.find_one(doc! { "_id": player }).await.expect("a read").expect("the account");
    let number = |name: &str| account.get_i64(name).expect("a number");
    let bets = database.collection::<Document>("bets");
    let rows = bets.count_documents(doc! { "player_id": player }).await.expect("a count");
    (number("version"), number("stakes_minor"), rows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_of_players_writes_account_and_row_of_each_bet() {
    let settings = Settings {
        role: Role::Front,
        writes_before_answer: 2,
        writes_after_answer: 0,
        order: Order::Player,
        ..settings()
    };
    with_chain(&settings, |address| {
        let settings = settings.clone();
        async move {
            // The second settler reads the versions that the first one has left.
            for turn in 1..=2 {
                with_settler(&settings, || async {
                    let bets = (0..40).map(|bet_number| {
                        let player = format!("p-{}", bet_number % 4);
                        async move { bet(address, &player).await.0 }
                    });
                    assert_eq!(join_all(bets).await, [200; 40]);
                })
                .await;
                for player in ["p-0", "p-1", "p-2", "p-3"] {
                    let bets = 10 * turn;
                    let rows = u64::try_from(bets).expect("a count");
                    assert_eq!(of_player(&settings, player).await, (bets, 100 * bets, rows), "{player}");
                }
                assert_eq!(records(&settings), [Some(40 * turn), Some(40 * turn)]);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn front_outlives_its_settlers() {
    let settings =
        Settings { role: Role::Front, writes_before_answer: 2, writes_after_answer: 0, ..settings() };
    with_chain(&settings, |address| {
        let settings = settings.clone();
        async move {
            for settled in 1..=2 {
                with_settler(&settings, || async {
                    assert_eq!(bet(address, "p-1").await.0, 200);
                })
                .await;
                assert_eq!(records(&settings), [Some(settled), Some(settled)], "the topics stay");
            }
            assert_eq!(bet(address, "p-1").await.0, 202, "nothing settles it");
            assert_eq!(stored(&settings).await, [2, 2, 0, 0, 0, 0]);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_without_a_player_is_refused() {
    let settings = settings();
    with_chain(&settings, |address| async move {
        assert_eq!(bet(address, "").await.0, 401);
    })
    .await;
}

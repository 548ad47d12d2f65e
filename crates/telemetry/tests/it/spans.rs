//! One transaction of each kind, with the names that Sentry's pages filter by.

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use telemetry::http::{Client, Options};
use telemetry::propagation;
use telemetry::spans::{self, ProcessAttrs, PublishAttrs, Status};
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::receiver::{Behaviour, Receiver, span_with_op, spans_of};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "handler" => Some(handler),
        "effects" => Some(effects),
        "links" => Some(links),
        "unsampled" => Some(unsampled),
        "often" => Some(often),
        "filtered" => Some(filtered),
        "idle" => Some(idle),
        _ => None,
    }
}

const PROCESS: ProcessAttrs<'static> = ProcessAttrs {
    message_id: "4f1c",
    destination: "casino.bets.commands.v1",
    event_type: Some("casino.bets.v1.PlaceBet"),
    body_size_bytes: 87,
    receive_latency_ms: Some(1.5),
    retry_count: 2,
    consumer_group: "game",
    partition: 4,
    offset: 1_234,
};

const FIND: &str = r#"{"find":"bets","filter":{"_id":"?"}}"#;

/// A record's handler: reads the database and the cache, publishes.
fn handler() {
    let telemetry = scenario::telemetry();
    scenario::block_on(async {
        let parent = propagation::extract([(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".as_bytes(),
        )]);
        // A sweeper's query, which is not part of a transaction and becomes none
        spans::db("mongodb", "game", "bets", "find", FIND).in_scope(|| {});
        spans::cache_get("session:8").in_scope(|| {});
        let process = spans::queue_process(&PROCESS, &parent);
        async {
            telemetry::set_user("player-7");
            let db = spans::db("mongodb", "game", "bets", "find", FIND);
            tokio::time::sleep(std::time::Duration::from_millis(2)).instrument(db).await;
            let get = spans::cache_get("session:9");
            spans::set_attr(&get, telemetry::attributes::CACHE_HIT, true);
            get.in_scope(|| {});
            spans::cache_put("session:9", 120).in_scope(|| {});
            spans::cache_remove("session:9").in_scope(|| {});
            spans::function("spin").in_scope(|| {});
            let publish = spans::queue_publish(&PublishAttrs {
                message_id: "5a2b",
                destination: "casino.payments.commands.v1",
                event_type: Some("casino.payments.v1.ApplyWager"),
                body_size_bytes: 64,
            });
            publish.in_scope(|| {});
            spans::set_error(&publish, Status::DeadlineExceeded);
        }
        .instrument(process.clone())
        .await;
        spans::set_error(&process, Status::Unavailable);
        spans::set_ok(&process);
    });
    scenario::finish(telemetry);
}

#[test]
fn handler_transaction_has_queue_attributes() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("handler", &receiver.dsn(), &[]);
    let transaction = receiver.transaction("casino.bets.commands.v1");
    let payload = &transaction.payload;
    assert_eq!(payload["type"], "transaction");
    assert_eq!(payload["platform"], "native");
    assert_eq!(payload["release"], "game@1.2.3");
    assert_eq!(payload["environment"], "test");
    assert_eq!(payload["server_name"], "game");
    assert_eq!(payload["transaction_info"], json!({"source": "task"}));
    assert_eq!(payload["user"], json!({"id": "player-7"}));
    assert!(payload["start_timestamp"].as_f64().unwrap() < payload["timestamp"].as_f64().unwrap());
    let trace = &payload["contexts"]["trace"];
    assert_eq!(trace["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(trace["parent_span_id"], "b7ad6b7169203331");
    assert_eq!(trace["op"], "queue.process");
    assert_eq!(trace["origin"], "auto.queue.kafka");
    assert_eq!(trace["status"], "ok", "the last status set wins");
    let data = &trace["data"];
    for (name, value) in [
        ("messaging.system", json!("kafka")),
        ("messaging.destination.name", json!("casino.bets.commands.v1")),
        ("messaging.message.id", json!("4f1c")),
        ("messaging.message.body.size", json!(87)),
        ("messaging.message.receive.latency", json!(2)),
        ("messaging.message.retry.count", json!(2)),
        ("messaging.destination.partition.id", json!("4")),
        ("messaging.kafka.offset", json!(1_234)),
        ("pitboss.event.type", json!("casino.bets.v1.PlaceBet")),
    ] {
        assert_eq!(data[name], value, "{name}");
    }
    let all = spans_of(&transaction);
    assert!(all.iter().all(|span| span["data"]["sentry.trace_lifecycle"] == "static"), "{all:#?}");
    let steering = |name: &&String| name.starts_with("sentry.") && *name != "sentry.trace_lifecycle";
    assert_eq!(data.as_object().unwrap().keys().find(steering), None, "steering stays inside");
}

#[test]
fn op_differs_from_description() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("handler", &receiver.dsn(), &[]);
    let transaction = receiver.transaction("casino.bets.commands.v1");
    let pairs: Vec<(String, String)> = spans_of(&transaction)
        .iter()
        .map(|span| {
            (span["op"].as_str().unwrap().to_owned(), span["description"].as_str().unwrap().to_owned())
        })
        .collect();
    assert!(pairs.iter().all(|(op, description)| op != description), "{pairs:?}");
    let mut pairs: Vec<(&str, &str)> =
        pairs.iter().map(|(op, description)| (op.as_str(), description.as_str())).collect();
    pairs.sort_unstable();
    let expected = [
        ("cache.get", "session:?"),
        ("cache.put", "session:?"),
        ("cache.remove", "session:?"),
        ("db", FIND),
        ("function", "spin"),
        ("queue.process", "casino.bets.commands.v1"),
        ("queue.publish", "casino.payments.commands.v1"),
    ];
    assert_eq!(pairs, expected);
}

#[test]
fn database_and_cache_spans_have_attributes() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("handler", &receiver.dsn(), &[]);
    assert_eq!(receiver.transactions().len(), 1, "a span outside of a transaction became one");
    let transaction = receiver.transaction("casino.bets.commands.v1");
    let db = span_with_op(&transaction, "db");
    for (name, value) in [
        ("db.system", "mongodb"),
        ("db.system.name", "mongodb"),
        ("db.operation", "find"),
        ("db.operation.name", "find"),
        ("db.collection.name", "bets"),
        ("db.namespace", "game"),
    ] {
        assert_eq!(db["data"][name], value, "{name}");
    }
    let query: serde_json::Value = serde_json::from_str(db["description"].as_str().unwrap()).unwrap();
    assert_eq!(query["filter"]["_id"], "?");
    assert!(db["timestamp"].as_f64().unwrap() - db["start_timestamp"].as_f64().unwrap() >= 0.002);
    let get = span_with_op(&transaction, "cache.get");
    assert_eq!(get["data"]["cache.hit"], true);
    assert_eq!(get["data"]["cache.key"], json!(["session:?"]));
    assert_eq!(span_with_op(&transaction, "cache.put")["data"]["cache.item_size"], 120);
    let publish = span_with_op(&transaction, "queue.publish");
    assert_eq!(publish["status"], "deadline_exceeded");
    assert_eq!(publish["data"]["messaging.message.id"], "5a2b");
    assert_eq!(publish["data"]["messaging.message.body.size"], 64);
    for span in [&db, &get, &publish] {
        assert_eq!(span["parent_span_id"], transaction.payload["contexts"]["trace"]["span_id"]);
        assert_eq!(span["trace_id"], transaction.payload["contexts"]["trace"]["trace_id"]);
    }
}

#[test]
fn envelope_has_sampling_context() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("handler", &receiver.dsn(), &[]);
    let transaction = receiver.transaction("casino.bets.commands.v1");
    let trace = &transaction.envelope["trace"];
    assert_eq!(trace["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(trace["public_key"], "0123456789abcdef0123456789abcdef");
    assert_eq!(trace["sampled"], "true");
    assert_eq!(trace["release"], "game@1.2.3");
    assert_eq!(trace["environment"], "test");
    assert_eq!(trace["transaction"], "casino.bets.commands.v1");
    let number = |name: &str| trace[name].as_str().unwrap().parse::<f64>().unwrap();
    assert_eq!(number("sample_rate"), 1.0);
    assert!((0.0..1.0).contains(&number("sample_rand")));
    assert_eq!(transaction.envelope["event_id"], transaction.payload["event_id"]);
    assert!(transaction.envelope["sent_at"].as_str().unwrap().ends_with('Z'));
}

/// A record's handler that works itself, and waits for a task that does the same work.
fn effects() {
    let telemetry = scenario::telemetry();
    scenario::block_on(async {
        let address = super::http::serve(Router::new().route("/", get(|| async { "fine" }))).await;
        let process = spans::queue_process(&PROCESS, &opentelemetry::Context::new());
        async {
            work_as("handler", address.clone()).await;
            let task = work_as("task", address).instrument(spans::function("task"));
            telemetry::spawn(task).await.unwrap();
        }
        .instrument(process)
        .await;
    });
    scenario::finish(telemetry);
}

/// Logs, queries, calls and publishes.
async fn work_as(who: &'static str, address: String) {
    tracing::info!("log of the {who}");
    let db = spans::db("mongodb", "game", "bets", "find", FIND);
    tokio::time::sleep(std::time::Duration::from_millis(2)).instrument(db).await;
    let client = Client::with(&Options { timeout_ms: scenario::SOON_MS, ..Options::default() }).unwrap();
    client.get(&address).send().await.unwrap();
    let publish = spans::queue_publish(&PublishAttrs { destination: who, ..PublishAttrs::default() });
    tokio::time::sleep(std::time::Duration::from_millis(2)).instrument(publish).await;
}

#[test]
fn work_of_handler_and_its_task_is_below_it() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("effects", &receiver.dsn(), &[]);
    assert_eq!(receiver.transactions().len(), 1);
    let transaction = receiver.transaction("casino.bets.commands.v1");
    let (spans, task) = (spans_of(&transaction), span_with_op(&transaction, "function"));
    let logs = receiver.items_of("log");
    let logs: Vec<&Value> = logs.iter().flat_map(|log| log.payload["items"].as_array().unwrap()).collect();
    let process = &spans[0];
    for (who, span, further) in [("handler", process, Some("function")), ("task", &task, None)] {
        let below = spans.iter().filter(|below| below["parent_span_id"] == span["span_id"]);
        let mut ops: Vec<&str> = below.map(|below| below["op"].as_str().unwrap()).collect();
        ops.sort_unstable();
        let expected = ["db"].into_iter().chain(further).chain(["http.client", "queue.publish"]);
        let expected: Vec<&str> = expected.collect();
        assert_eq!(ops, expected, "{who}");
        let log = logs.iter().find(|log| log["body"] == format!("log of the {who}")).unwrap();
        assert_eq!((&log["trace_id"], &log["span_id"]), (&span["trace_id"], &span["span_id"]), "{who}");
    }
    let at = |span: &Value, name: &str| span[name].as_f64().unwrap();
    for span in &spans {
        let is_covered = at(span, "start_timestamp") >= at(process, "start_timestamp")
            && at(span, "timestamp") <= at(process, "timestamp");
        assert!(is_covered, "{span:#} of {process:#}");
    }
}

/// Work for three traces at once, then work continued from a stored trace.
fn links() {
    let telemetry = scenario::telemetry();
    let first = spans::background("first", []);
    let second = spans::background("second", []);
    let both = [spans::span_context(&first), spans::span_context(&second)];
    let stored = first.in_scope(propagation::capture);
    println!("first={}", both[0].trace_id());
    println!("second={}", both[1].trace_id());
    drop((first, second));
    drop(spans::background("rollup", both));
    let relayed = spans::continued("relay", &stored.context());
    assert!(relayed.in_scope(telemetry::trace_id).is_some());
    relayed.add_link(both_of(&relayed));
    drop(relayed);
    scenario::finish(telemetry);
}

fn both_of(span: &tracing::Span) -> opentelemetry::trace::SpanContext {
    spans::span_context(span)
}

#[test]
fn background_links_and_stored_trace_continues() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("links", &receiver.dsn(), &[]);
    let (first, second) = (scenario::printed(&output, "first"), scenario::printed(&output, "second"));
    let rollup = receiver.transaction("rollup");
    let trace = &rollup.payload["contexts"]["trace"];
    assert_eq!(trace["op"], "function");
    assert!(trace.get("parent_span_id").is_none());
    let linked: Vec<&str> =
        trace["links"].as_array().unwrap().iter().map(|l| l["trace_id"].as_str().unwrap()).collect();
    assert_eq!(linked, [first.as_str(), second.as_str()]);
    assert_eq!(
        trace["links"][0]["span_id"],
        receiver.transaction("first").payload["contexts"]["trace"]["span_id"]
    );
    assert_eq!(trace["links"][0]["sampled"], true);
    assert_eq!(trace["links"][0]["attributes"], json!({"sentry.link.type": "message_origin"}));
    assert_ne!(trace["trace_id"], first.as_str());
    let relay = receiver.transaction("relay");
    let (relay, head) = (&relay.payload["contexts"]["trace"], receiver.transaction("first"));
    assert_eq!(relay["trace_id"], first.as_str());
    assert_eq!(relay["parent_span_id"], head.payload["contexts"]["trace"]["span_id"]);
    assert_eq!(
        receiver.transaction("relay").envelope["trace"],
        head.envelope["trace"],
        "the context of the head, unchanged"
    );
}

fn unsampled() {
    let telemetry = scenario::telemetry();
    for _ in 0..200 {
        let root = spans::background("work", []);
        let headers = root.in_scope(|| {
            spans::function("step").in_scope(|| {});
            propagation::headers_of(&tracing::Span::current().context())
        });
        assert!(headers.iter().any(|(name, _)| *name == "traceparent"), "an unsampled trace propagates too");
    }
    println!("drops={:?}", telemetry::drops());
    scenario::finish(telemetry);
}

#[test]
fn sample_rate_decides_and_is_sent() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("unsampled", &receiver.dsn(), &[("RATE", "0.5")]);
    let transactions = receiver.transactions();
    // 100 expected, sigma 7
    assert!((60..140).contains(&transactions.len()), "{}", transactions.len());
    for transaction in transactions {
        let trace = &transaction.envelope["trace"];
        let number = |name: &str| trace[name].as_str().unwrap().parse::<f64>().unwrap();
        assert_eq!(number("sample_rate"), 0.5);
        assert!(number("sample_rand") < 0.5, "what was drawn fits what was decided");
    }
}

#[test]
fn sampled_out_is_reported_not_lost() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("unsampled", &receiver.dsn(), &[("RATE", "0")]);
    assert!(receiver.transactions().is_empty());
    assert_eq!(receiver.reported("sample_rate", "transaction"), 200);
    assert_eq!(receiver.reported("sample_rate", "span"), 400, "root and child");
    assert_eq!(scenario::printed(&output, "drops"), "[]");
}

/// A record that is retried for long. Its span gets a failed status far more often than it may have attributes.
fn often() {
    let telemetry = scenario::telemetry();
    let span = spans::background("often", []);
    for _ in 0..1_000 {
        spans::set_error(&span, Status::Unavailable);
    }
    spans::set_ok(&span);
    drop(span);
    scenario::finish(telemetry);
}

#[test]
fn last_status_counts() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("often", &receiver.dsn(), &[]);
    assert_eq!(receiver.transaction("often").payload["contexts"]["trace"]["status"], "ok");
}

/// A third-party span between two Pitboss spans. It is not exported, and its children still have a parent.
fn filtered() {
    let telemetry = scenario::telemetry();
    let root = spans::background("root", []);
    root.in_scope(|| {
        tracing::info_span!("not ours").in_scope(|| spans::function("child").in_scope(|| {}));
    });
    drop(root);
    scenario::finish(telemetry);
}

#[test]
fn filtered_parent_leaves_no_orphan() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("filtered", &receiver.dsn(), &[]);
    let root = receiver.transaction("root");
    assert_eq!(receiver.transactions().len(), 1);
    let spans = spans_of(&root);
    assert_eq!((spans.len(), &spans[1]["parent_span_id"]), (2, &spans[0]["span_id"]));
}

/// Queries of an idle service to its stores.
fn idle() {
    let telemetry = scenario::telemetry();
    for _ in 0..100 {
        spans::db("mongodb", "game", "bets", "find", FIND).in_scope(|| {});
        spans::cache_get("session:8").in_scope(|| {});
    }
    scenario::finish(telemetry);
}

#[test]
fn idle_process_sends_nothing() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("idle", &receiver.dsn(), &[]);
    assert_eq!(receiver.received().len(), 0);
}

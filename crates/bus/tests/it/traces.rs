//! Traces of records, checked by the bytes that went to a plain TCP server in place of Sentry. It runs in its own process,
//! because telemetry exists once per process.

use bus::{HandlerError, Outcome, Producer};
use contracts::{Group, Topic};
use serde_json::Value;
use telemetry::spans;
use tracing::Instrument as _;

use crate::support::{
    CONSOLE_BET, DEADLINE, Running, TestHandler, bets, broker_for, committed_reaches, physical, place_bet,
    raw_producer,
};

const CONSOLE_TRACE: &str = "0123456789abcdef0123456789abcdef";
const CONSOLE_SPAN: &str = "0123456789abcdef";

#[test]
fn every_record_is_one_transaction_under_its_publish() {
    testkit::scenario::run("traces::scenario");
}

#[test]
#[ignore = "the process of the test above"]
fn scenario() {
    if let Some(receiver) = crate::support::scenario(|_| publish_and_handle()) {
        check(&receiver.items());
    }
}

/// Bets of our producer: one is retried, one panics, one is given back at the stop. Two console records have a trace of their own,
/// and one of them is malformed.
async fn publish_and_handle() {
    let config = bus::Config { retry_backoff_min_ms: 1, ..broker_for(Group::Game).await };
    let handler = TestHandler::new(|delivery| match (delivery.event.id.as_str(), delivery.attempt) {
        ("p-2", 1) | ("held-1", _) => Err(HandlerError::transient("not yet")),
        ("panics-1", _) => panic!("a bug in the handler (on purpose)"),
        _ => Ok(Outcome::Applied),
    });
    let producer = Producer::new(&config).expect("a producer");
    let request = spans::background("request", []);
    async {
        for (player, number) in [("p", 1), ("p", 2), ("panics", 1)] {
            producer.publish(&place_bet(player, number)).await.expect("published");
        }
    }
    .instrument(request.clone())
    .await;
    publish_console_record(&config, CONSOLE_BET).await;
    publish_console_record(&config, b"{\"type\":\"casino.bets.v1.PlaceBet\",\"data\":{\"bogus\":1}}").await;
    let consumer = Running::start(&config, Group::Game, bets(handler.clone()));
    committed_reaches(&config, Group::Game, 5).await;
    let held = place_bet("held", 1);
    producer.publish(&held).instrument(request).await.expect("published");
    testkit::eventually("an attempt at the held record", DEADLINE, || async {
        handler.ids().contains(&held.id.to_string()).then_some(())
    })
    .await;
    consumer.stop().await.expect("stops in order");
}

async fn publish_console_record(config: &bus::Config, value: &[u8]) {
    use rdkafka::message::{Header, OwnedHeaders};
    let topic = physical(config, Topic::BetsCommands.name());
    let parent = format!("00-{CONSOLE_TRACE}-{CONSOLE_SPAN}-01");
    let headers = OwnedHeaders::new().insert(Header { key: "traceparent", value: Some(&parent) });
    let record = rdkafka::producer::FutureRecord::to(&topic).key("console").payload(value).headers(headers);
    raw_producer(config).send(record, DEADLINE).await.expect("published");
}

fn check(items: &[(String, Value)]) {
    let of_type = |wanted: &'static str| {
        items.iter().filter(move |(kind, _)| kind == wanted).map(|(_, payload)| payload)
    };
    let processed: Vec<&Value> =
        of_type("transaction").filter(|t| t["contexts"]["trace"]["op"] == "queue.process").collect();
    assert_eq!(processed.len(), 6, "one transaction for each record: {processed:#?}");
    let request = of_type("transaction").find(|t| t["transaction"] == "request").expect("the request");
    let published: Vec<&Value> = request["spans"].as_array().expect("spans").iter().collect();
    assert_eq!(published.len(), 4);

    for (id, status) in [("panics-1", "invalid_argument"), ("held-1", "cancelled")] {
        assert_eq!(find(&processed, id)["contexts"]["trace"]["status"], status, "{id}");
    }
    for (id, retries) in [("p-1", 0), ("p-2", 1)] {
        let publish = published.iter().find(|s| s["data"]["messaging.message.id"] == id).expect("published");
        let process = find(&processed, id);
        let trace = &process["contexts"]["trace"];
        assert_eq!(publish["op"], "queue.publish");
        assert_eq!(trace["trace_id"], request["contexts"]["trace"]["trace_id"], "one trace");
        assert_eq!(trace["parent_span_id"], publish["span_id"], "child of its own publish");
        assert_eq!(trace["status"], "ok");
        let data = &trace["data"];
        assert_eq!(data["messaging.destination.name"], Topic::BetsCommands.name());
        assert_eq!(data["messaging.system"], "kafka");
        assert_eq!(data["messaging.message.retry.count"], retries);
        assert_eq!(data["messaging.message.body.size"], publish["data"]["messaging.message.body.size"]);
        assert_eq!(data["messaging.consumer.group.name"], "game");
        assert_eq!(data["messaging.kafka.offset"], publish["data"]["messaging.kafka.offset"]);
        let latency_ms = data["messaging.message.receive.latency"].as_i64().expect("whole milliseconds");
        assert!((0..60_000).contains(&latency_ms), "{latency_ms} ms");
    }
    let console: Vec<&&Value> =
        processed.iter().filter(|t| t["contexts"]["trace"]["trace_id"] == CONSOLE_TRACE).collect();
    assert_eq!(console.len(), 2, "the console's trace is continued");
    assert!(console.iter().all(|t| t["contexts"]["trace"]["parent_span_id"] == CONSOLE_SPAN));
    let failed =
        console.iter().find(|t| t["contexts"]["trace"]["status"] != "ok").expect("the malformed one");
    let spans = failed["spans"].as_array().expect("spans");
    let letter = spans.iter().find(|span| span["op"] == "queue.publish").expect("a span of its dead letter");
    assert_eq!(letter["data"]["error.type"], "undecodable", "{letter:#}");
    assert_eq!(letter["parent_span_id"], failed["contexts"]["trace"]["span_id"]);

    let (errors, panics): (Vec<&Value>, Vec<&Value>) =
        of_type("event").partition(|event| event["contexts"]["trace"]["trace_id"] == CONSOLE_TRACE);
    assert_eq!(errors.len(), 1, "one error event, for the malformed line: {errors:#?}");
    assert!(errors[0].to_string().contains("bogus"), "it names the error: {:#}", errors[0]);
    assert_eq!(panics.len(), 4, "one for each panic, and one for the dead letter: {panics:#?}");
    let of_request = &request["contexts"]["trace"]["trace_id"];
    assert!(panics.iter().all(|event| event["contexts"]["trace"]["trace_id"] == *of_request), "{panics:#?}");
}

fn find<'a>(transactions: &[&'a Value], id: &str) -> &'a Value {
    let is_it = |t: &&&Value| t["contexts"]["trace"]["data"]["messaging.message.id"] == id;
    transactions.iter().find(is_it).unwrap_or_else(|| panic!("no transaction of {id}: {transactions:#?}"))
}

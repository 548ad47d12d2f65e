//! Answers about a segment are the same whether its spans came as a transaction or streamed.

use serde_json::{Map, Value, json};

use crate::support::Recorder;

/// One segment in both forms, as `telemetry` sends it: the header, the item's header and the payload.
const AS_TRANSACTION: &str = include_str!("../../../../crates/telemetry/tests/segment/static.json");
const AS_SPANS: &str = include_str!("../../../../crates/telemetry/tests/segment/stream.json");

const BET: &str = "0af7651916cd43dd8448eb211c80319c";
/// A trace whose root is not stored.
const ROOTLESS: &str = "11111111111111111111111111111111";

/// Attributes that a streamed span has for what a transaction says once, or outside of its data.
const OF_STREAMS: [&str; 6] = [
    "sentry.op",
    "sentry.release",
    "sentry.environment",
    "sentry.segment.id",
    "sentry.segment.name",
    "sentry.status.message",
];

/// Further attributes that `telemetry` gives to streamed spans, or to some of them.
const OF_TELEMETRY: [&str; 9] = [
    "sentry.trace_lifecycle",
    "sentry.origin",
    "sentry.sdk.name",
    "sentry.sdk.version",
    "sentry.segment.name.source",
    "sentry.platform",
    "server.address",
    "user.id",
    "db.query.text",
];

/// A transaction of `status` with a publish, a failed query and a read of the cache below its root.
fn transaction(trace: &str, id: char, parent: Option<&str>, op: &str, status: &str, start: f64) -> Value {
    let (span_id, of_children) = (id.to_string().repeat(16), id.to_string().repeat(15));
    let place = json!({"messaging.destination.name": "bets", "messaging.system": "kafka",
        "messaging.destination.partition.id": "3", "messaging.kafka.offset": 7, "messaging.consumer.group.name": "game",
        "messaging.message.receive.latency": 3, "flag.evaluation.payment.random-failure": true, "user.id": "anna"});
    let query =
        json!({"db.system": "mongodb", "db.operation": "find", "db.collection.name": "bets", "ratio": 0.5});
    let child = |last: char, op: &str, description: &str, status: &str, data: &Value| {
        json!({"trace_id": trace, "span_id": format!("{of_children}{last}"), "parent_span_id": span_id, "op": op,
            "description": description, "status": status, "start_timestamp": start + 0.001, "timestamp": start + 0.011,
            "data": data})
    };
    json!({"type": "transaction", "transaction": format!("{op} of {id}"), "start_timestamp": start, "timestamp": start + 0.02,
        "release": "game@1.2.3", "environment": "test",
        "contexts": {"trace": {"trace_id": trace, "span_id": span_id, "parent_span_id": parent, "op": op, "status": status,
            "data": place, "links": [{"trace_id": "22".repeat(16), "span_id": "33".repeat(8), "sampled": true,
                "attributes": {"sentry.link.type": "message_origin"}}]}},
        "spans": [child('1', "queue.publish", "bets", "deadline_exceeded", &place),
            child('2', "db", "{\"find\":\"bets\"}", "ok", &query),
            child('3', "cache.get", "player:?", "ok", &json!({"cache.hit": false, "cache.key": ["player:?"]}))]})
}

fn typed(value: &Value) -> Value {
    let kind = match value {
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "double",
        Value::Number(_) => "integer",
        Value::Array(_) => "array",
        _ => "string",
    };
    json!({"value": value, "type": kind})
}

fn typed_members(plain: &Value) -> Map<String, Value> {
    let members = plain.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.clone(), typed(value))).collect()
}

/// The spans of a transaction in the second version of Sentry's format of spans.
fn streamed(transaction: &Value) -> Vec<Value> {
    let root = &transaction["contexts"]["trace"];
    let span = |of: &Value, name: &Value, times: &Value, is_segment: bool| {
        let mut attributes = typed_members(&of["data"]);
        let of_stream = [
            &of["op"],
            &transaction["release"],
            &transaction["environment"],
            &root["span_id"],
            &transaction["transaction"],
            &of["status"],
        ];
        for (name, value) in OF_STREAMS.into_iter().zip(of_stream) {
            attributes.insert(name.to_owned(), typed(value));
        }
        let links: Vec<Value> = of["links"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|link| {
                let mut link = link.clone();
                link["attributes"] = typed_members(&link["attributes"]).into();
                link
            })
            .collect();
        json!({"trace_id": of["trace_id"], "span_id": of["span_id"], "parent_span_id": of["parent_span_id"], "name": name,
            "status": if of["status"] == "ok" { "ok" } else { "error" }, "is_segment": is_segment,
            "start_timestamp": times["start_timestamp"], "end_timestamp": times["timestamp"],
            "attributes": attributes, "links": links})
    };
    let children = transaction["spans"].as_array().into_iter().flatten();
    let children = children.map(|child| span(child, &child["description"], child, false));
    std::iter::once(span(root, &transaction["transaction"], transaction, true)).chain(children).collect()
}

/// A bet of two services, one of which has two segments that failed in different ways, and a trace without its root.
fn sent() -> [(u32, &'static str, Vec<Value>); 3] {
    let root = transaction(BET, 'a', None, "http.server", "ok", 100.0);
    let handled = transaction(BET, 'b', Some("aaaaaaaaaaaaaaa1"), "queue.process", "unavailable", 100.1);
    let repeated =
        transaction(BET, 'c', Some("bbbbbbbbbbbbbbb1"), "queue.process", "invalid_argument", 100.2);
    let first = transaction(ROOTLESS, 'd', Some("0123456789abcdef"), "queue.process", "ok", 300.0);
    let second = transaction(ROOTLESS, 'e', Some("0123456789abcdef"), "queue.process", "ok", 200.0);
    [(1, BET, vec![root]), (3, BET, vec![handled, repeated]), (4, ROOTLESS, vec![first, second])]
}

async fn store_transactions(recorder: &Recorder) {
    for (project, _, transactions) in sent() {
        for transaction in transactions {
            recorder.store(project, format!("{{}}\n{{\"type\":\"transaction\"}}\n{transaction}\n")).await;
        }
    }
}

async fn store_streamed(recorder: &Recorder) {
    for (project, trace, transactions) in sent() {
        let spans: Vec<Value> = transactions.iter().flat_map(streamed).collect();
        let header = json!({"trace": {"trace_id": trace, "public_key": "x"}});
        let item = json!({"type": "span", "item_count": spans.len(), "content_type": "application/vnd.sentry.items.span.v2+json"});
        recorder.store(project, format!("{header}\n{item}\n{}\n", json!({"items": spans}))).await;
    }
}

/// Removes what depends on the number of envelopes and the time of receipt, and these attributes.
fn comparable(mut answer: Value, attributes: &[&str]) -> Value {
    const OF_ENVELOPES: [&str; 4] = ["seq", "envelopes", "first_seen", "last_seen"];
    match &mut answer {
        Value::Object(members) => {
            members.retain(|name, _| {
                !OF_ENVELOPES.contains(&name.as_str()) && !attributes.contains(&name.as_str())
            });
            members.values_mut().for_each(|member| *member = comparable(member.take(), attributes));
        }
        Value::Array(entries) => {
            entries.retain(|entry| entry.as_str().is_none_or(|name| !attributes.contains(&name)));
            entries.iter_mut().for_each(|entry| *entry = comparable(entry.take(), attributes));
        }
        _ => {}
    }
    answer
}

/// The lines of an answer, without these attributes.
async fn answer(recorder: &Recorder, path: &str, without: &[&str]) -> Value {
    let response = recorder.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    let text = response.text().await.expect("text");
    let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    comparable(lines.expect("JSON").into(), without)
}

/// Checks that the answers of both recorders about these traces, and about everything, are equal.
async fn assert_same_answers(streams: &Recorder, whole: &Recorder, traces: &[&str], without: &[&str]) {
    let of_traces = traces.iter().map(|trace| format!("/api/v1/traces/{trace}"));
    let of_all = [
        "traces",
        "traces?project=payment",
        "releases",
        "dashboards/queues",
        "dashboards/queries?system=mongodb",
        "dashboards/caches",
        "names",
    ];
    for path in of_traces.chain(of_all.map(|path| format!("/api/v1/{path}"))) {
        let expected = answer(whole, &path, without).await;
        assert_eq!(answer(streams, &path, without).await, expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_transactions() {
    let (whole, streams) = (Recorder::start(&[]).await, Recorder::start(&[]).await);
    store_transactions(&whole).await;
    store_streamed(&streams).await;
    assert_same_answers(&streams, &whole, &[BET, ROOTLESS], &OF_STREAMS).await;
    // What is compared is not empty, and is what the services did.
    let bet = &answer(&streams, &format!("/api/v1/traces/{BET}"), &[]).await[0];
    let spans = bet["spans"].as_array().expect("spans");
    let statuses = |is_segment: bool| -> Vec<&str> {
        let of = spans.iter().filter(|span| span["is_transaction"] == is_segment);
        of.map(|span| span["status"].as_str().expect("a status")).collect()
    };
    assert_eq!(statuses(true), ["ok", "unavailable", "invalid_argument"]);
    assert_eq!(statuses(false).iter().filter(|status| **status == "deadline_exceeded").count(), 3);
    assert_eq!((&spans[0]["release"], &spans[0]["data"]["user.id"]), (&json!("game@1.2.3"), &json!("anna")));
    assert_eq!(spans[0]["links"][0]["attributes"], json!({"sentry.link.type": "message_origin"}));
    let listed = answer(&streams, "/api/v1/traces", &[]).await;
    let shown = |line: usize| (listed[line]["root"].clone(), listed[line]["failed"].clone());
    assert_eq!(
        shown(0),
        (json!("queue.process queue.process of d"), json!(0)),
        "the first that came names it"
    );
    assert_eq!(shown(1), (json!("http.server http.server of a"), json!(2)));
    let releases = answer(&streams, "/api/v1/releases", &[]).await;
    let counts: Vec<_> =
        releases.as_array().expect("lines").iter().map(|line| &line["transactions"]).collect();
    assert_eq!(counts, [&json!(1), &json!(2), &json!(2)]);
    let queues = answer(&streams, "/api/v1/dashboards/queues", &[]).await;
    let error_rate = queues[0]["destinations"][0]["error_rate"].as_f64().expect("a rate");
    assert!((0.44..0.45).contains(&error_rate), "four of nine spans are of failed segments: {error_rate}");
}

fn envelope(file: &str) -> String {
    let lines: Vec<Value> = serde_json::from_str(file).expect("JSON");
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_a_segment_of_telemetry_are_the_same() {
    let (whole, streams) = (Recorder::start(&[]).await, Recorder::start(&[]).await);
    whole.store(3, envelope(AS_TRANSACTION)).await;
    streams.store(3, envelope(AS_SPANS)).await;
    let without: Vec<&str> = OF_STREAMS.into_iter().chain(OF_TELEMETRY).collect();
    assert_same_answers(&streams, &whole, &[BET], &without).await;

    let trace = &answer(&streams, &format!("/api/v1/traces/{BET}"), &[]).await[0];
    let spans = trace["spans"].as_array().expect("spans");
    let statuses: Vec<&str> = spans.iter().map(|span| span["status"].as_str().expect("a status")).collect();
    assert_eq!(statuses, ["unavailable", "ok", "ok", "unavailable", "deadline_exceeded"]);
    assert_eq!(
        (&spans[0]["release"], &spans[0]["data"]["user.id"]),
        (&json!("game@1.2.3"), &json!("player-7"))
    );
    assert_eq!(spans[3]["data"]["server.address"], "127.0.0.1", "of the call, not of the sender");
}

//! Malformed events: one invalid field costs only itself, and a missing id or time is filled in.

use serde_json::{Value, json};

use crate::support::{Recorder, fetch, key};

fn item(item_type: &str, payload: &str) -> String {
    format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{payload}\n")
}

/// Values of every JSON type, most of which are wrong for any one field.
const WRONG: [&str; 8] = ["null", "7", "-1", "true", "\"text\"", "[]", "{}", "[null,{},7]"];

#[tokio::test(flavor = "multi_thread")]
async fn malformed_exceptions_become_titled_issues() {
    let recorder = Recorder::start(&[]).await;
    let exceptions = [
        (r#"{"values":[{"type":"TypeError","value":"a","stacktrace":{"frames":null}}]}"#, "TypeError: a"),
        (
            r#"{"values":[{"type":"KeyError","value":"b","stacktrace":{"frames":[{"function":"f","lineno":-1}]}}]}"#,
            "KeyError: b",
        ),
        (r#"[null,{"type":"IOError","value":"d"}]"#, "IOError: d"),
        (r#"[{"type":"E1","value":"bare"}]"#, "E1: bare"),
        (r#"{"values":[{"type":"E2","value":["a",1]}]}"#, r#"E2: ["a",1]"#),
    ];
    for (exception, _) in exceptions {
        recorder.store(1, item("event", &format!(r#"{{"exception":{exception}}}"#))).await;
    }
    let issues = recorder.lines("/api/v1/issues").await;
    for (_, title) in exceptions {
        let named = issues.iter().filter(|issue| issue["title"] == title && issue["count"] == 1).count();
        assert_eq!(named, 1, "{title}: {issues:?}");
    }
    assert_eq!(issues.len(), exceptions.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn field_of_a_wrong_type_does_not_lose_the_event() {
    let recorder = Recorder::start(&[]).await;
    let fields = "timestamp level release environment transaction user contexts tags extra fingerprint \
                  message logentry threads breadcrumbs modules sdk platform type start_timestamp spans";
    let mut sent = 0;
    for field in fields.split(' ') {
        let mut items = String::from("{}\n");
        for wrong in WRONG.iter().filter(|wrong| field != "type" || **wrong != "\"text\"") {
            let event = format!(
                r#"{{"{field}":{wrong},"exception":[{{"type":"E","value":"v"}}],"{field}":{wrong}}}"#
            );
            items.push_str(&format!("{{\"type\":\"event\"}}\n{event}\n"));
            sent += u64::from(field != "fingerprint" || !wrong.starts_with("[null"));
        }
        recorder.store(1, items).await;
    }
    let issues = recorder.lines("/api/v1/issues").await;
    let counted: u64 = issues
        .iter()
        .filter(|issue| issue["title"] == "E: v")
        .filter_map(|issue| issue["count"].as_u64())
        .sum();
    assert!(counted >= sent, "{counted} of {sent}: {issues:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_field_type_loses_no_other_item() {
    let recorder = Recorder::start(&[]).await;
    let trace = "ab".repeat(16);
    let mut expected = 0;
    for wrong in WRONG {
        let transaction = format!(
            r#"{{"transaction":{wrong},"release":{wrong},"timestamp":{wrong},"contexts":{{"trace":{{"trace_id":"{trace}","span_id":"aaaaaaaaaaaaaaaa","op":{wrong},"data":{wrong},"links":{wrong},"status":{wrong}}},"other":{wrong}}},
               "spans":[{wrong},{{"span_id":"bbbbbbbbbbbbbbbb","op":{wrong},"data":{wrong},"timestamp":{wrong}}}]}}"#
        ).replace('\n', " ");
        let span = format!(
            r#"{{"items":[{wrong},{{"trace_id":"{trace}","span_id":"cccccccccccccccc","name":{wrong},"attributes":{wrong},"is_segment":{wrong},"status":{wrong}}}]}}"#
        );
        let log = format!(
            r#"{{"items":[{wrong},{{"trace_id":"{trace}","timestamp":{wrong},"level":{wrong},"body":"log","attributes":{{"a":{wrong},"b":{{"value":1}}}}}}]}}"#
        );
        let metric = format!(
            r#"{{"items":[{wrong},{{"trace_id":"{trace}","timestamp":{wrong},"name":"m","value":{wrong},"unit":{wrong}}}]}}"#
        );
        for (item_type, payload) in
            [("transaction", transaction), ("span", span), ("log", log), ("trace_metric", metric)]
        {
            recorder.store(1, item(item_type, &payload)).await;
        }
        expected += 1;
    }
    let found: Value = recorder.get(&format!("/api/v1/traces/{trace}")).await.json().await.expect("JSON");
    let count = |list: &str| found[list].as_array().expect("a list").len();
    let spans = |id: &str| {
        found["spans"].as_array().expect("spans").iter().filter(|span| span["span_id"] == id).count()
    };
    assert_eq!((count("logs"), count("metrics")), (expected, expected));
    assert_eq!(
        [spans("aaaaaaaaaaaaaaaa"), spans("bbbbbbbbbbbbbbbb"), spans("cccccccccccccccc")],
        [expected; 3]
    );
    assert!(
        found["logs"].as_array().expect("logs").iter().all(|log| log["attributes"]["b"] == 1),
        "the good attribute is stored"
    );
    assert!(recorder.get(&format!("/traces/{trace}")).await.status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_event_id_and_time_are_generated() {
    let recorder = Recorder::start(&[]).await;
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs_f64();
    let before = now();
    let mut ids = Vec::new();
    let event = r#"{"exception":[{"type":"E","value":"v"}]}"#;
    for (path, body) in
        [("store", event.to_owned()), ("store", event.to_owned()), ("envelope", item("event", event))]
    {
        let url = format!("{}/api/1/{path}/?sentry_key={}", recorder.ingest, key(1));
        let response: Value = fetch(recorder.client.post(url).body(body)).await.json().await.expect("JSON");
        let id = response["id"].as_str().expect("an id").to_owned();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        ids.push(id);
    }
    let issue = &recorder.lines("/api/v1/issues").await[0];
    assert_eq!(issue["last_event_id"].as_str(), ids.last().map(String::as_str));
    for seen in ["first_seen", "last_seen"] {
        let at = issue[seen].as_f64().expect("a time");
        assert!((before - 1.0..=now() + 1.0).contains(&at), "{seen} {at}");
    }
    let path = format!("/api/v1/issues/{}", issue["id"].as_str().expect("an id"));
    let detail: Value = recorder.get(&path).await.json().await.expect("JSON");
    let shown: Vec<_> = detail["events"]
        .as_array()
        .expect("events")
        .iter()
        .rev()
        .map(|event| event["event_id"].as_str().expect("an id"))
        .collect();
    assert_eq!(shown, ids, "each event is shown under the id that was answered");

    // The same holds after a restart with a rebuilt index.
    let directory = recorder.stop().await;
    std::fs::remove_file(directory.path().join("data/index.sqlite")).expect("an index");
    let recorder = Recorder::start_in(directory, &[]).await;
    let again: Value = recorder.get(&path).await.json().await.expect("JSON");
    assert_eq!(again, detail);

    let own = r#"{"event_id":"9EC79C33-EC99-42AB-8353-589FCB2E04DC","message":"x"}"#;
    let response: Value = fetch(recorder.post(1, item("event", own))).await.json().await.expect("JSON");
    assert_eq!(response, json!({"id": "9ec79c33ec9942ab8353589fcb2e04dc"}), "an id in the event counts");
    let response: Value = fetch(recorder.post(1, item("session", "{}"))).await.json().await.expect("JSON");
    assert_eq!(response, json!({}), "there is no event");
}

#[tokio::test(flavor = "multi_thread")]
async fn message_events_group_by_thread_stack() {
    let recorder = Recorder::start(&[]).await;
    let threads = r#""threads":{"values":[{"id":"1"},{"id":"2","current":true,"stacktrace":{"frames":[{"function":"main"},{"function":"settle","module":"payment","in_app":true}]}}]}"#;
    for text in ["one", "two"] {
        let event = format!(r#"{{"message":"{text}","level":"error",{threads}}}"#);
        recorder.store(1, item("event", &event)).await;
    }
    recorder.store(1, item("event", r#"{"message":"plain","transaction":"GET /x"}"#)).await;
    let issues = recorder.lines("/api/v1/issues").await;
    assert_eq!(issues.len(), 2, "{issues:?}");
    let by_stack = issues.iter().find(|issue| issue["count"] == 2).expect("one issue for one stack");
    assert_eq!((&by_stack["title"], &by_stack["culprit"]), (&json!("two"), &json!(null)));
    assert!(issues.iter().any(|issue| issue["title"] == "plain" && issue["culprit"] == "GET /x"));
    let path = format!("/issues/{}", by_stack["id"].as_str().expect("an id"));
    let html = recorder.get(&path).await.text().await.expect("text");
    assert!(html.contains("settle") && html.contains("<li class=\"app\">"), "the stack is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_is_not_an_issue() {
    let recorder = Recorder::start(&[]).await;
    let feedback =
        r#"{"type":"feedback","contexts":{"feedback":{"message":"it is slow","contact_email":"x"}}}"#;
    recorder.store(1, item("event", feedback)).await;
    recorder.store(1, item("feedback", feedback)).await;
    assert!(recorder.lines("/api/v1/issues").await.is_empty());
    assert_eq!(recorder.lines("/api/v1/feedback").await.len(), 2);
}

/// The parser of these tests is strict, so an answer with half a surrogate pair would fail each of them.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_surrogate_pair_costs_one_character() {
    let recorder = Recorder::start(&[]).await;
    let (trace, half) = ("ab".repeat(16), r#""name\ud800":"x\ud800y""#);
    let payload = format!(r#"{{{half},"message":"late","status":"ok","null":null}}"#);
    for item_type in ["feedback", "check_in", "session"] {
        recorder.store(1, item(item_type, &payload)).await;
    }
    let attributes = r#""attributes":{"a\udfff":{"value":"b\udfff"},"c":{"value":1}}"#;
    let entry = format!(
        r#"{{"items":[{{"trace_id":"{trace}","span_id":"cccccccccccccccc","name":"m","body":"l",{attributes}}}]}}"#
    );
    for item_type in ["log", "trace_metric", "span"] {
        recorder.store(1, item(item_type, &entry)).await;
    }
    let transaction = format!(
        r#"{{"contexts":{{"trace":{{"trace_id":"{trace}","span_id":"aaaaaaaaaaaaaaaa","data":{{{half}}}}}}}}}"#
    );
    recorder.store(1, item("transaction", &transaction)).await;

    for path in ["feedback", "check-ins", "sessions"] {
        let line = &recorder.lines(&format!("/api/v1/{path}")).await[0];
        assert_eq!((&line["message"], &line["status"]), (&json!("late"), &json!("ok")), "{path}: {line}");
        assert_eq!(line["name\u{FFFD}"], "x\u{FFFD}y", "{path}: {line}");
    }
    let expected = json!({"a\u{FFFD}": "b\u{FFFD}", "c": 1});
    for path in ["logs", "metrics"] {
        assert_eq!(recorder.lines(&format!("/api/v1/{path}")).await[0]["attributes"], expected, "{path}");
    }
    let found: Value = recorder.get(&format!("/api/v1/traces/{trace}")).await.json().await.expect("JSON");
    let data = |id: &str| {
        let mut spans = found["spans"].as_array().expect("spans").iter();
        spans.find(|span| span["span_id"] == id).expect("the span")["data"].clone()
    };
    assert_eq!(data("cccccccccccccccc"), expected);
    assert_eq!(data("aaaaaaaaaaaaaaaa"), json!({"name\u{FFFD}": "x\u{FFFD}y"}));
    assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_ins_are_paged_by_envelope() {
    let recorder = Recorder::start(&[]).await;
    // Java's check-ins use one id for both ends, which is also the envelope's id.
    let id = "ab".repeat(16);
    for status in ["in_progress", "ok"] {
        let header = format!(r#"{{"event_id":"{id}"}}"#);
        let check_in =
            format!(r#"{{"check_in_id":"{id}","monitor_slug":"sweep","status":"{status}","duration":[]}}"#);
        recorder.store(1, format!("{header}\n{{\"type\":\"check_in\"}}\n{check_in}\n")).await;
    }
    for (page, expected) in
        [("", vec!["in_progress", "ok"]), ("?limit=1", vec!["in_progress"]), ("?since=1", vec!["ok"])]
    {
        let listed = recorder.lines(&format!("/api/v1/check-ins{page}")).await;
        let statuses: Vec<_> = listed.iter().filter_map(|line| line["status"].as_str()).collect();
        assert_eq!(statuses, expected, "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_session_is_counted_once() {
    let recorder = Recorder::start(&[]).await;
    let attributes = r#""attrs":{"release":"game@1","environment":"prod"}"#;
    let update = |sid: &str, did: &str, more: &str| {
        item("session", &format!(r#"{{"sid":"{sid}","did":"{did}",{more},{attributes}}}"#))
    };
    for body in [
        update("s1", "anna", r#""init":true,"status":"ok""#),
        update("s1", "anna", r#""status":"ok","errors":1"#),
        update("s1", "anna", r#""status":"crashed","errors":2"#),
        update("s1", "anna", r#""status":"exited""#),
        update("s2", "anna", r#""init":true,"status":"exited""#),
        update("s3", "ben", r#""init":true,"status":"exited","errors":3"#),
        update("s4", "carl", r#""init":true,"status":"abnormal","errors":1"#),
        update("s5", "carl", r#""init":true,"status":["wrong"]"#),
        item(
            "sessions",
            &format!(
                r#"{{"aggregates":[{{"started":"2026-11-21T12:00:00Z","exited":990,"errored":5,"crashed":4,"abnormal":1}},null,{{"exited":"x"}}],{attributes}}}"#
            ),
        ),
        item("session", r#"{"sid":"x","status":"crashed"}"#),
    ] {
        recorder.store(3, body).await;
    }
    let releases = recorder.lines("/api/v1/releases").await;
    assert_eq!(releases.len(), 1, "{releases:?}");
    let release = &releases[0];
    let numbers =
        ["sessions", "sessions_crashed", "sessions_abnormal", "sessions_errored", "users", "users_crashed"]
            .map(|name| release[name].as_u64().expect("a number"));
    assert_eq!(numbers, [1005, 5, 2, 6, 3, 1]);
    let rate = |name: &str| release[name].as_f64().expect("a share");
    assert!((rate("crash_free_sessions") - 1000.0 / 1005.0).abs() < 1e-9);
    assert!((rate("crash_free_users") - 2.0 / 3.0).abs() < 1e-9);
    assert_eq!(recorder.lines("/api/v1/sessions").await.len(), 10, "as they came");
}

#[tokio::test(flavor = "multi_thread")]
async fn double_slash_and_missing_newline_are_accepted() {
    let recorder = Recorder::start(&[]).await;
    let query =
        format!("sentry_version=7&sentry_key={}&sentry_client=sentry.javascript.node%2F11.12.0", key(1));
    for path in ["//api//1//envelope//", "/api/1//envelope/", "///api/1/envelope", "/api/1/envelope/"] {
        let chunks = ["{}", "\n{\"type\":\"client_report\"}\n", "{\"discarded_events\":[]}"]
            .map(|text| Ok::<_, std::io::Error>(text.to_owned()));
        let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
        let response =
            fetch(recorder.client.post(format!("{}{path}?{query}", recorder.ingest)).body(body)).await;
        assert_eq!(response.status(), 200, "{path}: {:?}", response.text().await);
    }
    let store = recorder
        .client
        .post(format!("{}//api/1//store//?{query}", recorder.ingest))
        .body("{\"message\":\"x\"}");
    assert_eq!(fetch(store).await.status(), 200);
    assert_eq!(recorder.lines("/api/v1/client-reports").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn listener_refuses_unknown_host_names() {
    let names =
        [("PITBOSS__HTTP__HOSTS", "recorder.example"), ("PITBOSS__QUERY__HOSTS", "pages.example:8110")];
    let recorder = Recorder::start(&names).await;
    let query = format!("{}/api/v1/envelopes", recorder.query);
    let ingest = format!("{}/api/0/health/", recorder.ingest);
    for (url, host, status) in [
        (&query, "pages.example:8110", 200),
        (&ingest, "pages.example:8110", 421),
        // The pages also answer to the name of the whole process.
        (&query, "recorder.example", 200),
        (&ingest, "recorder.example", 200),
        (&query, "evil.example", 421),
        (&query, "evil.example:8110", 421),
        (&ingest, "evil.example", 421),
    ] {
        let response = fetch(recorder.client.get(url).header("host", host)).await;
        assert_eq!(response.status(), status, "{url} as {host}");
    }
    for url in [query, ingest] {
        assert_eq!(fetch(recorder.client.get(&url)).await.status(), 200, "{url}");
    }
}

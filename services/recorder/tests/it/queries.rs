//! Listings: each in the documented shape, with `since` and `project`.

use serde_json::{Value, json};

use crate::support::{Recorder, error, transaction};

fn item(item_type: &str, payload: &Value) -> String {
    format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{payload}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn envelope_lines_have_the_documented_shape() {
    let recorder = Recorder::start(&[]).await;
    let pretty = "{\"timestamp\":1,\n \"note\":\"a\\nb\"}";
    let body = format!(
        "{{\"sent_at\":\"now\"}}\n{{\"type\":\"client_report\",\"length\":{}}}\n{pretty}\n{{\"type\":\"attachment\",\"length\":3}}\n\u{0}\u{1}\u{2}\n",
        pretty.len()
    );
    let mut seqs = Vec::new();
    for project in [1, 2, 1, 3] {
        seqs.push(recorder.store(project, body.clone()).await);
    }
    let all = recorder.lines("/api/v1/envelopes").await;
    assert_eq!(all.iter().map(|line| line["seq"].as_u64().expect("seq")).collect::<Vec<_>>(), seqs);
    let first = &all[0];
    assert_eq!(first["project"], "gateway");
    assert!(first["received_at"].as_f64().is_some_and(|at| at > 1.7e9));
    assert_eq!(first["headers"], json!({"sent_at": "now"}));
    assert_eq!(first["items"][0]["headers"]["type"], "client_report");
    assert_eq!(first["items"][0]["payload"], json!({"timestamp": 1, "note": "a\nb"}));
    assert_eq!(first["items"][1]["payload"], json!({"base64": "AAEC"}));

    let seqs_of =
        |lines: Vec<Value>| lines.iter().map(|line| line["seq"].as_u64().expect("seq")).collect::<Vec<_>>();
    assert_eq!(seqs_of(recorder.lines(&format!("/api/v1/envelopes?since={}", seqs[1])).await), seqs[2..]);
    assert_eq!(seqs_of(recorder.lines("/api/v1/envelopes?project=gateway").await), [seqs[0], seqs[2]]);
    assert_eq!(seqs_of(recorder.lines("/api/v1/envelopes?project=2").await), [seqs[1]]);
    assert_eq!(seqs_of(recorder.lines("/api/v1/envelopes?limit=2").await), seqs[..2]);
    assert_eq!(recorder.lines("/api/v1/envelopes?type=attachment,event").await.len(), 4);
    assert!(recorder.lines("/api/v1/envelopes?type=transaction").await.is_empty());
    assert!(recorder.lines("/api/v1/envelopes?type=unknown").await.is_empty());
    assert_eq!(recorder.get("/api/v1/envelopes?project=unknown").await.status(), 400);
    assert_eq!(recorder.get("/api/v1/envelopes?since=x").await.status(), 400);
    assert_eq!(recorder.get("/api/v1/envelopes/999/raw").await.status(), 404);
    assert_eq!(recorder.get("/nothing").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn query_sees_acknowledged_envelopes() {
    let recorder = Recorder::start(&[("PITBOSS__RECORDER__INDEX_GATHER_MS", "10000")]).await;
    for expected in 1..20 {
        recorder.store(1, "{}\n").await;
        assert_eq!(recorder.lines("/api/v1/envelopes").await.len(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn issues_have_counts_releases_and_users() {
    let recorder = Recorder::start(&[]).await;
    let trace = "ab".repeat(16);
    let first = recorder.store(3, error(&trace, "aaaaaaaaaaaaaaaa", "ParseError", "bad 1", "anna")).await;
    recorder.store(3, error(&trace, "aaaaaaaaaaaaaaaa", "ParseError", "bad 2", "bert")).await;
    let third = recorder.store(3, error(&trace, "aaaaaaaaaaaaaaaa", "ParseError", "bad 3", "bert")).await;
    recorder.store(3, error(&trace, "aaaaaaaaaaaaaaaa", "IndexError", "out of range", "anna")).await;
    recorder.store(4, error(&trace, "aaaaaaaaaaaaaaaa", "ParseError", "bad 1", "anna")).await;

    let issues = recorder.lines("/api/v1/issues").await;
    assert_eq!(issues.len(), 3, "by project, type and frames");
    let issue = issues.iter().find(|issue| issue["count"] == 3).expect("three events of one kind");
    assert_eq!(issue["project"], "game");
    assert_eq!(issue["title"], "ParseError: bad 3");
    assert_eq!(issue["type"], "ParseError");
    assert_eq!(issue["culprit"], "game::slots in spin");
    assert_eq!((&issue["users"], &issue["releases"]), (&json!(2), &json!(["pitboss@1.0.0"])));
    assert_eq!((&issue["seq"], &issue["last_trace_id"]), (&json!(third), &json!(trace)));
    let since = recorder.lines(&format!("/api/v1/issues?since={first}&project=game")).await;
    assert_eq!(
        since.iter().map(|issue| issue["count_since"].as_u64()).collect::<Vec<_>>(),
        [Some(1), Some(2)]
    );
    assert!(recorder.lines(&format!("/api/v1/issues?since={}", third + 2)).await.is_empty());

    let id = issue["id"].as_str().expect("an id");
    let detail: Value = recorder.get(&format!("/api/v1/issues/{id}")).await.json().await.expect("JSON");
    assert_eq!(detail["events"].as_array().expect("events").len(), 3);
    assert_eq!(detail["events"][0]["value"], "bad 3", "the newest first");
    assert_eq!(detail["events"][0]["handled"], false);
    assert_eq!(recorder.get(&format!("/api/v1/issues/{}", "0".repeat(32))).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_are_listed_with_their_event() {
    let recorder = Recorder::start(&[]).await;
    let event = error(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", "ParseError", "bad", "anna");
    let file = "{\"type\":\"attachment\",\"length\":4,\"filename\":\"a<b>.txt\",\"content_type\":\"text/plain\"}\nabcd\n";
    recorder.store(3, event + file).await;
    recorder.store(3, error(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", "ParseError", "bad", "anna")).await;
    let id = recorder.lines("/api/v1/issues").await[0]["id"].as_str().expect("an id").to_owned();
    let detail: Value = recorder.get(&format!("/api/v1/issues/{id}")).await.json().await.expect("JSON");
    let listed = |event: usize| detail["events"][event]["attachments"].clone();
    assert_eq!(listed(0), json!([]), "the newer event has none");
    assert_eq!(listed(1), json!([{"filename": "a<b>.txt", "content_type": "text/plain", "bytes": 4}]));
    let html = recorder.get(&format!("/issues/{id}")).await.text().await.expect("text");
    assert!(html.contains(".txt (4 bytes)") && !html.contains("a<b>"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn event_that_is_sent_again_is_counted_once() {
    let recorder = Recorder::start(&[]).await;
    let failed = |user: &str| error(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", "ParseError", "bad", user);
    let repeated = failed("anna");
    let mut last = 0;
    for _ in 0..4 {
        last = recorder.store(3, repeated.clone()).await;
    }
    let (head, event) = repeated.split_once('\n').expect("a head");
    last = recorder.store(3, format!("{head}\n{event}{event}")).await.max(last);
    recorder.store(3, failed("bert")).await;
    let issues = recorder.lines("/api/v1/issues").await;
    assert_eq!((issues.len(), &issues[0]["count"], &issues[0]["users"]), (1, &json!(2), &json!(2)));
    let since = recorder.lines(&format!("/api/v1/issues?since={last}")).await;
    assert_eq!((&since[0]["count"], &since[0]["count_since"]), (&json!(2), &json!(1)));
    let path = format!("/api/v1/issues/{}", issues[0]["id"].as_str().expect("an id"));
    let detail: Value = recorder.get(&path).await.json().await.expect("JSON");
    assert_eq!((&detail["count"], detail["events"].as_array().map(Vec::len)), (&json!(2), Some(2)));

    for _ in 0..2 {
        recorder.store(4, item("event", &json!({"message": "without an id"}))).await;
    }
    let issues = recorder.lines("/api/v1/issues?project=payment").await;
    assert_eq!(issues[0]["count"], 2, "each event without an id counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_signals_are_listed_with_their_fields() {
    let recorder = Recorder::start(&[]).await;
    let metrics = json!({"items": [
        {"timestamp": 1.5, "trace_id": "ab".repeat(16), "name": "bets.settled", "type": "counter", "value": 1, "unit": "none",
         "attributes": {"game": {"value": "slots", "type": "string"}, "sentry.release": {"value": "r1", "type": "string"}}},
        {"timestamp": 1.6, "name": "latency", "type": "distribution", "value": 12.5}, "nonsense"]});
    let report = json!({"timestamp": 1, "discarded_events": [{"reason": "queue_overflow", "category": "span", "quantity": 3}]});
    for (project, item_type, payload) in [
        (3, "trace_metric", metrics),
        (4, "check_in", json!({"check_in_id": "c", "monitor_slug": "sweep", "status": "ok"})),
        (4, "profile_chunk", json!({"profiler_id": "p", "profile": {"samples": [1, 2, 3]}})),
        (1, "replay_event", json!({"replay_id": "r", "segment_id": 0})),
        (1, "client_report", report),
        (2, "session", json!({"sid": "s", "attrs": {"release": "r2", "environment": "prod"}})),
    ] {
        recorder.store(project, item(item_type, &payload)).await;
    }
    recorder.store(2, transaction(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", None, "function", "x", 1.0)).await;

    let lines = recorder.lines("/api/v1/metrics").await;
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["name"], &lines[0]["value"], &lines[0]["release"]),
        (&json!("bets.settled"), &json!(1), &json!("r1"))
    );
    assert_eq!((&lines[0]["attributes"]["game"], &lines[0]["project"]), (&json!("slots"), &json!("game")));
    assert_eq!(lines[1]["value"], 12.5);
    let check_in = &recorder.lines("/api/v1/check-ins").await[0];
    assert_eq!((&check_in["monitor_slug"], &check_in["project"]), (&json!("sweep"), &json!("payment")));
    let profile = &recorder.lines("/api/v1/profiles?project=payment").await[0];
    assert_eq!((&profile["profiler_id"], profile.get("profile")), (&json!("p"), None));
    assert_eq!(recorder.lines("/api/v1/replays").await[0]["replay_id"], "r");
    assert_eq!(recorder.lines("/api/v1/client-reports").await[0]["discarded_events"][0]["quantity"], 3);
    assert!(recorder.lines("/api/v1/client-reports?project=game").await.is_empty());
    let releases = recorder.lines("/api/v1/releases?project=user").await;
    assert_eq!(releases.len(), 2);
    assert_eq!((&releases[0]["release"], &releases[0]["sessions"]), (&json!("r2"), &json!(1)));
    assert_eq!((&releases[1]["release"], &releases[1]["transactions"]), (&json!("pitboss@1.0.0"), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn monitor_is_missed_without_check_ins() {
    let recorder = Recorder::start(&[]).await;
    let check_in = |id: &str, more: Value| {
        let mut check_in = json!({"check_in_id": id, "monitor_slug": "consumer-game", "status": "ok"});
        check_in.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        item("check_in", &check_in)
    };
    let config = json!({"schedule": {"type": "interval", "value": 1, "unit": "minute"}, "checkin_margin": 1, "max_runtime": 1});
    recorder.store(3, check_in("a", json!({ "monitor_config": config }))).await;
    recorder.store(3, check_in("b", json!({}))).await;
    recorder.store(4, item("check_in", &json!({"monitor_slug": "sweep", "status": "error"}))).await;
    let monitors = async |parameters: &str| -> Vec<Value> {
        let path = format!("/api/v1/monitors?{parameters}");
        let answer: Value = recorder.get(&path).await.json().await.expect("JSON");
        answer["monitors"].as_array().expect("monitors").clone()
    };

    let now = monitors("").await;
    let facts = ["project", "monitor", "state", "interval_s"].map(|name| &now[0][name]);
    assert_eq!(facts, [&json!("game"), &json!("consumer-game"), &json!("ok"), &json!(60)], "{now:?}");
    assert_eq!((&now[1]["monitor"], &now[1]["state"]), (&json!("sweep"), &json!("error")));
    let missed_from = now[0]["missed_from"].as_f64().expect("a time");
    let later = monitors(&format!("at={}", missed_from + 1.0)).await;
    let states = [&later[0]["state"], &later[1]["state"]];
    assert_eq!(states, ["missed", "error"], "the settings of the first check-in hold for the second");
    let late = monitors(&format!("at={}", missed_from - 30.0)).await;
    let facts = [&late[0]["state"], &late[0]["late"], &later[0]["late"], &late[1]["late"]];
    assert_eq!(facts, [&json!("ok"), &json!(true), &json!(false), &json!(false)]);
    let path = format!("/monitors?at={}", missed_from + 1.0);
    let html = recorder.get(&path).await.text().await.expect("text");
    for text in ["consumer-game", ">missed<", "sweep", "every 1 min"] {
        assert!(html.contains(text), "{text} in {html}");
    }
    assert!(!html.contains(">late<"), "{html}");
    let html =
        recorder.get(&format!("/monitors?at={}", missed_from - 30.0)).await.text().await.expect("text");
    assert!(html.contains(">late<") && !html.contains(">missed<"), "{html}");
    assert!(monitors("at=1000").await.is_empty(), "nothing had checked in then");
    assert_eq!(monitors("project=payment").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_index_is_rebuilt_from_segments() {
    let recorder = Recorder::start(&[]).await;
    for number in 0..50 {
        recorder.store(1 + number % 4, error(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", "E", "v", "anna")).await;
    }
    let (envelopes, issues) =
        (recorder.lines("/api/v1/envelopes").await, recorder.lines("/api/v1/issues").await);
    let releases = recorder.lines("/api/v1/releases").await;
    let mut directory = recorder.stop().await;
    for damage in ["missing", "garbage"] {
        let index = directory.path().join("data/index.sqlite");
        match damage {
            "missing" => std::fs::remove_file(&index).expect("an index"),
            _ => std::fs::write(&index, vec![7; 10_000]).expect("an index"),
        }
        let recorder = Recorder::start_in(directory, &[]).await;
        assert_eq!(recorder.lines("/api/v1/envelopes").await, envelopes, "{damage}");
        assert_eq!(recorder.lines("/api/v1/issues").await, issues, "{damage}");
        assert_eq!(recorder.lines("/api/v1/releases").await, releases, "{damage}");
        directory = recorder.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_deletes_the_oldest_envelopes() {
    let more =
        [("PITBOSS__RECORDER__SEGMENT_BYTES", "20000"), ("PITBOSS__RECORDER__RETENTION_BYTES", "100000")];
    let recorder = Recorder::start(&more).await;
    let mut last = 0;
    for _ in 0..300 {
        last = recorder
            .store(1, transaction(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", None, "function", "x", 1.0))
            .await;
    }
    let status: Value = recorder.get("/api/v1/status").await.json().await.expect("JSON");
    let first = status["first_seq"].as_u64().expect("a number");
    assert!(first > 1 && status["journal_bytes"].as_u64().expect("a number") <= 120_000, "{status}");
    let lines = recorder.lines("/api/v1/envelopes").await;
    assert_eq!(lines[0]["seq"].as_u64(), Some(first));
    assert_eq!(lines.len() as u64, last - first + 1);
    let trace: Value =
        recorder.get(&format!("/api/v1/traces/{}", "ab".repeat(16))).await.json().await.expect("JSON");
    assert_eq!(trace["spans"].as_array().expect("spans").len(), lines.len() * 2);
    let releases = recorder.lines("/api/v1/releases").await;
    assert_eq!(releases[0]["transactions"].as_u64(), Some(lines.len() as u64));
    assert_eq!(releases[0]["first_seen"], lines[0]["received_at"]);
    let directory = recorder.stop().await;
    std::fs::remove_file(directory.path().join("data/index.sqlite")).expect("an index");
    let recorder = Recorder::start_in(directory, &more).await;
    assert_eq!(recorder.lines("/api/v1/releases").await, releases, "a rebuilt index has the same counts");
}

//! Errors, logs and metrics belong to the trace in which they happened.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use telemetry::metric::{self, Metric};
use telemetry::{flags, spans};
use tracing::Instrument as _;

use super::receiver::{Behaviour, Item, Receiver};
use super::scenario;

pub(crate) fn scenario(name: &str) -> Option<fn()> {
    match name {
        "linked" => Some(linked),
        "flagged" => Some(flagged),
        "two_requests" => Some(two_requests),
        "panic_while_hung" => Some(panic_while_hung),
        "several" => Some(several),
        _ => None,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the ledger is closed")]
struct Closed(#[source] std::io::Error);

#[derive(Debug, thiserror::Error)]
#[error("bet not applied")]
struct NotApplied(#[source] Closed);

fn fail_to_apply() -> NotApplied {
    NotApplied(Closed(std::io::Error::other("disk full")))
}

#[inline(never)]
fn reports_from_our_code() -> Option<String> {
    telemetry::report(&fail_to_apply(), &[("event.type", "casino.bets.v1.PlaceBet"), ("bet.id", "b-1")])
}

fn linked() {
    let telemetry = scenario::telemetry();
    scenario::block_on(async {
        let span = spans::background("work", []);
        async {
            telemetry::set_user("player-7");
            tracing::info!(bet.id = "b-1", "bet accepted");
            metric::count(Metric::BetsSettled, 1, &[("game", "slots"), ("currency", "EUR")]);
            metric::distribution(Metric::BetsLatency, 12.5, &[]);
            let id = reports_from_our_code();
            println!("event_id={}", id.unwrap());
            tracing::error!("by macro");
            let joined = telemetry::spawn(async { telemetry::trace_id() }).await.unwrap();
            println!("spawned={}", joined.unwrap());
            let blocking = telemetry::spawn_blocking(telemetry::trace_id).await.unwrap();
            println!("blocking={}", blocking.unwrap());
            telemetry::spawn(async { panic!("task fell over") }).await.unwrap_err();
        }
        .instrument(span)
        .await;
    });
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("peak_kb={}", peak.trim().trim_end_matches(" kB"));
    metric::gauge(Metric::BetsRtpRatio, 0.95, &[("game", "slots")]);
    metric::count(Metric::BusPublishCount, 3, &[("topic", "t")]);
    metric::count(Metric::BusPublishCount, 4, &[("topic", "t")]);
    let page = metric::render_prometheus();
    println!(
        "prometheus={}",
        page.lines().find(|line| line.starts_with("pitboss_bus_publish_count_total")).unwrap()
    );
    scenario::finish(telemetry);
}

fn trace_of(item: &Item) -> &str {
    item.payload["contexts"]["trace"]["trace_id"].as_str().unwrap()
}

/// The event that contains `value` itself. Later events repeat it in their breadcrumbs, and may arrive first.
fn event_with(receiver: &Receiver, value: &str) -> Item {
    let is_it = |item: &Item| {
        let mut payload = item.payload.clone();
        payload.as_object_mut().unwrap().remove("breadcrumbs");
        payload.to_string().contains(value)
    };
    receiver
        .items_of("event")
        .into_iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("no event contains {value:?}"))
}

#[test]
fn error_event_has_trace_causes_frames_and_user() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("linked", &receiver.dsn(), &[]);
    let transaction = receiver.transaction("work");
    let event = event_with(&receiver, "bet not applied");
    assert_eq!(
        event.payload["event_id"].as_str().unwrap().replace('-', ""),
        scenario::printed(&output, "event_id")
    );
    assert_eq!(trace_of(&event), trace_of(&transaction));
    assert_eq!(
        event.payload["contexts"]["trace"]["span_id"],
        transaction.payload["contexts"]["trace"]["span_id"]
    );
    assert_eq!(event.envelope["trace"], transaction.envelope["trace"], "the same sampling context");
    assert!(event.payload["contexts"].get("pitboss.dsc").is_none());
    assert_eq!(event.payload["user"]["id"], "player-7");
    assert_eq!(event.payload["tags"]["event.type"], "casino.bets.v1.PlaceBet");
    assert!(event.payload["tags"].get("bet.id").is_none(), "an id is no tag");
    assert_eq!(event.payload["contexts"]["pitboss"]["bet.id"], "b-1");
    assert_eq!(event.payload["release"], "game@1.2.3");
    assert_eq!(event.payload["environment"], "test");
    let values: Vec<&str> = event.payload["exception"]["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["value"].as_str().unwrap())
        .collect();
    assert_eq!(values, ["disk full", "the ledger is closed", "bet not applied"]);
    let frames = event.payload["exception"]["values"][2]["stacktrace"]["frames"].as_array().unwrap();
    let ours: Vec<&Value> = frames.iter().filter(|frame| frame["in_app"] == true).collect();
    assert!(
        ours.iter().any(|frame| frame["function"].as_str().unwrap().contains("reports_from_our_code")),
        "{ours:#?}"
    );
    assert!(
        ours.iter().all(|frame| !frame["function"].as_str().unwrap().starts_with("tokio::")),
        "{ours:#?}"
    );
    assert!(
        ours.iter().all(|frame| !frame["function"].as_str().unwrap().contains("telemetry::report")),
        "{ours:#?}"
    );
    let images = event.payload["debug_meta"]["images"].as_array().unwrap();
    assert_eq!(images.len(), 1, "the program and no library: {images:#?}");
    assert!(images[0]["code_id"].as_str().is_some_and(|id| id.len() >= 16), "{images:#?}");
    assert!(!images[0]["name"].as_str().unwrap().contains('/'), "{images:#?}");
    let digits = |value: &Value| value.as_str().unwrap().strip_prefix("0x").unwrap().to_owned();
    let number = |value: &Value| u64::from_str_radix(&digits(value), 16).unwrap();
    let begin = number(&images[0]["image_addr"]);
    let program = begin..begin + images[0]["image_size"].as_u64().unwrap();
    assert!(frames.iter().all(|frame| program.contains(&number(&frame["instruction_addr"]))), "{frames:#?}");
    let process = &event.payload["contexts"]["process"];
    assert_eq!((&process["version"], &process["tokio_workers"]), (&json!("1.2.3"), &json!(2)));
    for name in ["rss_bytes", "threads"] {
        assert!(process[name].as_u64().is_some_and(|value| value > 0), "{name}: {process}");
    }
    for name in ["cpu_time_ms", "uptime_s", "tokio_alive_tasks"] {
        assert!(process[name].is_u64(), "{name}: {process}");
    }
    let crumbs = event.payload["breadcrumbs"].to_string();
    assert!(crumbs.contains("bet accepted"), "{crumbs}");
    assert_eq!(trace_of(&event_with(&receiver, "by macro")), trace_of(&transaction));
    assert_eq!(receiver.items_of("event").len(), 3, "each error once");
}

#[test]
fn error_reporting_memory_is_bounded() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("linked", &receiver.dsn(), &[]);
    let peak_kb: u64 = scenario::printed(&output, "peak_kb").parse().unwrap();
    assert!(peak_kb < 48 * 1_024, "{peak_kb} kB after three errors");
}

#[test]
fn panic_and_spawned_work_are_in_trace() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("linked", &receiver.dsn(), &[]);
    let transaction = receiver.transaction("work");
    let panic = event_with(&receiver, "task fell over");
    assert_eq!(trace_of(&panic), trace_of(&transaction));
    assert_eq!(panic.payload["level"], "fatal");
    assert_eq!(panic.payload["exception"]["values"][0]["mechanism"]["handled"], false);
    assert_eq!(scenario::printed(&output, "spawned"), trace_of(&transaction));
    assert_eq!(scenario::printed(&output, "blocking"), trace_of(&transaction));
    assert_eq!(
        transaction.payload["contexts"]["trace"]["status"], "internal_error",
        "an error fails its span"
    );
}

#[test]
fn logs_and_metrics_have_trace() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("linked", &receiver.dsn(), &[]);
    let transaction = receiver.transaction("work");
    let entries = |kind: &str| -> Vec<Value> {
        receiver
            .items_of(kind)
            .iter()
            .flat_map(|item| item.payload["items"].as_array().unwrap().clone())
            .collect()
    };
    let log = entries("log").into_iter().find(|log| log["body"] == "bet accepted").unwrap();
    assert_eq!(log["trace_id"], trace_of(&transaction));
    let span_id = transaction.payload["contexts"]["trace"]["span_id"].as_str().unwrap();
    assert_eq!(log["attributes"]["sentry.trace.parent_span_id"]["value"], span_id);
    assert_eq!(log["span_id"], span_id, "at its span");
    assert_eq!(log["attributes"]["pitboss.bet.id"], serde_json::json!({"type": "string", "value": "b-1"}));
    let metrics = entries("trace_metric");
    let named = |name: &str| metrics.iter().filter(|metric| metric["name"] == name).collect::<Vec<_>>();
    let settled = named("pitboss.bets.settled");
    assert_eq!((settled.len(), &settled[0]["trace_id"]), (1, &Value::from(trace_of(&transaction))));
    assert_eq!(settled[0]["span_id"], span_id);
    assert_eq!(settled[0]["attributes"]["pitboss.game"]["value"], "slots");
    assert_eq!(named("pitboss.bets.latency")[0]["value"], 12.5);
    assert_eq!(named("pitboss.bets.latency")[0]["unit"], "millisecond");
    assert_eq!(named("pitboss.bets.rtp.ratio")[0]["value"], 0.95);
    let published: Vec<f64> =
        named("pitboss.bus.publish.count").iter().map(|metric| metric["value"].as_f64().unwrap()).collect();
    assert_eq!(published, [7.0], "published as one sum");
    assert_eq!(scenario::printed(&output, "prometheus"), r#"pitboss_bus_publish_count_total{topic="t"} 7"#);
}

/// Errors of other forms: linked ones, one with a fingerprint of its own, and the panic of a thread.
fn several() {
    let telemetry = scenario::telemetry();
    let span = spans::background("work", []);
    span.in_scope(|| {
        let query = r#"{"find":"bets","filter":{"_id":"?"}}"#;
        let failing = spans::db("mongodb", "game", "bets", "find", query);
        spans::set_error(&failing, spans::Status::DeadlineExceeded);
        drop(failing);
        tracing::info!("the query failed");
        let (closed, not_applied) = (Closed(std::io::Error::other("disk full")), fail_to_apply());
        let whole = std::io::Error::other("two parts failed");
        let id = telemetry::report_group(&whole, &[&closed, &not_applied], &[("kind", "async-error")]);
        assert_eq!(id, telemetry::last_event_id());
        telemetry::report_as(&["bet", "refused"], &Closed(std::io::Error::other("no space")), &[]);
        let panics = || panic!("a thread fell over");
        std::thread::Builder::new().name("settler".to_owned()).spawn(panics).unwrap().join().unwrap_err();
    });
    drop(span);
    scenario::finish(telemetry);
}

#[test]
fn linked_errors_fingerprint_and_thread_are_sent() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("several", &receiver.dsn(), &[]);
    let group = event_with(&receiver, "two parts failed").payload;
    let values = group["exception"]["values"].as_array().unwrap();
    let parents: Vec<&Value> = values.iter().map(|value| &value["mechanism"]["parent_id"]).collect();
    assert_eq!(parents, [&json!(4), &json!(3), &json!(0), &json!(1), &json!(0), &Value::Null]);
    assert_eq!(values[5]["mechanism"]["is_exception_group"], true);
    assert!(values[5]["stacktrace"]["frames"].is_array(), "{group}");
    assert_eq!(group["tags"]["kind"], "async-error");
    let crumbs = group["breadcrumbs"]["values"].as_array().unwrap();
    let query = crumbs.iter().position(|crumb| crumb["category"] == "db").unwrap();
    assert_eq!(crumbs[query + 1]["message"], "the query failed", "in the order of time");
    let query = &crumbs[query];
    assert_eq!(query["level"], "warning");
    assert_eq!(query["message"], r#"{"find":"bets","filter":{"_id":"?"}}"#);
    assert_eq!(query["data"]["status"], "deadline_exceeded");
    assert!(query["data"]["duration_ms"].is_u64(), "{query}");
    let own = event_with(&receiver, "no space").payload;
    assert_eq!(own["fingerprint"], json!(["bet", "refused"]));
    assert!(group.get("fingerprint").is_none(), "the others are grouped by their type and stack");
    let panic = event_with(&receiver, "a thread fell over").payload;
    let crashed: Vec<&Value> = panic["threads"]["values"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|thread| thread["crashed"] == true)
        .collect();
    assert_eq!((crashed.len(), &crashed[0]["name"]), (1, &json!("settler")));
    assert_eq!(panic["exception"]["values"][0]["thread_id"], crashed[0]["id"]);
    assert!(panic["threads"]["values"].as_array().unwrap().len() > 1, "other threads");
}

/// Two concurrent requests must not mix their data.
fn two_requests() {
    let telemetry = scenario::telemetry();
    scenario::block_on(async {
        let one = |user: &'static str| {
            let span = spans::background(user, []);
            telemetry::with_hub(
                async move {
                    telemetry::set_user(user);
                    tracing::info!("crumb of {user}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    tracing::error!("error of {user}");
                }
                .instrument(span),
            )
        };
        tokio::join!(one("p-1"), one("p-2"));
    });
    scenario::finish(telemetry);
}

#[test]
fn concurrent_requests_do_not_mix() {
    let receiver = Receiver::start(Behaviour::Normal);
    scenario::run("two_requests", &receiver.dsn(), &[]);
    for user in ["p-1", "p-2"] {
        let event = event_with(&receiver, &format!("error of {user}"));
        assert_eq!(event.payload["user"]["id"], user);
        assert_eq!(trace_of(&event), trace_of(&receiver.transaction(user)));
        let crumbs = event.payload["breadcrumbs"].to_string();
        assert!(crumbs.contains(&format!("crumb of {user}")), "{crumbs}");
        assert_eq!(crumbs.matches("crumb of").count(), 1, "{crumbs}");
    }
}

/// One task with two units of work. A fault acts on the first one only.
fn flagged() {
    let telemetry = scenario::telemetry();
    flags::set_source(|| vec![("consumer.slow".to_owned(), true), ("consumer.duplicate".to_owned(), false)]);
    scenario::block_on(telemetry::with_hub(async {
        for (name, is_affected) in [("affected", true), ("spared", false)] {
            let span = spans::background(name, []);
            async {
                if is_affected {
                    flags::applied("payment.random-failure");
                }
                tracing::error!("error of {name}");
            }
            .instrument(span)
            .await;
        }
    }));
    let labels = [("fault", "payment.random-failure")];
    println!("counted={}", testkit::metrics::counted("pitboss_faults_applied_total", &labels));
    scenario::finish(telemetry);
}

#[test]
fn flags_are_on_events_and_affected_spans() {
    let receiver = Receiver::start(Behaviour::Normal);
    let output = scenario::run("flagged", &receiver.dsn(), &[]);
    let flag = |flag: &str, result: bool| json!({ "flag": flag, "result": result });
    let armed = [flag("consumer.duplicate", false), flag("consumer.slow", true)];
    let acted = [&armed[..], &[flag("payment.random-failure", true)]].concat();
    for (name, expected) in [("affected", &acted[..]), ("spared", &armed[..])] {
        let event = event_with(&receiver, &format!("error of {name}")).payload;
        assert_eq!(event["contexts"]["flags"], json!({ "values": expected }), "{name}");
        assert!(!event.to_string().contains("flag.evaluation"), "{event}");
        let transaction = receiver.transaction(name).payload;
        let data = &transaction["contexts"]["trace"]["data"];
        let evaluation = data.get("flag.evaluation.payment.random-failure");
        assert_eq!(evaluation, (name == "affected").then_some(&json!(true)), "{name}");
    }
    assert_eq!(scenario::printed(&output, "counted"), "1");
}

/// The SDK's own panic hook would block the worker for two seconds here.
fn panic_while_hung() {
    let telemetry = scenario::telemetry();
    scenario::block_on(async {
        // The first error of a process reads the symbol table, which is not measured here
        telemetry::spawn(async { panic!("first") }).await.unwrap_err();
        // A busy machine delays some of them. A hook that waits for Sentry delays each one.
        let mut quickest_ms = u128::MAX;
        for _ in 0..5 {
            let started = Instant::now();
            telemetry::spawn(async { panic!("another") }).await.unwrap_err();
            quickest_ms = quickest_ms.min(started.elapsed().as_millis());
        }
        println!("panicked_ms={quickest_ms}");
    });
    telemetry.shutdown_blocking(100);
}

#[test]
fn panic_does_not_wait_for_sentry() {
    let receiver = Receiver::start(Behaviour::Hung);
    let output = scenario::run("panic_while_hung", &receiver.dsn(), &[]);
    let took_ms: u64 = scenario::printed(&output, "panicked_ms").parse().unwrap();
    // Well below the two seconds
    assert!(took_ms < 1_500, "{took_ms}");
}

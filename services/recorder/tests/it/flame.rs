//! Flame graphs of chunks, of one profile, and of a trace.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::Recorder;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const GAME: u32 = 3;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64()
}

fn item(header: &Value, payload: &Value) -> String {
    format!("{{}}\n{header}\n{payload}\n")
}

/// A chunk with three samples of thread 7, one second apart, and one of thread 8. Times are after `began`.
fn chunk(profiler: &str, began: f64) -> String {
    let sample = |after: f64, thread: &str, stack: u64| json!({"timestamp": began + after, "thread_id": thread, "stack_id": stack});
    let payload = json!({
        "version": "2", "profiler_id": profiler, "chunk_id": "c", "platform": "native",
        "profile": {
            "frames": [{"function": "hunt_primes", "in_app": true}, {"function": "main"}, {"function": "<evil>"}],
            "stacks": [[0, 1], [2]],
            "samples": [sample(0.0, "7", 0), sample(1.0, "7", 0), sample(2.0, "7", 0), sample(0.5, "8", 1)],
        },
    });
    item(&json!({"type": "profile_chunk", "platform": "native"}), &payload)
}

/// A streamed span of thread 7, which names a continuous profile or none.
fn span(trace: &str, profiler: Option<&str>, start: f64, end: f64) -> String {
    let mut attributes = json!({
        "sentry.op": {"type": "string", "value": "function"},
        "thread.id": {"type": "integer", "value": 7},
    });
    if let Some(profiler) = profiler {
        attributes["sentry.profiler_id"] = json!({"type": "string", "value": profiler});
    }
    let span = json!({
        "trace_id": trace, "span_id": "aaaaaaaaaaaaaaaa", "name": "spin", "is_segment": true,
        "start_timestamp": start, "end_timestamp": end, "attributes": attributes,
    });
    item(&json!({"type": "span"}), &json!({ "items": [span] }))
}

/// A transaction that names a continuous profile and no thread.
fn transaction(trace: &str, profiler: &str, start: f64, end: f64) -> String {
    let contexts = json!({
        "trace": {"trace_id": trace, "span_id": "bbbbbbbbbbbbbbbb", "op": "function"},
        "profile": {"profiler_id": profiler},
    });
    let payload = json!({
        "type": "transaction", "transaction": "spin", "start_timestamp": start, "timestamp": end, "contexts": contexts,
    });
    item(&json!({"type": "transaction"}), &payload)
}

async fn answer(recorder: &Recorder, parameters: &str) -> Value {
    let response = recorder.get(&format!("/api/v1/flame?{parameters}")).await;
    assert_eq!(response.status(), 200, "{parameters}");
    response.json().await.expect("JSON")
}

async fn text(recorder: &Recorder, path: &str, content_type: &str) -> String {
    let response = recorder.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(response.headers()["content-type"], content_type, "{path}");
    response.text().await.expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_a_period_are_joined() {
    let recorder = Recorder::start(&[]).await;
    let began = now() - 10.0;
    recorder.store(GAME, chunk("p1", began)).await;
    recorder.store(GAME, chunk("p1", began + 3.0)).await;
    recorder.store(GAME, chunk("p2", began)).await;
    recorder.store(1, chunk("p3", began)).await;

    assert_eq!(answer(&recorder, "").await["samples"], 16, "the last hour of all services");
    assert_eq!(answer(&recorder, "project=game").await["samples"], 12);
    let of_one = answer(&recorder, "project=game&profiler=p1").await;
    assert_eq!((&of_one["samples"], &of_one["chunks"]), (&json!(8), &json!(2)));
    let (from, to) = (began + 0.9, began + 2.1);
    let part = answer(&recorder, &format!("project=game&profiler=p1&from={from}&to={to}")).await;
    assert_eq!(part["samples"], 2);
    let focused = answer(&recorder, "project=game&focus=hunt_primes").await;
    assert_eq!(focused["samples"], 9);
    let first = &focused["functions"][0];
    assert_eq!((&first["function"], &first["self_share"]), (&json!("hunt_primes"), &json!(1.0)));

    let folded =
        text(&recorder, "/api/v1/flame/folded?project=game&profiler=p1", "text/plain; charset=utf-8").await;
    assert_eq!(folded, "game;main;hunt_primes 6\ngame;<evil> 2\n");
    for wrong in ["from=2&to=1", "from=nan", "project=gamma", "trace=zz", "seq=1&trace=ab"] {
        assert_eq!(recorder.get(&format!("/api/v1/flame?{wrong}")).await.status(), 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_has_the_samples_of_its_threads() {
    let recorder = Recorder::start(&[]).await;
    let began = now() - 10.0;
    recorder.store(GAME, span(TRACE, Some("p1"), began + 0.9, began + 2.1)).await;
    recorder.store(GAME, chunk("p1", began)).await;
    recorder.store(GAME, chunk("p4", began)).await;
    recorder.store(1, chunk("p2", began)).await;
    let found = answer(&recorder, &format!("trace={TRACE}")).await;
    assert_eq!((&found["samples"], &found["chunks"]), (&json!(2), &json!(1)), "of p1's thread 7 only");
    assert_eq!(found["functions"][0]["function"], "hunt_primes");
    let html = text(&recorder, &format!("/traces/{TRACE}"), "text/html; charset=utf-8").await;
    assert!(html.contains(&format!("href=\"/flame?trace={TRACE}\"")), "{html}");
    assert_eq!(recorder.get(&format!("/flame?trace={}", "0".repeat(32))).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_has_the_samples_of_the_profiles_it_names() {
    let (unnamed, threadless) = ("1".repeat(32), "2".repeat(32));
    let recorder = Recorder::start(&[]).await;
    let began = now() - 10.0;
    recorder.store(GAME, chunk("p1", began)).await;
    recorder.store(GAME, chunk("p2", began)).await;
    recorder.store(GAME, span(&unnamed, None, began, began + 3.0)).await;
    recorder.store(GAME, transaction(&threadless, "p2", began + 0.4, began + 1.5)).await;
    let of_none = answer(&recorder, &format!("trace={unnamed}")).await;
    assert_eq!(of_none["samples"], 0, "a thread alone is that of any process");
    let html = text(&recorder, &format!("/flame?trace={unnamed}"), "text/html; charset=utf-8").await;
    assert!(html.contains("profiler_id"), "the page says what a span lacks: {html}");
    let of_all_threads = answer(&recorder, &format!("trace={threadless}")).await;
    assert_eq!((&of_all_threads["samples"], &of_all_threads["chunks"]), (&json!(2), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_draw_the_profiles_without_markup_of_senders() {
    let recorder = Recorder::start(&[]).await;
    let empty = text(&recorder, "/profiles", "text/html; charset=utf-8").await;
    assert!(empty.contains("No profile."), "{empty}");
    assert!(text(&recorder, "/flame", "text/html; charset=utf-8").await.contains("No sample."));
    let seq = recorder.store(GAME, chunk("p1", now() - 10.0)).await;
    let listed = text(&recorder, "/profiles?project=game", "text/html; charset=utf-8").await;
    assert!(listed.contains(&format!("href=\"/flame?seq={seq}\"")), "{listed}");
    let page = text(&recorder, &format!("/flame?seq={seq}"), "text/html; charset=utf-8").await;
    let picture = text(&recorder, &format!("/flame.svg?seq={seq}"), "image/svg+xml").await;
    for drawn in [&page, &picture] {
        assert!(drawn.contains("hunt_primes: 3 samples, 75.00 %") && !drawn.contains("<evil>"), "{drawn}");
        assert!(drawn.contains("width=\"75.000%\"") && !drawn.contains("<script"), "{drawn}");
    }
    assert!(picture.starts_with("<svg") && picture.contains("width=\"1200\""), "{picture}");
}

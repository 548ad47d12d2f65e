//! The pages show what is stored, and text from senders stays text.

use serde_json::json;

use crate::support::{Recorder, error, fetch, store_bet, transaction};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

async fn page(recorder: &Recorder, path: &str) -> String {
    let response = recorder.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    assert!(
        response.headers()["content-security-policy"].to_str().expect("text").contains("default-src 'none'")
    );
    response.text().await.expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_shows_errors_logs_and_missing_parents() {
    let recorder = Recorder::start(&[]).await;
    assert!(page(&recorder, "/").await.contains("No trace yet"));
    assert!(page(&recorder, "/?project=game").await.contains("No trace began in game."));
    assert_eq!(page(&recorder, "/dashboards/queues").await.matches("class=\"empty\">No ").count(), 4);
    store_bet(&recorder, TRACE).await;
    let (orphan, lost) = ("eeeeeeeeeeeeeeee", Some("0123456789abcdef"));
    recorder.store(4, transaction(TRACE, orphan, lost, "queue.process", "lost parent", 100.01)).await;
    let flags =
        r#""contexts":{"flags":{"values":[{"flag":"a.on","result":true},{"flag":"b.off","result":false}]},"#;
    let failed = error(TRACE, "cccccccccccccccc", "ParseError", "bad reel", "anna");
    recorder.store(3, failed.replace(r#""contexts":{"#, flags)).await;
    let log = json!({"items": [{"timestamp": 100.012, "trace_id": TRACE, "span_id": "cccccccccccccccc", "level": "info", "body": "reels spun"}]});
    recorder.store(3, format!("{{}}\n{{\"type\":\"log\"}}\n{log}\n")).await;

    let html = page(&recorder, "/").await;
    assert!(html.contains(&format!("href=\"/traces/{TRACE}\"")) && html.contains("ParseError: bad reel"));
    let html = page(&recorder, &format!("/traces/{TRACE}")).await;
    for text in [
        "POST /api/v1/bets",
        "queue.process",
        "casino.bets.commands.v1",
        "ParseError: bad reel",
        "reels spun",
        "0123456789abcdef",
        "Incomplete tree",
        "http.route",
        "<b>1</b> log</span>",
    ] {
        assert!(html.contains(text), "{text}");
    }
    let place = |text: &str| html.find(text).expect("it is there");
    assert!(place("id=\"aaaaaaaaaaaaaaaa\"") < place("id=\"cccccccccccccccc\""));
    assert!(place("id=\"cccccccccccccccc\"") < place("reels spun"), "a log stands below its span");
    assert!(place("is missing") < place("id=\"eeeeeeeeeeeeeeee\""), "and an orphan below what is missing");
    let issue = recorder.lines("/api/v1/issues").await[0]["id"].as_str().expect("an id").to_owned();
    let html = page(&recorder, "/issues").await;
    assert!(html.contains("id=\"issues\"") && html.contains(&format!("href=\"/issues/{issue}\"")), "{html}");
    let html = page(&recorder, &format!("/issues/{issue}")).await;
    assert!(html.contains("<b>1</b> event</span>"), "{html}");
    assert!(html.contains("spin") && html.contains("Armed at the newest event: <code>a.on</code>"), "{html}");
    for nothing in [
        "/traces/nonsense",
        "/traces/00000000000000000000000000000000",
        "/issues/00000000000000000000000000000000",
    ] {
        assert_eq!(recorder.get(nothing).await.status(), 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_from_senders_is_escaped() {
    let recorder = Recorder::start(&[]).await;
    recorder.store(1, transaction(TRACE, "aaaaaaaaaaaaaaaa", None, EVIL, EVIL, 100.0)).await;
    recorder
        .store(1, transaction(TRACE, "bbbbbbbbbbbbbbbb", Some("\" onclick=\"alert(3)"), EVIL, EVIL, 100.0))
        .await;
    recorder.store(1, error(TRACE, "aaaaaaaaaaaaaaaa", EVIL, EVIL, EVIL)).await;
    let log = json!({"items": [{"timestamp": 100.0, "trace_id": TRACE, "span_id": "aaaaaaaaaaaaaaaa", "level": EVIL, "body": EVIL,
        "attributes": {EVIL: {"value": EVIL, "type": "string"}}}]});
    recorder.store(1, format!("{{}}\n{{\"type\":\"log\"}}\n{log}\n")).await;
    let issue = recorder.lines("/api/v1/issues").await[0]["id"].as_str().expect("an id").to_owned();
    for path in ["/".to_owned(), format!("/traces/{TRACE}"), format!("/issues/{issue}")] {
        let html = page(&recorder, &path).await;
        assert!(html.contains("alert(1)"), "{path} shows it");
        for markup in ["<script", "<img", "onclick=\"alert(3)"] {
            assert!(!html.contains(markup), "{path} has {markup}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistyped_address_is_a_page_in_a_browser() {
    let recorder = Recorder::start(&[]).await;
    let get = async |path: &str, accept: &str| {
        fetch(recorder.client.get(format!("{}{path}", recorder.query)).header("accept", accept)).await
    };
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    for (path, status, text) in [
        ("/nonsense", 404, "Not found: there is nothing at this address"),
        ("/dashboards/queue", 404, "nothing at this address"),
        ("/issues/nonsense", 404, "Not found"),
        ("/?project=gamma", 400, "there are gateway, user, game, payment"),
        ("/feedback?projekt=game", 400, "unknown parameter `projekt`"),
        ("/logs?level=%3Cscript%3E", 400, "level must be one of"),
        ("/?project=%3Cscript%3Ealert(1)", 400, "alert(1)"),
    ] {
        let response = get(path, browser).await;
        assert_eq!(response.status(), status, "{path}");
        let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(header("content-type"), "text/html; charset=utf-8", "{path}");
        assert!(header("content-security-policy").contains("default-src 'none'"), "{path}");
        let html = response.text().await.expect("text");
        assert!(html.contains(text) && html.contains("href=\"/dashboards/queues\""), "{path}: {html}");
        assert!(!html.contains("<script"), "{html}");
        let response = get(path, "*/*").await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
    }
    let response = get("/api/v1/issues?projekt=game", browser).await;
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["content-type"], "application/problem+json", "an address for programs");
    assert!(page(&recorder, "/").await.contains("No trace yet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn span_at_the_end_of_a_trace_is_drawn() {
    let recorder = Recorder::start(&[]).await;
    let span = |name: &str, parent: Option<&str>, start: f64| {
        transaction(TRACE, &name.repeat(16), parent, "queue.process", &format!("at-{start}"), start)
    };
    recorder.store(1, span("a", None, 100.0)).await;
    // Each span takes 20 ms. The last one begins at 99.8 % of the trace's length.
    for (name, start) in [("b", 104.98), ("c", 109.98)] {
        recorder.store(3, span(name, Some(&"a".repeat(16)), start)).await;
    }
    let html = page(&recorder, &format!("/traces/{TRACE}")).await;
    assert!(html.contains("at-109.98"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_chains_and_cycles_are_drawn_once() {
    let recorder = Recorder::start(&[]).await;
    let spans: Vec<_> = (1..3_000)
        .map(|number| json!({"trace_id": TRACE, "span_id": format!("{number:016x}"), "parent_span_id": format!("{:016x}", number - 1), "name": "x", "start_timestamp": 1.0, "end_timestamp": 2.0}))
        .chain([
            json!({"trace_id": TRACE, "span_id": "000000000000000f0", "parent_span_id": "00000000000000f1", "start_timestamp": 1.0, "end_timestamp": 2.0}),
            json!({"trace_id": TRACE, "span_id": "00000000000000f1", "parent_span_id": "000000000000000f0", "start_timestamp": 1.0, "end_timestamp": 2.0}),
        ])
        .collect();
    recorder.store(1, format!("{{}}\n{{\"type\":\"span\"}}\n{}\n", json!({"items": spans}))).await;
    let html = page(&recorder, &format!("/traces/{TRACE}")).await;
    assert_eq!(html.matches("<details").count(), 3_001, "every span once");
}

#[test]
fn cells_of_cards_have_labels_for_a_narrow_page() {
    let mut cards = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")).expect("templates") {
        let path = entry.expect("a file").path();
        let template = std::fs::read_to_string(&path).expect("text");
        for table in template.split("class=\"cards\"").skip(1) {
            let table = table.split("</table>").next().expect("a table");
            let count = |text: &str| table.matches(text).count();
            assert_eq!(count("<td data-label=\""), count("<td"), "{}", path.display());
            assert_eq!(count("<td"), count("<th>") + count("<th "), "{}", path.display());
            cards += 1;
        }
    }
    assert_eq!(
        cards, 11,
        "two of alerts, an alert, monitors, profiles, releases, runtime and four of queues"
    );
}

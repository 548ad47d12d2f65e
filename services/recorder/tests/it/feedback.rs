//! User feedback: accepted in each form that SDKs send, listed, and shown newest first.

use serde_json::json;

use crate::support::Recorder;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn item(item_type: &str, payload: &serde_json::Value) -> String {
    format!("{{}}\n{{\"type\":\"{item_type}\"}}\n{payload}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn feedback_of_each_form_is_listed_newest_first() {
    let recorder = Recorder::start(&[]).await;
    let empty = recorder.get("/feedback").await.text().await.expect("text");
    assert!(empty.contains("No user wrote anything"), "{empty}");
    let of_event = json!({"type": "feedback", "contexts": {"trace": {"trace_id": TRACE},
        "feedback": {"message": "first <b>bold</b>", "name": "Anna", "url": "http://127.0.0.1/spin"}}});
    let own = json!({"contexts": {"feedback": {"message": "second", "associated_event_id": "e".repeat(32)}}});
    let screenshot = "{\"type\":\"attachment\",\"length\":3,\"filename\":\"shot.png\"}\nabc\n";
    let old = json!({"event_id": "f".repeat(32), "name": "Ben", "comments": "third"});
    recorder.store(1, item("event", &of_event)).await;
    recorder.store(1, item("event", &json!({"message": "an error"}))).await;
    recorder.store(3, item("feedback", &own) + screenshot).await;
    recorder.store(1, item("user_report", &old)).await;

    assert_eq!(recorder.lines("/api/v1/feedback").await.len(), 3);
    assert_eq!(recorder.lines("/api/v1/issues").await.len(), 1, "feedback is no error");
    let html = recorder.get("/feedback").await.text().await.expect("text");
    let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text} in {html}"));
    // The rest of the page has such words, too.
    let [first, second, third] =
        ["first", "second", "third"].map(|text| place(&format!("<td class=\"what\">{text}")));
    assert!(third < second && second < first, "{html}");
    for text in [
        "Anna",
        "Ben",
        "shot.png (3 bytes)",
        "http://127.0.0.1/spin",
        &format!("/traces/{TRACE}"),
        &"e".repeat(32),
        &"f".repeat(32),
    ] {
        place(text);
    }
    assert!(!html.contains("<b>bold</b>") && !html.contains("an error"), "{html}");
    assert!(!html.contains("older entries"), "{html}");
    let html = recorder.get("/feedback?project=game").await.text().await.expect("text");
    assert!(html.contains("second") && !html.contains("third"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn page_says_that_there_are_older_entries() {
    let recorder = Recorder::start(&[]).await;
    let report = |number: u32| json!({"event_id": "f".repeat(32), "name": "Ben", "comments": format!("entry {number}.")});
    let reports = |numbers: std::ops::Range<u32>| -> String {
        numbers.map(|number| format!("{{\"type\":\"user_report\"}}\n{}\n", report(number))).collect()
    };
    recorder.store(1, format!("{{}}\n{}", reports(0..100))).await;
    let html = recorder.get("/feedback").await.text().await.expect("text");
    assert!(html.contains("entry 99.") && !html.contains("older entries"), "{html}");
    recorder.store(3, format!("{{}}\n{}", reports(100..201))).await;
    for path in ["/feedback", "/feedback?project=game"] {
        let html = recorder.get(path).await.text().await.expect("text");
        assert!(html.contains("entry 199.") && !html.contains("entry 200."), "{html}");
        assert!(html.contains("older entries"), "{path} {html}");
    }
}

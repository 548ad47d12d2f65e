use serde_json::json;

use super::*;

/// What a recorder would have after one slow call of payment, with its metric and its issue.
fn seen() -> Observation {
    let payload = json!({
        "transaction": "POST /api/v1/payments/deposits", "start_timestamp": 10.0, "timestamp": 12.5,
        "contexts": { "trace": {
            "trace_id": "ab".repeat(16), "span_id": "aa", "op": "http.server", "status": "internal_error",
        }},
        "spans": [{
            "span_id": "bb", "parent_span_id": "aa", "op": "http.client", "description": "POST /card/v1/charges",
            "status": "ok", "start_timestamp": 10.1, "timestamp": 12.1, "data": { "peer": "partners" },
        }],
    });
    let metric = |name: &str, value: f64, outcome: &str| MetricValue {
        seq: 1,
        name: Some(name.to_owned()),
        value: json!(value),
        attributes: json!({ "pitboss.outcome": outcome }).as_object().unwrap().clone(),
    };
    Observation {
        transactions: vec![Transaction::read("payment", &payload).unwrap()],
        issues: vec![Issue {
            project: "payment".to_owned(),
            title: "Declined: the payment failed".to_owned(),
            count_since: 1,
            last_trace_id: None,
        }],
        metrics: vec![metric("paid", 70.0, "completed"), metric("owed", 100.0, "completed")],
    }
}

fn holds(evidence: &Evidence) -> bool {
    assert!(evidence.find(&Observation::default()).is_none(), "holds without any data: {evidence}");
    evidence.find(&seen()).is_some()
}

#[test]
fn issue_needs_service_and_title() {
    let issue = |service, title_contains| holds(&Evidence::Issue { service, title_contains });
    assert!(issue("payment", "payment failed"));
    assert!(!issue("game", "payment failed"));
    assert!(!issue("payment", "panic"));
}

#[test]
fn slow_span_needs_duration_and_number() {
    let slow = |description_contains, duration_ms_min, count_min| {
        let (service, op) = ("payment", "http.client");
        holds(&Evidence::SlowSpan { service, op, description_contains, duration_ms_min, count_min })
    };
    assert!(slow("/card/v1", 1_900, 1) && slow("", 1_900, 1));
    assert!(!slow("/mail", 1_900, 1) && !slow("", 2_100, 1) && !slow("", 1_900, 2));
}

#[test]
fn status_is_that_of_segments_only() {
    let status =
        |op, status| holds(&Evidence::SegmentStatus { service: "payment", op, status, count_min: 1 });
    assert!(status("http.server", "internal_error"));
    assert!(!status("http.server", "ok") && !status("http.client", "ok"));
}

#[test]
fn attribute_needs_its_value() {
    let attribute = |value| {
        let (service, op, name) = ("payment", "http.client", "peer");
        holds(&Evidence::SpanAttribute { service, op, name, value, count_min: 1 })
    };
    assert!(attribute("partners") && !attribute("elsewhere"));
}

#[test]
fn ratio_needs_denominator_and_band() {
    let ratio =
        |denominator, min, max| holds(&Evidence::MetricRatio { numerator: "paid", denominator, min, max });
    assert!(ratio("owed", 0.6, 0.8));
    assert!(!ratio("owed", 0.9, 1.1) && !ratio("unknown", 0.0, 9.0));
}

#[test]
fn sum_counts_values_with_all_labels() {
    let above = |labels, min| holds(&Evidence::MetricAbove { name: "paid", labels, min });
    assert!(above(&[], 70.0) && above(&[("pitboss.outcome", "completed")], 70.0));
    assert!(!above(&[], 71.0) && !above(&[("pitboss.outcome", "failed")], 1.0));
}

#[test]
fn evidence_combines() {
    let issue = |title_contains| Evidence::Issue { service: "payment", title_contains };
    let [yes, no] = ["failed", "panic"].map(issue);
    assert!(holds(&Evidence::Any(vec![no.clone(), yes.clone()])));
    assert!(!holds(&Evidence::All(vec![yes.clone(), no.clone()])));
    let absent = |evidence: &Evidence| Evidence::Absent(Box::new(evidence.clone())).find(&seen()).is_some();
    assert!(absent(&no) && !absent(&yes));
    assert_eq!(
        Evidence::All(vec![yes, Evidence::Absent(Box::new(no))]).to_string(),
        "an issue of payment whose title contains \"failed\"; and not: an issue of payment whose title contains \"panic\""
    );
}

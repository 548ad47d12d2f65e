use serde_json::{Value, json};

use super::*;

/// Observation after one slow call of payment, with its metric and its issue.
fn seen() -> Observation {
    let payload = json!({
        "transaction": "POST /api/v1/payments/deposits", "start_timestamp": 10.0, "timestamp": 12.5,
        "contexts": { "trace": {
            "trace_id": "ab".repeat(16), "span_id": "aa", "op": "http.server", "status": "internal_error",
        }},
        "spans": [{
            "span_id": "bb", "parent_span_id": "aa", "op": "http.client", "description": "POST /card/v1/charges",
            "status": "ok", "start_timestamp": 10.1, "timestamp": 12.1, "data": { "peer": "partners", "attempt": 2 },
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
            fingerprint: vec!["payment".to_owned(), "declined".to_owned()],
            last_trace_id: None,
        }],
        metrics: vec![metric("paid", 70.0, "completed"), metric("owed", 100.0, "completed")],
        ..Observation::default()
    }
}

fn holds(evidence: &Evidence) -> bool {
    assert!(evidence.find(&Observation::default()).is_none(), "holds without any data: {evidence}");
    evidence.find(&seen()).is_some()
}

#[test]
fn issue_needs_service_and_title() {
    let issue = |service, title_contains| holds(&Evidence::issue(service, title_contains));
    assert!(issue("payment", "payment failed") && issue("", ""));
    assert!(!issue("game", "payment failed"));
    assert!(!issue("payment", "panic"));
}

#[test]
fn described_events_have_user_breadcrumbs_and_process() {
    let event = |change: fn(&mut Value)| {
        let mut event = json!({
            "user": { "id": "p-7" },
            "breadcrumbs": [{ "message": "a step" }],
            "exception": { "values": [{ "type": "Ended", "value": "the session ended" }] },
            "contexts": { "process": {
                "rss_bytes": 9, "threads": 3, "tokio_workers": 2, "cpu_time_ms": 0, "tokio_alive_tasks": 0,
                "uptime_s": 0, "version": "1.2.3",
            }},
        });
        change(&mut event);
        ErrorEvent::new("user", &event, false)
    };
    let holds = |events: &[ErrorEvent], service, text_contains| {
        let seen = Observation { events: events.to_vec(), ..Observation::default() };
        Evidence::DescribedEvents { service, text_contains, count_min: 2 }.find(&seen).is_some()
    };
    let whole = || event(|_| {});
    assert!(holds(&[whole(), whole()], "user", "session ended") && holds(&[whole(), whole()], "", ""));
    assert!(!holds(&[whole()], "user", "session ended"), "too few");
    assert!(!holds(&[whole(), whole()], "game", "") && !holds(&[whole(), whole()], "user", "another text"));
    let changes: [fn(&mut Value); 4] = [
        |event| event["user"]["id"] = Value::Null,
        |event| event["breadcrumbs"] = json!([]),
        |event| event["contexts"]["process"]["threads"] = json!(0),
        |event| event["contexts"]["process"]["uptime_s"] = Value::Null,
    ];
    for change in changes {
        assert!(!holds(&[whole(), whole(), event(change)], "user", "session ended"), "one is not described");
    }
}

#[test]
fn issue_can_demand_one_group_and_many_events() {
    let issue = |title: &str, count_since| Issue {
        project: "game".to_owned(),
        title: title.to_owned(),
        count_since,
        ..Issue::default()
    };
    let found = |issues: &[Issue], evidence: &Evidence| {
        let seen = Observation { issues: issues.to_vec(), ..Observation::default() };
        evidence.find(&seen).is_some()
    };
    let (one, two) = ([issue("a crash", 3)], [issue("a crash", 3), issue("another crash", 1)]);
    let grouped = Evidence::one_issue("game", "crash");
    assert!(found(&one, &grouped) && !found(&two, &grouped));
    let often = |events_min| Evidence::Issue {
        service: "game",
        title_contains: "crash",
        fingerprint: &[],
        events_min,
        groups_max: None,
    };
    assert!(found(&two, &often(3)) && !found(&two, &often(4)));
}

#[test]
fn issue_can_demand_its_whole_fingerprint() {
    let by = |fingerprint| {
        let (service, title_contains, events_min) = ("payment", "", 1);
        Evidence::Issue { service, title_contains, fingerprint, events_min, groups_max: Some(1) }
    };
    assert!(holds(&by(&["payment", "declined"])) && !holds(&by(&["payment"])));
    assert_eq!(
        by(&["payment", "declined"]).to_string(),
        "exactly one issue of payment with the fingerprint payment, declined"
    );
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
fn misses_after_removals_do_not_count() {
    let span = |op: &str, hit: Value| json!({ "span_id": "cc", "op": op, "data": { "cache.hit": hit } });
    let read = |spans: Vec<Value>| {
        let payload = json!({
            "transaction": "GET /internal/v1/sessions", "start_timestamp": 10.0, "timestamp": 12.5,
            "contexts": { "trace": { "trace_id": "ab".repeat(16), "span_id": "aa", "op": "http.server" } },
            "spans": spans,
        });
        Observation {
            transactions: vec![Transaction::read("user", &payload).unwrap()],
            ..Observation::default()
        }
    };
    let holds =
        |spans, count_min| Evidence::CacheMisses { service: "user", count_min }.find(&read(spans)).is_some();
    let (missed, hit, removed) = (
        || span("cache.get", json!(false)),
        || span("cache.get", json!(true)),
        || span("cache.remove", Value::Null),
    );
    assert!(holds(vec![missed(), hit(), missed()], 2));
    assert!(!holds(vec![missed(), hit(), hit()], 2));
    assert!(!holds(vec![missed(), removed(), missed()], 2));
    assert!(holds(vec![missed(), removed(), missed(), missed()], 2));
}

#[test]
fn status_of_spans_needs_description() {
    let status = |description_contains, status| {
        let (service, op) = ("payment", "http.client");
        holds(&Evidence::SpanStatus { service, op, description_contains, status, count_min: 1 })
    };
    assert!(status("/card/v1", "ok") && !status("/card/v1", "unavailable") && !status("/mail", "ok"));
}

#[test]
fn number_of_a_span_is_within_its_band() {
    let number = |min, max| {
        let (service, op, name) = ("payment", "http.client", "attempt");
        holds(&Evidence::SpanNumber { service, op, name, min, max, count_min: 1 })
    };
    assert!(number(2.0, 2.0) && number(f64::NEG_INFINITY, 3.0));
    assert!(!number(3.0, f64::INFINITY) && !number(f64::NEG_INFINITY, -1.0));
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
    let issue = |title_contains| Evidence::issue("payment", title_contains);
    let [yes, no] = ["failed", "panic"].map(issue);
    assert!(holds(&Evidence::Any(vec![no.clone(), yes.clone()])));
    assert!(!holds(&Evidence::All(vec![yes.clone(), no.clone()])));
    let absent = |evidence: &Evidence| Evidence::Absent(Box::new(evidence.clone())).find(&seen()).is_some();
    assert!(absent(&no) && !absent(&yes));
    assert_eq!(
        Evidence::All(vec![yes, Evidence::Absent(Box::new(no))]).to_string(),
        "an issue of payment whose title contains \"failed\", and not: an issue of payment whose title contains \"panic\""
    );
}

#[test]
fn peak_and_share_of_a_metric() {
    let peak = |labels, min| holds(&Evidence::MetricPeak { name: "paid", labels, min });
    assert!(peak(&[], 70.0) && !peak(&[], 71.0) && !peak(&[("pitboss.outcome", "failed")], 0.0));
    let mut seen = seen();
    let failed = MetricValue { value: json!(10.0), ..seen.metrics[0].clone() };
    seen.metrics.push(failed);
    seen.metrics[2].attributes.insert("pitboss.outcome".to_owned(), json!("failed"));
    let share = |percent, count_min| {
        let labels = &[("pitboss.outcome", "failed")];
        Evidence::MetricShare { name: "paid", labels, percent, count_min }.find(&seen).is_some()
    };
    assert!(share(12.0, 3.0) && !share(13.0, 3.0) && !share(12.0, 11.0));
}

const TOPIC: &str = "casino.bets.events.v1";

/// A value of one of lagwatch's gauges.
fn lag_value(name: &str, group: &str, partition: &str, value: f64) -> MetricValue {
    lag_on(TOPIC, name, group, partition, value)
}

fn lag_on(topic: &str, name: &str, group: &str, partition: &str, value: f64) -> MetricValue {
    let attributes = json!({
        "messaging.consumer.group.name": group,
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": partition,
    });
    let attributes = attributes.as_object().unwrap().clone();
    MetricValue { seq: 1, name: Some(name.to_owned()), value: json!(value), attributes }
}

#[test]
fn lag_needs_number_and_age_on_one_partition() {
    let (messages, seconds) = ("pitboss.consumer.lag.messages", "pitboss.consumer.lag.seconds");
    let metrics = vec![
        lag_value(messages, "game", "0", 7.0),
        lag_value(messages, "game", "0", 0.0),
        lag_value(seconds, "game", "0", 12.0),
        lag_value(messages, "game", "1", 1.0),
        lag_value(seconds, "game", "1", 90.0),
    ];
    let seen = Observation { metrics, ..Observation::default() };
    let lag = |group, messages_min, age_s_min| {
        Evidence::Lag { group, messages_min, age_s_min }.find(&seen).is_some()
    };
    assert!(lag("game", 7, 12) && lag("", 1, 90), "the peak counts");
    assert!(!lag("game", 8, 0) && !lag("game", 2, 13) && !lag("user", 1, 0));
    let calm = Observation { metrics: vec![lag_value(messages, "game", "0", 0.0)], ..Observation::default() };
    assert!(Evidence::Lag { group: "game", messages_min: 0, age_s_min: 0 }.find(&calm).is_none());
}

/// Otherwise records that wait for their due time would raise the alarm about lag in the control of another row.
#[test]
fn lag_of_any_group_leaves_out_retry_topics() {
    let retry = format!("{TOPIC}.retry.notification");
    let waiting = |topic: &str| {
        let gauges = [("pitboss.consumer.lag.messages", 7.0), ("pitboss.consumer.lag.seconds", 9.0)];
        let metrics = gauges.map(|(name, value)| lag_on(topic, name, "notification", "0", value));
        Observation { metrics: metrics.to_vec(), ..Observation::default() }
    };
    let lag = |group| Evidence::Lag { group, messages_min: 5, age_s_min: 5 };
    assert!(lag("").find(&waiting(&retry)).is_none() && lag("notification").find(&waiting(&retry)).is_some());
    assert!(lag("").find(&waiting(TOPIC)).is_some());
}

/// A span of one record on the topic, as a transaction.
fn record(service: &str, op: &str, topic: &str) -> Transaction {
    let mut transaction = segment(service, "t", op, "ok", 1.0);
    let data = json!({ "messaging.destination.name": topic, "messaging.consumer.group.name": service });
    transaction.spans[0].data = data.as_object().unwrap().clone();
    transaction
}

#[test]
fn latency_is_not_measured_where_records_wait() {
    let missing =
        Evidence::NotMeasured { topic: TOPIC, group: "notification", published_min: 2, age_s_min: 5 };
    let found = |transactions: &[Transaction], age_s: f64| {
        let metrics = vec![lag_value("pitboss.consumer.lag.seconds", "notification", "0", age_s)];
        let seen = Observation { metrics, ..of(transactions.to_vec()) };
        missing.find(&seen).is_some()
    };
    let published = record("game", "queue.publish", TOPIC);
    let two = [published.clone(), published.clone(), record("user", "queue.process", TOPIC)];
    assert!(found(&two, 6.0), "only another group handles them");
    assert!(!found(&two, 4.0), "the first moments, in which nothing has arrived yet");
    assert!(!found(&two[1..], 6.0), "too few");
    let handled = [two.as_slice(), &[record("notification", "queue.process", TOPIC)]].concat();
    assert!(!found(&handled, 6.0), "it is measured");
    let retried = record("notification", "queue.process", "casino.bets.events.v1.retry.notification");
    assert!(found(&[two.as_slice(), &[retried]].concat(), 6.0), "that is another topic");
    assert!(missing.find(&of(two.to_vec())).is_none(), "no reading says that they wait");
    assert!(missing.can_be_refuted());
}

/// A transaction that is only its segment.
fn segment(service: &str, trace: &str, op: &str, status: &str, ms: f64) -> Transaction {
    let payload = json!({
        "transaction": "casino.bets.events.v1", "start_timestamp": 10.0, "timestamp": 10.0 + ms / 1000.0,
        "contexts": { "trace": {
            "trace_id": trace, "span_id": "aa", "op": op, "status": status,
            "data": { "messaging.destination.partition.id": "4" },
        }},
    });
    Transaction::read(service, &payload).unwrap()
}

fn of(transactions: Vec<Transaction>) -> Observation {
    Observation { transactions, ..Observation::default() }
}

#[test]
fn rates_need_share_and_number() {
    let many = |slow: usize, failed: usize, all: usize| {
        let status = |number| if number < failed { "internal_error" } else { "ok" };
        let ms = |number| if number < slow { 900.0 } else { 20.0 };
        of((0..all).map(|n| segment("game", "t", "queue.process", status(n), ms(n))).collect())
    };
    let p95 = Evidence::P95Above { duration_ms: 500, count_min: 3 };
    assert!(p95.find(&many(3, 0, 10)).is_some());
    assert!(p95.find(&many(2, 0, 10)).is_none() && p95.find(&many(3, 0, 100)).is_none());
    let background = of(vec![segment("user", "t", "function", "ok", 900.0); 9]);
    assert!(p95.find(&background).is_none(), "no request waits for it");
    let rate = Evidence::ErrorRateAbove { percent: 1, count_min: 3 };
    assert!(rate.find(&many(0, 3, 10)).is_some());
    assert!(rate.find(&many(0, 2, 10)).is_none() && rate.find(&many(0, 3, 300)).is_none());
    let cancelled = of(vec![segment("game", "t", "http.server", "cancelled", 1.0); 9]);
    assert!(rate.find(&cancelled).is_none());
}

#[test]
fn spans_are_counted_by_trace() {
    let records = |traces: [&str; 3]| {
        of(traces.map(|trace| segment("game", trace, "queue.process", "ok", 1.0)).to_vec())
    };
    let three = Evidence::SpansInTrace {
        service: "game",
        op: "queue.process",
        description_contains: "bets.events",
        count_min: 3,
    };
    assert!(three.find(&records(["a", "a", "a"])).is_some());
    assert!(three.find(&records(["a", "a", "b"])).is_none());
    assert_eq!(records(["a", "b", "c"]).busiest_partition("game"), Some(4));
    assert_eq!(records(["a", "b", "c"]).busiest_partition("user"), None);
}

/// Otherwise the repetitions of one consumer, which publish again, would prove that of the next one.
#[test]
fn repeated_record_has_one_place_in_the_log() {
    let record = |service: &str, topic: &str, offset: i64| {
        let payload = json!({
            "transaction": topic, "start_timestamp": 10.0, "timestamp": 10.1,
            "contexts": { "trace": {
                "trace_id": "a", "span_id": "aa", "op": "queue.process", "status": "ok", "data": {
                    "messaging.destination.name": topic, "messaging.destination.partition.id": "4",
                    "messaging.kafka.offset": offset,
                },
            }},
        });
        Transaction::read(service, &payload).unwrap()
    };
    let two = Evidence::RepeatedRecords { service: "game", count_min: 2 };
    let mut seen = vec![record("game", "bets", 7), record("game", "bets", 7), record("game", "bets", 8)];
    seen.extend([record("game", "payments", 7), record("user", "bets", 8), record("user", "bets", 8)]);
    assert!(two.find(&of(seen.clone())).is_none(), "only one record of game");
    seen.push(record("game", "bets", 8));
    assert!(two.find(&of(seen)).is_some_and(|sighting| sighting.trace_id.is_some()));
    assert_eq!(two.to_string(), "2 or more records that game handled more than once");
}

#[test]
fn services_hold_same_traces_without_edge() {
    let same = Evidence::SameTraces {
        services: &["game", "payment"],
        op: "queue.process",
        without_service: "gateway",
        without_op: "http.server",
        traces_min: 1,
    };
    let record = |service, trace| segment(service, trace, "queue.process", "ok", 1.0);
    let edge = segment("gateway", "b", "http.server", "ok", 1.0);
    let mut transactions = vec![record("game", "a"), record("payment", "a"), record("game", "b"), edge];
    assert!(same.find(&of(transactions.clone())).is_some(), "b began at the edge");
    transactions.push(record("payment", "c"));
    assert!(same.find(&of(transactions.clone())).is_none(), "c is in payment alone");
    assert!(same.find(&of(transactions.split_off(2))).is_none(), "there is no common trace");
}

#[test]
fn load_is_compared_with_its_control() {
    let unaffected = |failed, slow, p50_ms| {
        let load = Some(Load { units: 20, failed, slow, p50_ms, control_p50_ms: Some(100.0) });
        let seen = Observation { load, ..Observation::default() };
        Evidence::LoadUnaffected { p50_ratio_max: 2.0 }.find(&seen).is_some()
    };
    assert!(unaffected(0, 0, 224.0) && unaffected(0, 2, 100.0));
    assert!(!unaffected(0, 0, 226.0) && !unaffected(1, 0, 10.0));
    assert!(!unaffected(0, 9, 100.0), "almost half of the load is slow, which no median shows");
}

/// Otherwise a control, a recovery or a soak could never show that telemetry was lost.
#[test]
fn loss_counts_without_a_control_to_compare_with() {
    let lost = Evidence::ClientReport { service: "gateway", reason: "", quantity_min: 1 };
    let evidence = Evidence::All(vec![lost, Evidence::LoadUnaffected { p50_ratio_max: 2.0 }]);
    let seen = |reports: &[u64], load| {
        let (service, reason) = ("gateway", "send_error");
        let report = |quantity: &u64| ClientReport {
            service: service.to_owned(),
            reason: reason.to_owned(),
            quantity: *quantity,
        };
        Observation { client_reports: reports.iter().map(report).collect(), load, ..Observation::default() }
    };
    let load = |control_p50_ms| Some(Load { units: 10, failed: 1, slow: 0, p50_ms: 10.0, control_p50_ms });
    assert!(evidence.find(&seen(&[3], None)).is_some(), "a rest or a soak");
    assert!(evidence.find(&seen(&[3], load(None))).is_some(), "a control or a recovery");
    assert!(evidence.find(&seen(&[3], load(Some(10.0)))).is_none(), "the fault's phase, with a failed unit");
    assert!(evidence.find(&seen(&[], load(None))).is_none() && evidence.find(&seen(&[], None)).is_none());
}

#[test]
fn reported_losses_add_up() {
    let report = |reason: &str, quantity| ClientReport {
        service: "game".to_owned(),
        reason: reason.to_owned(),
        quantity,
    };
    let client_reports = vec![report("send_error", 2), report("network_error", 3)];
    let seen = Observation { client_reports, ..Observation::default() };
    let lost_by = |service, reason, quantity_min| {
        Evidence::ClientReport { service, reason, quantity_min }.find(&seen).is_some()
    };
    let lost = |service, quantity_min| lost_by(service, "", quantity_min);
    assert!(lost("game", 5) && lost("", 0) && !lost("game", 6) && !lost("user", 0));
    assert!(lost_by("game", "network_error", 3) && !lost_by("game", "network_error", 4));
    assert!(!lost_by("game", "ratelimit_backoff", 0));
}

#[test]
fn only_the_named_monitor_is_missed() {
    let monitor =
        |monitor: &str, state: &str| Monitor { monitor: monitor.to_owned(), state: state.to_owned() };
    let missed = |monitors: &[Monitor]| {
        let seen = Observation { monitors: monitors.to_vec(), ..Observation::default() };
        Evidence::CheckInMissed { monitor: "consumer-notification" }.find(&seen).is_some()
    };
    assert!(missed(&[monitor("consumer-game", "ok"), monitor("consumer-notification", "missed")]));
    assert!(!missed(&[monitor("consumer-game", "missed"), monitor("consumer-notification", "ok")]));
    assert!(!missed(&[]), "a monitor that never was is not missed");
}

#[test]
fn only_evidence_about_check_ins_reads_monitors() {
    let (missed, issue) = (Evidence::CheckInMissed { monitor: "consumer-game" }, Evidence::issue("game", ""));
    let both = Evidence::All(vec![issue.clone(), Evidence::absent(missed)]);
    assert!(both.reads_monitors() && !Evidence::Any(vec![issue]).reads_monitors());
}

#[test]
fn signals_leave_out_what_has_to_be_absent() {
    let (issue, load) = (Evidence::issue("game", "crash"), Evidence::LoadUnaffected { p50_ratio_max: 2.0 });
    let all = Evidence::All(vec![issue.clone(), Evidence::absent(issue.clone()), load]);
    assert_eq!(all.signals(), [&issue]);
}

#[test]
fn later_records_refute_absence_and_single_group() {
    let issue = Evidence::issue("game", "crash");
    for refutable in [Evidence::absent(issue.clone()), Evidence::one_issue("game", "crash")] {
        assert!(refutable.can_be_refuted(), "{refutable}");
        assert!(Evidence::All(vec![issue.clone(), refutable]).can_be_refuted());
    }
    assert!(!Evidence::All(vec![issue]).can_be_refuted(), "more of it changes nothing");
}

use serde_json::json;

use super::super::files::tests::declared;
use super::*;

fn rendered(slug: &str) -> Vec<Detector> {
    detectors(declared().rules.iter().find(|rule| rule.slug == slug).unwrap())
}

#[test]
fn rule_is_a_monitor_in_each_project() {
    let monitors = rendered("request-latency");
    let places: Vec<(&str, &str)> =
        monitors.iter().map(|monitor| (monitor.service.as_str(), monitor.name.as_str())).collect();
    let name = "Pitboss: Requests: p95 above 500 ms";
    assert_eq!(places, [("gateway", name), ("user", name)]);
    let source = &monitors[0].body["dataSources"][0];
    assert_eq!(source["aggregate"], "p95(span.duration)");
    assert_eq!(source["query"], "is_transaction:true span.op:http.server");
    assert_eq!((&source["eventTypes"], &source["timeWindow"]), (&json!(["trace_item_span"]), &json!(300)));
    let conditions = json!([
        { "type": "gt", "comparison": 500.0, "conditionResult": 50 },
        { "type": "lte", "comparison": 500.0, "conditionResult": 0 },
    ]);
    assert_eq!(monitors[0].body["conditionGroup"]["conditions"], conditions);
}

/// Without data Sentry evaluates 0, which is a good lag.
#[test]
fn rule_that_fires_without_data_has_a_second_monitor_that_counts() {
    let monitors = rendered("lag-seconds");
    let [lag, silent] = monitors.as_slice() else { panic!("{monitors:?}") };
    let lag_query = &lag.body["dataSources"][0];
    assert_eq!(lag_query["aggregate"], "max(value,pitboss.consumer.lag.seconds,gauge,second)");
    assert_eq!(lag_query["query"], "!messaging.destination.name:*.retry.*");
    let query = &silent.body["dataSources"][0];
    assert_eq!(query["aggregate"], "count(value,pitboss.consumer.lag.seconds,gauge,second)");
    assert_eq!(query["query"], lag_query["query"]);
    let bad = json!({ "type": "lt", "comparison": 1.0, "conditionResult": 75 });
    assert_eq!(silent.body["conditionGroup"]["conditions"][0], bad);
    assert_eq!(silent.name, "Pitboss: Consumer lag above 30 s (no data)");
}

#[test]
fn share_is_an_equation_with_the_condition_of_its_part() {
    let monitors = rendered("payment-failures");
    let source = &monitors[0].body["dataSources"][0];
    let expected = "equation|sum_if(`pitboss.outcome:failed`,value,pitboss.payments.ended,counter,none) / sum(value,pitboss.payments.ended,counter,none)";
    assert_eq!((&source["aggregate"], &source["query"]), (&json!(expected), &json!("")));
    assert_eq!(source["eventTypes"], json!(["trace_item_metric"]));
    let expected = "equation|sum(value,pitboss.game.payout.paid,counter,none) / sum(value,pitboss.game.payout.owed,counter,none)";
    assert_eq!(rendered("payouts-above-owed")[0].body["dataSources"][0]["aggregate"], expected);
}

/// Without data Sentry evaluates 0, which is below every such bound.
#[test]
fn rule_about_small_values_measures_what_is_missing() {
    for (slug, expected) in [
        (
            "payouts-below-owed",
            "equation|0.999 - (sum(value,pitboss.game.payout.paid,counter,none) / sum(value,pitboss.game.payout.owed,counter,none))",
        ),
        ("rtp-below-band", "equation|0.85 - avg(value,pitboss.bets.rtp.ratio,gauge,ratio)"),
    ] {
        let body = rendered(slug).remove(0).body;
        assert_eq!(body["dataSources"][0]["aggregate"], expected);
        let conditions = &body["conditionGroup"]["conditions"];
        assert_eq!((&conditions[0]["type"], &conditions[0]["comparison"]), (&json!("gt"), &json!(0.0)));
    }
}

#[test]
fn names_of_monitors_are_unique_in_their_project() {
    let all: Vec<(String, String)> = declared()
        .rules
        .iter()
        .flat_map(detectors)
        .map(|detector| (detector.service, detector.name))
        .collect();
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    assert!(all.iter().all(|(_, name)| name.chars().count() <= 200 && name.starts_with(PREFIX)));
}

#[test]
fn alert_names_its_monitors_and_its_receivers() {
    let alert = declared().alerts.remove(0);
    let body = workflow(&alert, &["7".to_owned(), "8".to_owned()]);
    assert_eq!(body["detectorIds"], json!(["7", "8"]));
    assert_eq!(body["config"], json!({ "frequency": 30 }));
    assert_eq!(body["triggers"]["conditions"][1]["type"], "regression_event");
    let filter = &body["actionFilters"][0];
    assert_eq!(filter["conditions"][0]["comparison"], 50);
    assert_eq!(filter["actions"][0]["data"], json!({ "fallthroughType": "ActiveMembers" }));
}

#[test]
fn check_ins_have_the_monitor_that_their_service_names() {
    let body = cron_monitor(&declared().monitors[0]);
    assert_eq!((&body["slug"], &body["project"]), (&json!("consumer-game"), &json!("pitboss-game")));
    assert_eq!(body["config"]["schedule"], json!([1, "minute"]));
    assert_eq!(body["config"]["checkin_margin"], 2);
}

#[test]
fn jobs_have_the_thresholds_that_their_check_ins_bring() {
    let definitions = declared();
    let all = check_in_monitors(&definitions);
    assert_eq!(all.len(), definitions.monitors.len() + definitions.jobs.len());
    let (slug, body) = all.last().unwrap();
    assert_eq!((slug.as_str(), &body["project"]), ("job-lagwatch-watch", &json!("pitboss-lagwatch")));
    assert_eq!(
        (&body["config"]["failure_issue_threshold"], &body["config"]["recovery_threshold"]),
        (&json!(2), &json!(1))
    );
}

#[test]
fn fingerprint_rules_are_lines() {
    let projects = declared().projects;
    let text = fingerprint_rules(&projects.fingerprints);
    let expected = "tags.error.kind:\"*\" tags.messaging.destination.name:\"*\" -> kafka, {{ tags.error.kind }}, {{ tags.messaging.destination.name }}\n\
        tags.error.kind:\"*\" -> kafka, {{ tags.error.kind }}";
    assert_eq!(text, expected);
    assert_eq!(project(&projects.list[0], &projects)["fingerprintingRules"], expected);
}

#[test]
fn widget_lists_groups_before_figures() {
    let dashboards = declared().dashboards;
    let of = |title: &str| {
        dashboard(dashboards.iter().find(|dashboard| dashboard.title == title).unwrap())["widgets"].clone()
    };
    let widget = of("Queues")[1].clone();
    assert_eq!((&widget["widgetType"], &widget["displayType"]), (&json!("spans"), &json!("line")));
    let query = &widget["queries"][0];
    let latency = "avg(messaging.message.receive.latency)";
    assert_eq!(query["fields"], json!(["messaging.destination.name", latency]));
    assert_eq!(
        (&query["columns"], &query["aggregates"]),
        (&json!(["messaging.destination.name"]), &json!([latency]))
    );
    assert_eq!(
        (&query["conditions"], &query["orderby"]),
        (&json!("span.op:queue.process"), &json!(format!("-{latency}")))
    );
    assert_eq!((&widget["limit"], &widget["layout"]["y"]), (&json!(5), &json!(4)));

    let widget = of("Money")[3].clone();
    assert_eq!(widget["queries"][0]["columns"], json!(["pitboss.kind"]));
    assert_eq!(widget["queries"][0]["conditions"], "pitboss.outcome:failed");
    assert_eq!(widget["widgetType"], "tracemetrics");
}

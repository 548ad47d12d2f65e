use telemetry::metric::Metric;

use super::super::files::tests::declared;
use super::super::model::{Aggregate, Display, Named, Source, Threshold};
use super::*;

/// Findings after a change of the declarations.
fn after(change: impl FnOnce(&mut Definitions)) -> Vec<String> {
    let mut definitions = declared();
    change(&mut definitions);
    lint(&definitions).unwrap()
}

fn rule<'a>(definitions: &'a mut Definitions, slug: &str) -> &'a mut Rule {
    definitions.rules.iter_mut().find(|rule| rule.slug == slug).unwrap()
}

#[test]
fn nothing_is_found_in_this_checkout() {
    assert_eq!(after(|_| ()), Vec::<String>::new());
}

/// Each change is found, and nothing else is.
#[track_caller]
fn finds(expected: &str, change: impl FnOnce(&mut Definitions)) {
    let findings = after(change);
    assert!(findings.len() == 1 && findings[0].contains(expected), "{expected}: {findings:?}");
}

#[test]
fn names_that_nothing_sends_are_found() {
    finds("dead-letters: the metric wire.bytes is not sent", |definitions| {
        let Signal::Metric(signal) = &mut rule(definitions, "dead-letters").signal else { panic!() };
        signal.name = Named(Metric::WireBytes);
    });
    finds("no metric has the label colour (sent as pitboss.colour)", |definitions| {
        let Signal::Metric(signal) = &mut rule(definitions, "dead-letters").signal else { panic!() };
        signal.labels.insert("colour".to_owned(), "red".to_owned());
    });
    finds("the pattern `a b\\\"`", |definitions| {
        let Signal::Ratio(ratio) = &mut rule(definitions, "payment-failures").signal else { panic!() };
        ratio.labels.insert("outcome".to_owned(), "a b\"".to_owned());
    });
    finds("no span has the op http.serve, expected one of cache.get", |definitions| {
        let Signal::Transactions(signal) = &mut rule(definitions, "request-errors").signal else { panic!() };
        signal.op = "http.serve".to_owned();
    });
    finds("no span has the attribute messaging.topic", |definitions| {
        let spans = definitions.dashboards.iter_mut().flat_map(|dashboard| &mut dashboard.widgets);
        let first = spans.filter_map(|widget| match &mut widget.source {
            Source::Spans(spans) if spans.by.len() == 1 => Some(spans),
            _ => None,
        });
        first.take(1).for_each(|spans| spans.by = vec!["messaging.topic".to_owned()]);
    });
}

#[test]
fn aggregate_has_to_suit_the_metric() {
    finds("avg of bus.records.dead_lettered says nothing, expected sum", |definitions| {
        let Signal::Metric(signal) = &mut rule(definitions, "dead-letters").signal else { panic!() };
        signal.aggregate = Aggregate::Avg;
    });
    finds("bets.rtp.ratio is no counter", |definitions| {
        let Signal::Ratio(ratio) = &mut rule(definitions, "payouts-above-owed").signal else { panic!() };
        ratio.to = Named(Metric::BetsRtpRatio);
    });
}

#[test]
fn alert_that_would_never_fire_is_found() {
    finds("names no rule and no check-ins", |definitions| {
        let mut silent = definitions.alerts[0].clone();
        silent.name = "Silent".to_owned();
        silent.rules.clear();
        definitions.alerts.push(silent);
    });
    finds("there is no rule dead-leters", |definitions| {
        definitions.alerts[0].rules.push("dead-leters".to_owned());
    });
    finds("audit-findings: no alert names it", |definitions| {
        definitions.alerts[0].rules.retain(|slug| slug != "audit-findings");
    });
    finds("frequency_min is not one of [0, 5", |definitions| definitions.alerts[0].frequency_min = 3_600);
    finds("no alert has missed check-ins", |definitions| {
        definitions.alerts.iter_mut().for_each(|alert| alert.check_ins = false);
    });
}

#[test]
fn finding_that_would_be_in_no_alert_is_found() {
    finds("request-errors is in 0 folds", |definitions| {
        definitions.folds.iter_mut().for_each(|fold| fold.rules.retain(|slug| slug != "request-errors"));
    });
    finds("request-errors is in 2 folds", |definitions| {
        definitions.folds[0].rules.push("request-errors".to_owned());
    });
    finds("there is no rule dead-leters", |definitions| {
        definitions.folds[0].rules.push("dead-leters".to_owned());
    });
    finds("one fold has missed check-ins", |definitions| {
        definitions.folds.iter_mut().for_each(|fold| fold.check_ins = true);
    });
    finds("period_min is not from 1", |definitions| definitions.folds[0].period_min = 0);
    finds("a fold needs a slug of its own", |definitions| {
        definitions.folds[1].slug = definitions.folds[0].slug.clone();
    });
}

#[test]
fn rule_that_sentry_refuses_is_found() {
    finds("row_bound has to be on the good side", |definitions| {
        rule(definitions, "lag-seconds").row_bound = Some(31.0);
    });
    finds("window_s is not one of [60, 300", |definitions| rule(definitions, "lag-seconds").window_s = 301);
    finds("the bound is no number", |definitions| {
        rule(definitions, "lag-seconds").firing = Threshold::Above(f64::NAN);
    });
    finds("projects.toml has no project for roulette", |definitions| {
        rule(definitions, "lag-seconds").projects.push("roulette".to_owned());
    });
    finds("it needs projects", |definitions| rule(definitions, "lag-seconds").projects.clear());
}

#[test]
fn conditions_of_the_faults_have_a_rule() {
    finds("no rule for `latency not measured`", |definitions| {
        rule(definitions, "latency-not-measured").condition = None;
    });
    finds("no fault has the alert condition `lag`", |definitions| {
        rule(definitions, "lag-seconds").condition = Some("lag".to_owned());
    });
}

#[test]
fn monitor_has_the_settings_of_its_check_ins() {
    finds("game differs from what its check-ins bring", |definitions| {
        definitions.monitors[0].margin_min = 1;
    });
    finds("game needs one monitor and has 0", |definitions| {
        definitions.monitors.remove(0);
    });
    finds("game-sweeper differs from what its check-ins bring", |definitions| {
        let job = definitions.jobs.iter_mut().find(|monitor| monitor.job == "game-sweeper").unwrap();
        job.runtime_min_max = 1;
    });
    finds("projects.toml has no project for roulette", |definitions| {
        definitions.jobs[0].service = "roulette".to_owned();
    });
}

#[test]
fn projects_are_the_senders() {
    finds("no project for gateway, which sends telemetry", |definitions| {
        let gateway = definitions.projects.list.remove(0);
        assert_eq!(gateway.service, "gateway");
        definitions.rules.iter_mut().for_each(|rule| rule.projects.retain(|service| *service != "gateway"));
        definitions.jobs.retain(|monitor| monitor.service != "gateway");
    });
    finds("roulette sends no telemetry", |definitions| {
        let mut project = definitions.projects.list[0].clone();
        project.service = "roulette".to_owned();
        definitions.projects.list.push(project);
    });
    finds("`tags.player.id` is neither one of error.type", |definitions| {
        definitions.projects.fingerprints[1].fingerprint.push("{{ tags.player.id }}".to_owned());
    });
    finds("has a quote", |definitions| {
        definitions.projects.fingerprints[1].matchers.insert("message".to_owned(), "a\" b".to_owned());
    });
}

#[test]
fn widgets_have_places_of_their_own() {
    finds("is outside of the 6 columns", |definitions| definitions.dashboards[0].widgets[0].size = [7, 1]);
    finds("lies over another widget", |definitions| {
        let widgets = &mut definitions.dashboards[0].widgets;
        let last = widgets.len() - 1;
        widgets[last].at = widgets[last - 1].at;
    });
    finds("a number is one figure", |definitions| {
        definitions.dashboards[0].widgets[0].display = Display::BigNumber;
    });
}

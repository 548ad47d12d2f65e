//! A simulated day: two hundred findings become at most ten alerts.

use std::collections::BTreeMap;

use super::{ALERTS_PER_DAY_MAX, Book, FoldedBy, Origin, book::tests::finding};

const HOUR_S: f64 = 3_600.0;
const SERVICES: [&str; 5] = ["game", "payment", "user", "analytics", "notification"];

/// What happens on the day: time, origin and project, and the time at which it ends.
type Happening = (f64, Origin, &'static str, Option<f64>);

fn rule(slug: &str) -> Origin {
    Origin::Rule(slug.to_owned())
}

/// A day with a dead broker in the morning, a provider that fails at noon, a wrong pay table in the evening, and new issues all day.
fn day() -> Vec<Happening> {
    let mut happenings: Vec<Happening> = Vec::new();
    // The broker is gone for twenty minutes: each group lags, misses its check-ins and is slow, several times over.
    for round in 0..6 {
        let at = 7.0 * HOUR_S + f64::from(round) * 200.0;
        for service in SERVICES {
            let monitor = Origin::CheckIn(format!("consumer-{service}"));
            happenings.push((at, monitor, service, Some(at + 150.0)));
            happenings.push((at + 10.0, rule("processing-latency"), service, Some(at + 160.0)));
            happenings.push((at + 20.0, rule("dead-letters"), service, Some(at + 320.0)));
        }
        for slug in ["lag-messages", "lag-seconds", "lag-reading"] {
            happenings.push((at + 30.0, rule(slug), "lagwatch", Some(at + 190.0)));
        }
    }
    // The provider fails for an hour: payments and requests fail, and each class of error is an issue.
    for round in 0..12_u32 {
        let at = 12.0 * HOUR_S + f64::from(round) * 300.0;
        happenings.push((at, rule("payment-failures"), "analytics", Some(at + 250.0)));
        happenings.push((at + 5.0, rule("request-errors"), "gateway", Some(at + 260.0)));
        happenings.push((at + 6.0, rule("processing-errors"), "payment", Some(at + 260.0)));
        happenings.push((at + 9.0, Origin::Issue(format!("provider-{round}")), "payment", None));
    }
    // The pay table is wrong for half an hour.
    for round in 0..6 {
        let at = 19.0 * HOUR_S + f64::from(round) * 300.0;
        happenings.push((at, rule("payouts-above-owed"), "game", Some(at + 200.0)));
        happenings.push((at + 60.0, rule("rtp-above-band"), "analytics", Some(at + 290.0)));
    }
    // Something new every three quarters of an hour.
    for number in 0..32_u32 {
        let at = f64::from(number) * 0.75 * HOUR_S;
        happenings.push((at, Origin::Issue(format!("issue-{number}")), "user", None));
    }
    happenings.sort_by(|one, other| one.0.total_cmp(&other.0));
    happenings
}

/// Plays a day, and ends what ends before the next thing happens.
fn play(happenings: Vec<Happening>) -> Book {
    let (mut book, folds) = (Book::default(), &rules::declared().folds);
    let mut ends: Vec<(f64, Origin, &str)> = Vec::new();
    for (at, origin, project, until) in happenings {
        ends.retain(|(end, origin, project)| {
            let is_over = *end <= at;
            if is_over {
                book.end(origin, project, *end);
            }
            !is_over
        });
        if let Some(end) = until {
            ends.push((end, origin.clone(), project));
        }
        assert!(book.add(finding(at, origin, project), folds).is_some());
    }
    book
}

#[test]
fn two_hundred_findings_of_a_day_are_at_most_ten_alerts() {
    let happenings = day();
    let raw = happenings.len() as u64;
    assert!(raw >= 200, "only {raw} findings");
    let book = play(happenings);
    let alerts = book.alerts();
    assert!((3..=ALERTS_PER_DAY_MAX).contains(&alerts.len()), "{} alerts", alerts.len());
    assert_eq!(alerts.iter().map(|alert| alert.count).sum::<u64>(), raw, "nothing is lost");
    let mut folded: BTreeMap<FoldedBy, u64> = BTreeMap::new();
    for (reason, count) in alerts.iter().flat_map(|alert| &alert.folded) {
        *folded.entry(*reason).or_default() += count;
    }
    assert_eq!(folded[&FoldedBy::First], alerts.len() as u64);
    assert_eq!(folded.values().sum::<u64>(), raw, "each has a reason");
    // One alert for each incident, whatever else happens.
    for (fold, count) in [("backlog", 1), ("money", 1)] {
        assert_eq!(alerts.iter().filter(|alert| alert.fold == fold).count(), count, "{fold}");
    }
}

#[test]
fn findings_that_never_end_their_period_keep_the_budget() {
    // Each fold, every two hours and a minute: thirty-three findings that would all be alerts.
    let mut happenings: Vec<Happening> = Vec::new();
    for number in 0..22 {
        let at = f64::from(number) * (2.0 * HOUR_S + 60.0);
        for (slug, project) in
            [("audit-findings", "cli"), ("lag-seconds", "lagwatch"), ("request-errors", "user")]
        {
            happenings.push((at, rule(slug), project, Some(at + 60.0)));
        }
    }
    let book = play(happenings);
    for alert in book.alerts() {
        let begin = alert.opened_at;
        let in_day =
            book.alerts().iter().filter(|other| (begin..begin + 24.0 * HOUR_S).contains(&other.opened_at));
        assert!(in_day.count() <= ALERTS_PER_DAY_MAX, "from {begin}");
    }
    let budget: u64 = book.alerts().iter().filter_map(|alert| alert.folded.get(&FoldedBy::Budget)).sum();
    assert!(budget > 0, "the budget was never needed");
    let folds: std::collections::BTreeSet<&str> =
        book.alerts().iter().map(|alert| alert.fold.as_str()).collect();
    assert_eq!(folds.len(), 3, "no fold is starved");
}

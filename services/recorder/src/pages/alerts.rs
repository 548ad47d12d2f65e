//! The pages with the alerts: the list beside the states of the rules, and one alert with its findings.

use askama::Template;
use axum::{extract::State, response::Response};
use chassis::{http::Path, problem::Problem};
use rules::{Rule, Unit};

use super::{
    format::{Service, clock, optional},
    not_found, render,
};
use crate::{
    domain::alerting::{AlertState, Entry, Origin, Phase},
    query::{
        alerts::{self, AlertParams, Listed, RuleState},
        params::UrlQuery,
        state::{Query, run_query, with_lag},
    },
};

/// Largest number of findings in words in the list.
const WHAT_MAX: usize = 4;

/// One alert, formatted.
struct AlertLine {
    id: u64,
    name: String,
    severity: &'static str,
    state: &'static str,
    is_firing: bool,
    opened: String,
    last: String,
    resolved: String,
    count: u64,
    /// What it has, with the numbers.
    what: Vec<What>,
    what_more: usize,
}

/// Findings of one kind in an alert, formatted.
struct What {
    name: String,
    /// Page of the issue. Empty for a rule or a monitor.
    href: String,
    count: u64,
}

/// One rule, formatted.
struct RuleLine {
    service: Service,
    phase: &'static str,
    is_firing: bool,
    value: String,
    bad: String,
    since: String,
    rule: RuleState,
}

/// One finding, formatted.
struct EntryLine {
    service: Service,
    at: String,
    ended: String,
    value: String,
    bound: String,
    entry: Entry,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    evaluated: String,
    late: u64,
    alerts: Vec<AlertLine>,
    rules: Vec<RuleLine>,
}

#[derive(Template)]
#[template(path = "alert.html")]
struct AlertPage {
    line: AlertLine,
    /// Reasons for which findings are part of it, with their numbers.
    folded: Vec<(&'static str, u64)>,
    /// Newest first.
    entries: Vec<EntryLine>,
}

impl From<&Listed> for AlertLine {
    fn from(listed: &Listed) -> Self {
        let alert = &listed.alert;
        let what = alert.keys.iter().map(|(key, count)| What::new(&alert.entries, key, *count));
        Self {
            id: alert.id,
            name: alert.name.clone(),
            severity: alert.severity.as_str(),
            state: listed.state.as_str(),
            is_firing: listed.state == AlertState::Firing,
            opened: clock(alert.opened_at),
            last: clock(alert.last_at),
            resolved: optional(alert.resolved_at, clock),
            count: alert.count,
            what: what.take(WHAT_MAX).collect(),
            what_more: alert.keys.len().saturating_sub(WHAT_MAX),
        }
    }
}

impl What {
    /// An issue is named by its title, if its finding is among the entries that the alert keeps.
    fn new(entries: &[Entry], key: &str, count: u64) -> Self {
        let finding = entries.iter().map(|entry| &entry.finding).find(|finding| finding.key() == key);
        match finding.map(|finding| (&finding.origin, finding)) {
            Some((Origin::Issue(id), finding)) => {
                let name = format!("{} in {}", finding.what, finding.project);
                Self { name, href: format!("/issues/{id}"), count }
            }
            _ => Self { name: key.to_owned(), href: String::new(), count },
        }
    }
}

impl RuleLine {
    fn new(query: &Query, rule: RuleState) -> Self {
        let unit = rules::rule(&rule.rule).map(Rule::unit).unwrap_or_default();
        let bad = match (rule.above, rule.below) {
            (Some(bound), _) => format!("> {}", unit.show(bound)),
            (None, Some(bound)) => format!("< {}", unit.show(bound)),
            (None, None) => "–".to_owned(),
        };
        Self {
            service: Service::new(&query.projects, &rule.project),
            phase: phase(rule.condition.phase),
            is_firing: rule.condition.phase == Phase::Firing,
            value: match rule.what {
                Some(what) => what.to_owned(),
                None => optional(rule.condition.value, |value| unit.show(value)),
            },
            bad,
            since: if rule.condition.since > 0.0 { clock(rule.condition.since) } else { "–".to_owned() },
            rule,
        }
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Ok => "ok",
        Phase::Pending => "pending",
        Phase::Firing => "firing",
        Phase::Resolved => "resolved",
        Phase::NoData => "no data",
    }
}

/// Unit of the values of a finding. A missed check-in and an issue have none.
fn unit_of(origin: &Origin) -> Unit {
    match origin {
        Origin::Rule(slug) => rules::rule(slug).map(Rule::unit).unwrap_or_default(),
        Origin::CheckIn(_) | Origin::Issue(_) => Unit::None,
    }
}

/// `GET /alerts?limit=`
pub(super) async fn page(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<AlertParams>,
) -> Result<Response, Problem> {
    let limit = alerts::wanted(params)?;
    let (found, lag) = run_query(&query, move |query| alerts::read(query, limit)).await?;
    let html = render(&AlertsPage {
        evaluated: optional(found.round.evaluated_at, clock),
        late: found.round.late,
        alerts: found.alerts.iter().map(AlertLine::from).collect(),
        rules: found.round.rules.into_iter().map(|rule| RuleLine::new(&query, rule)).collect(),
    });
    Ok(with_lag(lag, html))
}

/// `GET /alerts/{id}`
pub(super) async fn one(State(query): State<Query>, Path(id): Path<u64>) -> Result<Response, Problem> {
    let (found, lag) = run_query(&query, move |query| alerts::read_one(query, id)).await?;
    let Some(listed) = found else { return Ok(with_lag(lag, not_found("There is no such alert."))) };
    let entry = |entry: Entry| {
        let unit = unit_of(&entry.finding.origin);
        EntryLine {
            service: Service::new(&query.projects, &entry.finding.project),
            at: clock(entry.finding.at),
            ended: optional(entry.ended_at, clock),
            value: optional(entry.finding.value, |value| unit.show(value)),
            bound: optional(entry.finding.bound, |bound| unit.show(bound)),
            entry,
        }
    };
    let html = render(&AlertPage {
        line: AlertLine::from(&listed),
        folded: listed.alert.folded.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
        entries: listed.alert.entries.into_iter().rev().map(entry).collect(),
    });
    Ok(with_lag(lag, html))
}

#[cfg(test)]
mod tests {
    use rules::Severity;

    use super::*;
    use crate::domain::alerting::{Finding, FoldedBy};

    fn entry(origin: Origin, what: &str) -> Entry {
        let finding = Finding {
            at: 1.0,
            origin,
            project: "user".to_owned(),
            what: what.to_owned(),
            severity: Severity::High,
            value: None,
            bound: None,
            window_s: None,
            traces: Vec::new(),
            lasts: false,
        };
        Entry { finding, folded_by: FoldedBy::First, ended_at: None }
    }

    #[test]
    fn issue_of_an_alert_has_its_title_and_a_link() {
        let entries = [
            entry(Origin::Issue("00925814".to_owned()), "LoginError: refused"),
            entry(Origin::Rule("dead-letters".to_owned()), "Dead letters"),
        ];
        let shown = |key: &str| {
            let what = What::new(&entries, key, 2);
            (what.name, what.href)
        };
        let issue = ("LoginError: refused in user".to_owned(), "/issues/00925814".to_owned());
        assert_eq!(shown("issue 00925814 in user"), issue);
        for key in ["dead-letters in user", "issue 99 in user"] {
            assert_eq!(shown(key), (key.to_owned(), String::new()));
        }
    }
}

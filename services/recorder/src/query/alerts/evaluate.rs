//! One round of the evaluation: new envelopes, rules, check-ins, issues, and what they change.

use std::collections::{BTreeMap, BTreeSet};

use rules::{Declared, NoData, Rule, Severity, Verdict};
use uuid::Uuid;

use super::{Round, RuleState, collect::Collector};
use crate::{
    domain::{
        ActivityKind,
        alerting::{Alert, Book, Change, Condition, Finding, Origin, Phase, key},
    },
    index::{IndexError, alerts as stored, read, read_issues},
    protocol::{alert_state::StoredAlerts, digest::Kinds},
    query::{
        issues,
        lines::WriteError,
        monitors::{self, Tracked},
        scan::{Scanned, Window, scan},
        state::Query,
    },
};

/// Item types that rules need.
const KINDS: [&str; 4] = ["transaction", "span", "trace_metric", "check_in"];
/// Round at which each rule is due: its interval divided by this, in seconds. It is the time between two rounds by default.
const ROUND_S: u32 = 10;
/// Time before the first round whose envelopes are read, in seconds: the longest window.
const FIRST_PERIOD_S: u64 = 3_600;
/// Time after the start in which a missing value or check-in says nothing, beside the window of a rule: what was sent while the
/// recorder was down did not arrive, and senders start beside it.
const SETTLE_S: f64 = 180.0;
/// Largest number of changed issues that one round looks at. Further ones wait for the next round.
const ISSUES_MAX: u32 = 50;
/// Largest number of issues whose last report is remembered.
const REPORTED_MAX: usize = 10_000;

/// The evaluation, with all that it remembers from one round to the next.
#[derive(Debug)]
pub(super) struct Evaluator {
    declared: &'static Declared,
    collector: Collector,
    conditions: BTreeMap<String, (Origin, String, Condition)>,
    /// States of the monitors of check-ins among them, by the same keys.
    monitors: BTreeMap<String, &'static str>,
    book: Book,
    /// Time of the first round.
    began: Option<f64>,
    rounds: u64,
    /// Everything up to this `seq` was read. `None` before the first round.
    upto: Option<u64>,
    /// Changes of issues up to this `seq` were looked at.
    issues_upto: u64,
    /// Time of the activity of each issue that was reported last.
    reported: BTreeMap<Uuid, f64>,
    /// Alerts that changed and are not stored yet.
    changed: BTreeSet<u64>,
    /// The `seq` of the last stored change.
    stored_seq: u64,
    /// Everything below this `seq` was deleted when that was looked at last.
    purged: u64,
}

impl Evaluator {
    /// Continues with what is stored. Without a stored round, issues up to the `seq` `known_upto` are no news. Neither are those of more
    /// than an hour ago, for which the evaluation may have been switched off.
    pub(super) fn restore(query: &Query, known_upto: u64, now: f64) -> Result<Self, IndexError> {
        let declared = rules::declared();
        let book = Book::restore(query.read_index(stored::alerts)?);
        let known = query.read_index(stored::conditions)?;
        let nothing = || (0, StoredAlerts { upto: known_upto, ..StoredAlerts::default() });
        let (stored_seq, last) = known.unwrap_or_else(nothing);
        let first_us = ((now - FIRST_PERIOD_S as f64).max(0.0) * 1e6) as u64;
        let old_upto = query.read_index(|connection| read::last_seq_before(connection, first_us))?;
        let mut evaluator = Self {
            declared,
            collector: Collector::new(&declared.rules),
            conditions: BTreeMap::new(),
            monitors: BTreeMap::new(),
            book,
            began: None,
            rounds: 0,
            upto: None,
            issues_upto: last.upto.max(old_upto),
            reported: BTreeMap::new(),
            changed: BTreeSet::new(),
            stored_seq,
            purged: query.index.reached().purged,
        };
        evaluator.restore_conditions(&last.conditions);
        Ok(evaluator)
    }

    /// Takes the conditions of rules that are declared. What another version of the rules found ends.
    fn restore_conditions(&mut self, known: &BTreeMap<String, Condition>) {
        let declared = self.declared;
        for rule in &declared.rules {
            for project in &rule.projects {
                let origin = Origin::Rule(rule.slug.clone());
                let key = key(&origin, project);
                if let Some(condition) = known.get(&key) {
                    self.conditions.insert(key, (origin, project.clone(), *condition));
                }
            }
        }
        // The slug of a monitor is in the findings about it only.
        for entry in self.book.alerts().iter().flat_map(|alert| &alert.entries) {
            let (origin, project) = (&entry.finding.origin, &entry.finding.project);
            let key = entry.finding.key();
            if matches!(origin, Origin::CheckIn(_))
                && let Some(condition) = known.get(&key)
            {
                self.conditions.insert(key, (origin.clone(), project.clone(), *condition));
            }
        }
        let at = known.values().map(|condition| condition.since).fold(0.0, f64::max);
        let is_known = |key: &str| self.conditions.contains_key(key);
        self.changed.extend(self.book.end_others(is_known, at));
    }

    /// Reads what is new, evaluates the rules that are due at `now`, and returns what the queries show.
    pub(super) fn round(&mut self, query: &Query, now: f64) -> Result<Round, WriteError> {
        self.look_for_deletion(query);
        let began = *self.began.get_or_insert(now);
        let scanned = self.read(query)?;
        // What was not read yet is not missing.
        let running_s = if scanned.truncated { 0.0 } else { now - began };
        self.collector.forget(now);
        let declared = self.declared;
        for (index, rule) in declared.rules.iter().enumerate() {
            if self.rounds.is_multiple_of(u64::from((rule.interval_s() / ROUND_S).max(1))) {
                self.rule(index, rule, now, running_s);
            }
        }
        if running_s >= SETTLE_S {
            let states = self.collector.monitors.states(now);
            self.check_ins(states, now);
        }
        self.issues(query, now)?;
        self.rounds += 1;
        Ok(Round {
            evaluated_at: Some(now),
            upto: self.upto.unwrap_or_default(),
            late: self.collector.late,
            rules: self.rule_states(),
        })
    }

    /// Reads the envelopes that are new, each once, also if it fails halfway.
    fn read(&mut self, query: &Query) -> Result<Scanned, WriteError> {
        let window = self.upto.map_or(Window::of_period_s(FIRST_PERIOD_S), Window::after);
        let (collector, mut last) = (&mut self.collector, self.upto);
        let scanned = scan(query, window, Kinds::any_of(&KINDS), |opened| {
            collector.add(opened);
            last = last.max(Some(opened.source.seq));
        });
        // The scan may have read envelopes that were indexed after it had begun.
        self.upto = last.max(scanned.as_ref().ok().map(|scanned| scanned.seq));
        scanned
    }

    /// Returns what has to be stored, or `None` if nothing changed.
    ///
    /// What lasts is stored with every change. The envelope of an old change may be deleted, because the journal is full.
    pub(super) fn unsaved(&self) -> Option<StoredAlerts> {
        if self.changed.is_empty() {
            return None;
        }
        let changed = |alert: &&Alert| self.changed.contains(&alert.id) || !alert.lasting.is_empty();
        let bad = |(_, (_, _, condition)): &(&String, &(Origin, String, Condition))| {
            matches!(condition.phase, Phase::Firing | Phase::Resolved)
        };
        let conditions = self.conditions.iter().filter(bad);
        Some(StoredAlerts {
            upto: self.issues_upto,
            conditions: conditions.map(|(key, (_, _, condition))| (key.clone(), *condition)).collect(),
            alerts: self.book.alerts().iter().filter(changed).cloned().collect(),
        })
    }

    /// Takes note that everything is stored in the envelope with this `seq`.
    pub(super) fn saved(&mut self, seq: u64) {
        self.changed.clear();
        self.stored_seq = seq;
    }

    /// Forgets everything if all envelopes were deleted, as the queries do. If only old ones were, because the journal is full, what
    /// lasts is stored again.
    fn look_for_deletion(&mut self, query: &Query) {
        let purged = query.index.reached().purged;
        if purged <= self.purged {
            return;
        }
        self.purged = purged;
        if self.upto.is_some_and(|upto| upto > 0 && purged > upto) {
            self.book = Book::default();
            self.conditions.clear();
            self.monitors.clear();
            self.changed.clear();
            self.reported.clear();
            self.collector = Collector::new(&self.declared.rules);
            self.began = None;
            self.stored_seq = 0;
        } else if purged > self.stored_seq {
            let lasting = self.book.alerts().iter().filter(|alert| !alert.lasting.is_empty());
            self.changed.extend(lasting.map(|alert| alert.id));
        }
    }

    fn rule(&mut self, index: usize, rule: &'static Rule, now: f64, running_s: f64) {
        for project in &rule.projects {
            let measured = self.collector.measure(index, project, now);
            let is_blind = running_s < f64::from(rule.window_s) + SETTLE_S;
            if measured.verdict == Verdict::NoData && rule.no_data == NoData::Firing && is_blind {
                continue;
            }
            let origin = Origin::Rule(rule.slug.clone());
            let condition = self.condition(&origin, project);
            let change = condition.step(rule, measured.verdict, now);
            let value = condition.value;
            let what = if value.is_none() { format!("{} (no data)", rule.name) } else { rule.name.clone() };
            let finding = Finding {
                at: now,
                origin,
                project: project.clone(),
                what,
                severity: rule.severity,
                value,
                bound: Some(rule.firing.bound()),
                window_s: Some(rule.window_s),
                traces: measured.traces,
                lasts: true,
            };
            self.take(change, finding);
        }
    }

    /// Takes the states of the monitors. One with several environments is bad if it is in any of them.
    fn check_ins(&mut self, states: Vec<Tracked>, now: f64) {
        let mut monitors: BTreeMap<(String, String), Option<&'static str>> = BTreeMap::new();
        for Tracked { project, monitor, bad } in states {
            let of_all = monitors.entry((project, monitor)).or_default();
            *of_all = bad.or(*of_all);
        }
        self.end_check_ins(now, |project, monitor| {
            monitors.contains_key(&(project.to_owned(), monitor.to_owned()))
        });
        for ((project, monitor), bad) in monitors {
            let origin = Origin::CheckIn(monitor);
            if bad.is_none() && !self.conditions.contains_key(&key(&origin, &project)) {
                continue;
            }
            let change = self.condition(&origin, &project).step_plain(bad.is_some(), now);
            let state = bad.unwrap_or("ok");
            self.monitors.insert(key(&origin, &project), state);
            let finding = Finding {
                at: now,
                what: format!("{origin}: {state}"),
                origin,
                project,
                severity: Severity::Medium,
                value: None,
                bound: None,
                window_s: None,
                traces: Vec::new(),
                lasts: true,
            };
            self.take(change, finding);
        }
    }

    /// Ends what was found about monitors that are unknown for as long as one that is missed is remembered. After a restart only those
    /// are known that checked in during the last hour.
    fn end_check_ins(&mut self, now: f64, is_known: impl Fn(&str, &str) -> bool) {
        let is_over = |(origin, project, condition): &&(Origin, String, Condition)| match origin {
            Origin::CheckIn(monitor) => {
                now - condition.since > monitors::PERIOD_S as f64 && !is_known(project, monitor)
            }
            Origin::Rule(_) | Origin::Issue(_) => false,
        };
        let over: Vec<(Origin, String)> = self
            .conditions
            .values()
            .filter(is_over)
            .map(|(origin, project, _)| (origin.clone(), project.clone()))
            .collect();
        for (origin, project) in over {
            self.changed.extend(self.book.end(&origin, &project, now));
            let key = key(&origin, &project);
            self.conditions.remove(&key);
            self.monitors.remove(&key);
        }
    }

    /// Takes issues that are new, came back or escalate.
    fn issues(&mut self, query: &Query, now: f64) -> Result<(), IndexError> {
        let changed = query
            .read_index(|connection| read_issues::changed_after(connection, self.issues_upto, ISSUES_MAX))?;
        for (seq, id, known) in changed {
            self.issues_upto = seq;
            let Some(last) = known.activity.last() else { continue };
            let how = match last.kind {
                ActivityKind::FirstSeen => "new issue",
                ActivityKind::SetRegression => "issue that came back",
                ActivityKind::SetEscalating => "issue that escalates",
                _ => continue,
            };
            if self.reported.insert(id, last.at) == Some(last.at) {
                continue;
            }
            if self.reported.len() > REPORTED_MAX {
                self.reported.pop_first();
            }
            let detail = issues::detail(query, id).unwrap_or_else(|error| {
                // It is still news, without its title.
                tracing::error!(error = %error, "an issue could not be read for its alert");
                None
            });
            let (title, trace) =
                detail.map(|detail| (detail.issue.title, detail.issue.last_trace_id)).unwrap_or_default();
            let finding = Finding {
                at: now,
                origin: Origin::Issue(id.to_string()),
                project: query.projects.name(known.project),
                what: format!("{how}: {title}"),
                severity: Severity::Medium,
                value: None,
                bound: None,
                window_s: None,
                traces: trace.into_iter().collect(),
                lasts: false,
            };
            self.take(Some(Change::Fired), finding);
        }
        Ok(())
    }

    fn condition(&mut self, origin: &Origin, project: &str) -> &mut Condition {
        let entry = self.conditions.entry(key(origin, project));
        &mut entry.or_insert_with(|| (origin.clone(), project.to_owned(), Condition::default())).2
    }

    /// Folds what fired, and ends what has ended.
    fn take(&mut self, change: Option<Change>, finding: Finding) {
        match change {
            Some(Change::Fired) => self.changed.extend(self.book.add(finding, &self.declared.folds)),
            Some(Change::Ended) => {
                self.changed.extend(self.book.end(&finding.origin, &finding.project, finding.at));
            }
            None => {}
        }
    }

    fn rule_states(&self) -> Vec<RuleState> {
        let state = |(key, known): (&String, &(Origin, String, Condition))| {
            let (origin, project, condition) = known;
            match origin {
                Origin::Rule(slug) => {
                    let rule = self.declared.rules.iter().find(|rule| rule.slug == *slug)?;
                    Some(RuleState::of(rule, project, *condition))
                }
                Origin::CheckIn(monitor) => {
                    let what = self.monitors.get(key).copied();
                    Some(RuleState::of_monitor(monitor, project, *condition, what))
                }
                Origin::Issue(_) => None,
            }
        };
        self.conditions.iter().filter_map(state).collect()
    }
}

#[cfg(test)]
mod tests;

//! The summary of a drill: JSON for programs, Markdown for a report.

use std::fmt::Write as _;

use faults::FaultId;
use serde::Serialize;

use crate::verify::Figures;

pub use super::stage::{Audited, Compensated, Lag, LettersDone};

/// Result of a drill.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// Title of the scenario.
    pub title: &'static str,
    /// Seed of the amounts, and of the fault of a blind drill.
    pub seed: u64,
    /// The drill came to its end.
    pub complete: bool,
    /// Faults that this platform cannot apply, and that were left out.
    pub left_out: Vec<&'static str>,
    /// The faults, in their order.
    pub faults: Vec<Act>,
    /// Actions on dead letters.
    pub letters: Vec<LettersDone>,
    /// Traces and pages of the recorder that were named, each with its address.
    pub pages: Vec<String>,
    /// The answer of a blind drill.
    pub guess: Option<Guess>,
    /// The audit.
    pub money: Option<Money>,
    /// Voids of the bets that the audit found.
    pub compensated: Option<Compensated>,
}

/// One fault of a drill.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Act {
    /// The fault.
    pub id: &'static str,
    /// Title of the fault.
    pub title: &'static str,
    /// Traffic that it concerned.
    pub scope: String,
    /// Values of its parameters.
    pub values: String,
    /// Evidence that had to be seen.
    pub evidence: String,
    /// Time from arming to the evidence, or to the signature, in seconds. Absent if it was not seen.
    pub seen_after_s: Option<f64>,
    /// Place where the evidence was seen.
    pub seen_in: Option<String>,
    /// Addresses of the trace that shows it.
    pub addresses: Vec<String>,
    /// Load without a fault.
    pub normal: Option<Figures>,
    /// Load under the fault.
    pub under_fault: Figures,
    /// The greatest lag.
    pub lag: Option<Lag>,
    /// Signature of the lag that had to be seen.
    pub signature_expected: Option<&'static str>,
    /// Signature of the lag that was seen last.
    pub signature: Option<&'static str>,
    /// Alert rule that had to fire, and then had to end.
    pub alert: Option<&'static str>,
    /// Time from healing to the end of that rule, in seconds. Absent if it did not end.
    pub resolved_after_s: Option<f64>,
    /// Number of times that the fault was applied, by the counters of services and supervisor.
    pub applied: Option<u64>,
    /// Time from disarming to work that showed nothing any more, in seconds. Absent if it still showed something.
    pub recovery_s: Option<f64>,
    /// Cause of the symptoms, where it is not the service that shows them. Empty otherwise.
    pub culprit: &'static str,
}

/// The answer of a blind drill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Guess {
    /// Fault that the person named.
    pub named: Option<&'static str>,
    /// Fault that was armed.
    pub armed: &'static str,
    /// Evidence of the named fault, if it is another one.
    pub named_evidence: Option<String>,
    /// That evidence was there, too.
    pub named_evidence_held: bool,
}

/// Result of the audit, and the expected one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Money {
    /// A fault of this drill makes wrong amounts, which the audit has to find.
    pub findings_expected: bool,
    /// Result of the audit.
    #[serde(flatten)]
    pub audited: Audited,
}

impl Act {
    /// Returns true if what had to be seen was seen, and ended with the fault.
    #[must_use]
    pub fn holds(&self) -> bool {
        let has_ended = self.alert.is_none() || self.resolved_after_s.is_some();
        self.seen_after_s.is_some() && self.recovery_s.is_some() && has_ended
    }
}

impl Guess {
    /// Returns true if the person named the armed fault.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.named == Some(self.armed)
    }
}

impl Money {
    /// Returns true if the audit said what it had to say.
    #[must_use]
    pub fn holds(&self) -> bool {
        if self.findings_expected { self.audited.violations > 0 } else { self.audited.is_clean }
    }
}

impl Summary {
    /// A summary of nothing so far.
    #[must_use]
    pub fn new(scenario: &'static str, title: &'static str, seed: u64, left_out: &[FaultId]) -> Self {
        let left_out = left_out.iter().map(|fault| fault.as_str()).collect();
        Self { scenario, title, seed, left_out, ..Self::default() }
    }

    /// Returns true if the drill came to its end, each fault was seen and ended, a replay healed what it had to heal, the money is
    /// as it has to be, each wrong bet was voided, and a hidden fault was named.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.complete
            && self.faults.iter().all(Act::holds)
            && self.letters.iter().all(LettersDone::holds)
            && self.guess.as_ref().is_none_or(Guess::is_right)
            && self.money.as_ref().is_none_or(Money::holds)
            && self.compensated.as_ref().is_none_or(Compensated::holds)
    }

    /// The summary as Markdown, for a report.
    #[must_use]
    pub fn markdown(&self) -> String {
        let Self { scenario, title, seed, complete, .. } = self;
        let end = if *complete { "It came to its end." } else { "**It was interrupted.**" };
        let mut text = format!("## Drill `{scenario}`: {title}\n\nSeed {seed}. {end}\n");
        for fault in &self.left_out {
            push(&mut text, &format!("\nLeft out, because this platform has no supervisor: `{fault}`.\n"));
        }
        if !self.faults.is_empty() {
            push(&mut text, &self.table());
            self.faults.iter().for_each(|act| push(&mut text, &section(act)));
        }
        if let Some(guess) = &self.guess {
            push(&mut text, &format!("\n### Answer\n\n{}\n", answer(guess)));
        }
        if !self.letters.is_empty() {
            push(&mut text, "\n### Dead letters\n\n");
            self.letters.iter().for_each(|done| push(&mut text, &letters(done)));
        }
        if !self.pages.is_empty() {
            push(&mut text, "\n### Pages\n\n");
            self.pages.iter().for_each(|page| push(&mut text, &format!("- {page}\n")));
        }
        if let Some(money) = &self.money {
            push(&mut text, &format!("\n### Money\n\n{}\n", money_text(money)));
            money.audited.first.iter().for_each(|finding| push(&mut text, &format!("- {finding}\n")));
        }
        if let Some(compensated) = &self.compensated {
            push(&mut text, &format!("\n### Compensation\n\n{compensated}.\n"));
        }
        text
    }

    /// The faults side by side.
    fn table(&self) -> String {
        let mut table =
            "\n| fault | seen after | recovery | p50 | p95 | failed | lag | signature |\n".to_owned();
        table.push_str("|---|---|---|---|---|---|---|---|\n");
        for act in &self.faults {
            let lag = act.lag.as_ref().map_or_else(|| "–".to_owned(), Lag::to_string);
            let (seen, recovery) = (seconds(act.seen_after_s), seconds(act.recovery_s));
            let p50 = change(act, "ms", |figures| figures.p50_ms);
            let p95 = change(act, "ms", |figures| figures.p95_ms);
            let failed = change(act, "%", |figures| figures.failed_percent);
            let signature = signature(act);
            let row = format!(
                "| `{}` | {seen} | {recovery} | {p50} | {p95} | {failed} | {lag} | {signature} |\n",
                act.id
            );
            push(&mut table, &row);
        }
        table
    }
}

/// Appends text.
fn push(text: &mut String, more: &str) {
    text.push_str(more);
}

/// A figure without and with the fault. There is none without a unit that ended, as for a debug fault, which has no load.
fn change(act: &Act, unit: &str, figure: impl Fn(&Figures) -> f64) -> String {
    if act.under_fault.units == 0 {
        return "–".to_owned();
    }
    let under = figure(&act.under_fault);
    match &act.normal {
        Some(normal) => format!("{:.0} → {under:.0} {unit}", figure(normal)),
        None => format!("{under:.0} {unit}"),
    }
}

/// CPU time without and with the fault. Empty for a platform that something else runs.
fn cpu(act: &Act) -> String {
    let normal = act.normal.as_ref().and_then(|figures| figures.cpu_percent);
    match (normal, act.under_fault.cpu_percent) {
        (Some(normal), Some(under)) => format!("{normal:.0} → {under:.0} % of one core"),
        (None, Some(under)) => format!("{under:.0} % of one core"),
        (_, None) => String::new(),
    }
}

fn signature(act: &Act) -> String {
    match (act.signature, act.signature_expected) {
        (None, None) => "–".to_owned(),
        (seen, None) => seen.unwrap_or("unknown").to_owned(),
        (Some(seen), Some(expected)) if seen == expected => seen.to_owned(),
        (seen, Some(expected)) => format!("{} instead of {expected}", seen.unwrap_or("unknown")),
    }
}

fn section(act: &Act) -> String {
    let Act { id, title, scope, values, evidence, .. } = act;
    let values = if values.is_empty() { String::new() } else { format!(", {values}") };
    let mut text = format!("\n### `{id}`\n\n{title} ({scope}{values}).\n\n- Evidence: {evidence}\n");
    let mut item = |what: &str, value: &str| {
        if !value.is_empty() {
            let _always_ok = writeln!(text, "- {what}: {value}");
        }
    };
    item("Seen in", act.seen_in.as_deref().unwrap_or("nothing within the time"));
    act.addresses.iter().for_each(|address| item("Address", address));
    item("Alert rule", act.alert.unwrap_or_default());
    if act.alert.is_some() {
        item(
            "Alert ended after",
            &act.resolved_after_s.map_or_else(|| "not within the time".to_owned(), |s| format!("{s:.0} s")),
        );
    }
    item("Times applied", &act.applied.map_or_else(String::new, |times| times.to_string()));
    item("CPU of the services", &cpu(act));
    item("Culprit", act.culprit);
    // The others are debug faults, which no flag arms
    let folder = if id.parse::<FaultId>().is_ok() { "docs/runbooks" } else { "docs/runbooks/debug" };
    item("Runbook", &format!("{folder}/{id}.md"));
    text
}

fn answer(guess: &Guess) -> String {
    let armed = guess.armed;
    match (guess.named, &guess.named_evidence) {
        (Some(named), _) if named == armed => format!("`{armed}` was armed, and it was named."),
        (Some(named), Some(evidence)) => {
            let held = if guess.named_evidence_held { "was there, too" } else { "was not there" };
            format!(
                "`{armed}` was armed, and `{named}` was named. The evidence of `{named}` {held}: {evidence}."
            )
        }
        _ => format!("`{armed}` was armed, and no fault was named."),
    }
}

fn letters(done: &LettersDone) -> String {
    let (count, refused) = (done.letters.len(), done.refused.len());
    let mut text = format!("- `{}`: {count} letters, {refused} refused", done.action);
    if done.action == "replay" {
        push(&mut text, &format!(", {} handled, {} came back", done.handled, done.came_back));
    }
    text.push('\n');
    for letter in done.letters.iter().chain(&done.refused) {
        push(&mut text, &format!("  - {letter}\n"));
    }
    text
}

fn money_text(money: &Money) -> String {
    let Audited { checked, violations, .. } = money.audited;
    let verdict = match (money.holds(), money.findings_expected) {
        (true, true) => "which is what this fault has to cause",
        (true, false) => "so the money is right",
        (false, true) => "although it had to find the wrong amounts",
        (false, false) if violations == 0 => "but a check had nothing to check",
        (false, false) => "which no fault of this drill explains",
    };
    format!("The audit checked {checked} records and found {violations} violations, {verdict}.")
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1} s"))
}

#[cfg(test)]
mod tests;

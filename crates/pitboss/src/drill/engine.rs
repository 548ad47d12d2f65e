//! Goes through the steps of a scenario.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use faults::{Definition, FaultId, MoneyVerdict};

use super::person::Person;
use super::stage::{LettersDone, Moment, Normal, Seen, Stage, Watched};
use super::summary::{Act, Guess, Money, Summary};
use super::{Break, LetterAction, Scenario, Step, Until};
use crate::verify::debug::DebugRow;
use crate::verify::{Workload, row};

/// A drill in progress.
struct Drill<'a, S, P> {
    stage: &'a mut S,
    person: &'a mut P,
    summary: &'a mut Summary,
    /// The armed fault.
    broken: Option<Break>,
    /// The last load of each kind without a fault.
    normal: Vec<(Workload, Normal)>,
}

/// Goes through all steps, and writes what it saw into `summary`, also before an error. The caller disarms what is still armed.
pub(crate) async fn run(
    scenario: &Scenario,
    stage: &mut impl Stage,
    person: &mut impl Person,
    summary: &mut Summary,
) -> Result<()> {
    let mut drill = Drill { stage, person, summary, broken: None, normal: Vec::new() };
    for step in &scenario.steps {
        drill.step(step).await?;
    }
    drill.summary.complete = true;
    Ok(())
}

impl<S: Stage, P: Person> Drill<'_, S, P> {
    async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Say(text) => {
                self.person.tell(text);
                self.person.go_on().await
            }
            Step::Load(workload) => self.load(*workload).await,
            Step::Arm(broken) => self.arm(broken).await,
            Step::WatchUntil(until) => self.watch(*until).await,
            Step::Guess => self.guess().await,
            Step::Heal => self.heal().await,
            &Step::Resolved { rule, within_s } => self.resolved(rule, within_s).await,
            Step::Look(path) => {
                let address = self.stage.page_address(path);
                self.person.tell(&format!("Look at {address}"));
                if !self.summary.pages.contains(&address) {
                    self.summary.pages.push(address);
                }
                self.person.go_on().await
            }
            Step::Cause(row) => self.cause(*row).await,
            Step::Letters(action) => self.letters(*action).await,
            Step::Audit => self.audit().await,
            Step::Compensate => self.compensate().await,
        }
    }

    async fn load(&mut self, workload: Workload) -> Result<()> {
        self.person.tell(&format!("Load without a fault: {workload}."));
        self.person.begin("load");
        let normal = self.stage.load(workload).await?;
        let figures = &normal.figures;
        let result = format!(
            "{} units, {:.1} % failed, p50 {:.0} ms, p95 {:.0} ms",
            figures.units, figures.failed_percent, figures.p50_ms, figures.p95_ms
        );
        self.person.end(&result);
        if let Some(trace_id) = &normal.trace_id {
            let addresses = self.stage.trace_addresses(trace_id);
            self.person.tell(&listed("A trace of this load:", &addresses));
            self.summary
                .pages
                .extend(addresses.first().map(|address| format!("{address} (without a fault)")));
        }
        self.normal.retain(|(known, _)| *known != workload);
        self.normal.push((workload, normal));
        Ok(())
    }

    async fn arm(&mut self, broken: &Break) -> Result<()> {
        let Definition { id, title, breaks, .. } = broken.fault().definition();
        if broken.is_hidden {
            self.person.tell("Something breaks now. Its name comes at the end.");
        } else {
            self.person.tell(&format!("{id} breaks now. {title}: {breaks}"));
            self.person.go_on().await?;
        }
        self.person.begin("arming");
        let values = self.stage.arm(broken).await?;
        let result = if broken.is_hidden { String::new() } else { format!("{id}, scope: {}", broken.scope) };
        self.person.end(&result);
        let normal = self.normal.iter().find(|(workload, _)| *workload == broken.row.workload);
        self.summary.faults.push(Act {
            id: id.as_str(),
            title,
            scope: broken.scope.to_string(),
            values: values.to_string(),
            evidence: broken.row.evidence.to_string(),
            normal: normal.map(|(_, normal)| normal.figures),
            culprit: broken.row.culprit,
            ..Act::default()
        });
        self.broken = Some(broken.clone());
        Ok(())
    }

    async fn watch(&mut self, until: Until) -> Result<()> {
        let broken = self.armed()?;
        if !broken.is_hidden {
            self.person.tell(&where_to_look(broken.fault(), until));
        }
        self.person.begin("watching");
        let person = &mut *self.person;
        let mut live = |moment: &Moment| person.live(&moment.to_string());
        let watched = self.stage.watch(&broken, until, &mut live).await?;
        self.person.end(&result_of(&watched));
        self.note(until, watched);
        if !broken.is_hidden {
            self.show_addresses();
            self.person.go_on().await?;
        }
        Ok(())
    }

    fn armed(&self) -> Result<Break> {
        self.broken.clone().context("this step of the scenario needs an armed fault")
    }

    /// Writes the result of a watch into the summary.
    fn note(&mut self, until: Until, watched: Watched) {
        let Watched { seen, figures, lag, signature, applied } = watched;
        let trace_id = seen.as_ref().and_then(|seen| seen.trace_id.as_deref());
        let issue_id = seen.as_ref().and_then(|seen| seen.issue_id.as_deref());
        let mut addresses = trace_id.map(|id| self.stage.trace_addresses(id)).unwrap_or_default();
        addresses.extend(issue_id.map(|id| self.stage.page_address(&format!("issues/{id}"))));
        let Some(act) = self.summary.faults.last_mut() else { return };
        let expected = match until {
            Until::Signature { signature, .. } => Some(signature.as_str()),
            Until::Evidence | Until::Alert { .. } | Until::Interrupted => None,
        };
        if let Until::Alert { rule, .. } = until {
            act.alert = Some(rule);
        }
        let is_seen = expected.is_none() || expected == signature;
        act.seen_after_s = seen.as_ref().filter(|_| is_seen).map(|seen| seen.after_s);
        act.seen_in = seen.map(|seen| seen.place);
        act.addresses = addresses;
        act.under_fault = figures;
        act.lag = lag;
        act.signature_expected = expected;
        act.signature = signature;
        act.applied = applied;
    }

    fn show_addresses(&mut self) {
        let Some(act) = self.summary.faults.last() else { return };
        match &act.seen_in {
            Some(place) => self.person.tell(&listed(&format!("Seen: {place}."), &act.addresses)),
            None => self.person.tell("The evidence was not seen in this time. The drill continues."),
        }
    }

    /// Keeps the work going until the person names the fault, and says then which one it is.
    async fn guess(&mut self) -> Result<()> {
        let broken = self.armed()?;
        let mut silent = |_: &Moment| {};
        let named = {
            let (stage, person) = (&mut *self.stage, &mut *self.person);
            tokio::select! {
                named = person.name_fault() => named?,
                watched = stage.watch(&broken, Until::Interrupted, &mut silent) => {
                    watched?;
                    None
                }
            }
        };
        // The evidence of the whole time counts, so a fault that was seen long ago is seen at once.
        self.watch(Until::Evidence).await?;
        let armed = broken.fault();
        let other = named.filter(|named| *named != armed).map(row);
        let named_evidence_held = match &other {
            Some(other) => self.stage.shows(&other.evidence).await?,
            None => false,
        };
        let guess = Guess {
            named: named.map(FaultId::as_str),
            armed: armed.as_str(),
            named_evidence: other.map(|other| other.evidence.to_string()),
            named_evidence_held,
        };
        self.reveal(&broken, &guess);
        self.summary.guess = Some(guess);
        self.person.go_on().await
    }

    fn reveal(&mut self, broken: &Break, guess: &Guess) {
        let Definition { id, title, breaks, .. } = broken.fault().definition();
        let mut text = format!("It is {id}. {title}: {breaks}\nEvidence: {}.", broken.row.evidence);
        if let Some((named, evidence)) = guess.named.zip(guess.named_evidence.as_deref()) {
            let held = if guess.named_evidence_held { "was there, too" } else { "was not there" };
            let _always_ok = write!(text, "\nYou named {named}. Its evidence {held}: {evidence}.");
        } else if guess.is_right() {
            text.push_str("\nYou named it.");
        }
        let _always_ok = write!(text, "\nRunbook: docs/runbooks/{id}.md");
        self.person.tell(&text);
        self.show_addresses();
    }

    async fn heal(&mut self) -> Result<()> {
        let Some(broken) = self.broken.take() else { return Ok(()) };
        self.person.begin("healing");
        let recovery_s = self.stage.heal(&broken).await?;
        let result = match recovery_s {
            Some(seconds) => format!("nothing is seen any more after {seconds:.1} s"),
            None => "the fault is disarmed, and it still shows".to_owned(),
        };
        self.person.end(&result);
        if let Some(act) = self.summary.faults.last_mut() {
            act.recovery_s = recovery_s;
        }
        Ok(())
    }

    async fn cause(&mut self, row: DebugRow) -> Result<()> {
        let (id, does) = (row.fault.as_str(), row.fault.definition().does);
        self.person.tell(&format!("{id} happens at {} now. {does}.", row.service));
        self.person.go_on().await?;
        self.person.begin("causing");
        let caused = self.stage.cause(row).await?;
        let requests = caused.requests;
        let place = format!("{requests} new events in one issue of {}", row.service);
        let result = match caused.seen_after_s {
            Some(seconds) => format!("{place}, seen after {seconds:.1} s"),
            None => format!("missing: {}", caused.missing.join(", ")),
        };
        self.person.end(&result);
        let mut addresses =
            caused.trace_id.as_deref().map(|id| self.stage.trace_addresses(id)).unwrap_or_default();
        addresses.extend(caused.issue_id.iter().map(|id| self.stage.page_address(&format!("issues/{id}"))));
        self.summary.faults.push(Act {
            id,
            title: does,
            scope: format!("{requests} requests to {}", row.service),
            evidence: "one issue, whose events have the user, breadcrumbs and the state of the process"
                .to_owned(),
            seen_after_s: caused.seen_after_s,
            seen_in: caused.seen_after_s.map(|_| place),
            addresses,
            recovery_s: caused.recovery_s,
            ..Act::default()
        });
        self.show_addresses();
        self.person.go_on().await
    }

    async fn resolved(&mut self, rule: &'static str, within_s: u32) -> Result<()> {
        self.person.begin("resolving");
        let resolved_after_s = self.stage.resolved(rule, within_s).await?;
        let result = match resolved_after_s {
            Some(seconds) => format!("{rule} does not fire any more after {seconds:.0} s"),
            None => format!("{rule} still fires after {within_s} s"),
        };
        self.person.end(&result);
        if let Some(act) = self.summary.faults.last_mut() {
            act.resolved_after_s = resolved_after_s;
        }
        Ok(())
    }

    async fn letters(&mut self, action: LetterAction) -> Result<()> {
        self.person.begin("dead letters");
        let has_to_heal = action == LetterAction::Replay { heals: true };
        let done = LettersDone { has_to_heal, ..self.stage.letters(action).await? };
        let LettersDone { letters, refused, handled, came_back, trace_ids, .. } = &done;
        let mut counts = format!("{} of this run, {} refused", letters.len(), refused.len());
        if matches!(action, LetterAction::Replay { .. }) {
            let _always_ok = write!(counts, ", {handled} handled, {came_back} came back");
        }
        self.person.end(&format!("{}: {counts}", action.as_str()));
        if !letters.is_empty() {
            self.person.tell(&listed("The letters:", letters));
        }
        let traces: Vec<String> =
            trace_ids.iter().filter_map(|id| self.stage.trace_addresses(id).into_iter().next()).collect();
        if !traces.is_empty() {
            self.person.tell(&listed("Their traces:", &traces));
        }
        self.summary.letters.push(done);
        self.person.go_on().await
    }

    async fn audit(&mut self) -> Result<()> {
        self.person.begin("audit");
        let audited = self.stage.audit().await?;
        let is_found = |act: &Act| {
            act.id.parse::<FaultId>().is_ok_and(|id| id.definition().money == MoneyVerdict::Found)
        };
        let findings_expected = self.summary.faults.iter().any(is_found);
        let money = Money { findings_expected, audited };
        let verdict = if money.holds() { "as it has to be" } else { "not as it has to be" };
        let (checked, violations) = (money.audited.checked, money.audited.violations);
        self.person.end(&format!("{checked} records checked, {violations} violations, {verdict}"));
        self.summary.money = Some(money);
        Ok(())
    }

    async fn compensate(&mut self) -> Result<()> {
        self.person.begin("voiding");
        let compensated = self.stage.compensate().await?;
        self.person.end(&compensated.to_string());
        self.summary.compensated = Some(compensated);
        self.person.go_on().await
    }
}

/// A text with a list below it.
fn listed(text: &str, items: &[String]) -> String {
    let mut listed = text.to_owned();
    for item in items {
        let _always_ok = write!(listed, "\n  {item}");
    }
    listed
}

/// Returns the place that the runbook names, and the expected signature.
fn where_to_look(fault: FaultId, until: Until) -> String {
    let runbook = fault.definition().runbook;
    let (_, rest) = runbook.split_once("Where: ").unwrap_or(("", runbook));
    let place = rest.split(" Meaning: ").next().unwrap_or_default();
    match until {
        Until::Signature { group, signature } => {
            format!("Look: {place}\nExpected signature of {group} in ./pitboss lag: {signature}.")
        }
        Until::Alert { rule, within_s } => {
            format!(
                "Look: {place}\nThe alert rule {rule} has to fire within {within_s} s: ./pitboss alerts --watch."
            )
        }
        Until::Evidence | Until::Interrupted => format!("Look: {place}"),
    }
}

fn result_of(watched: &Watched) -> String {
    let mut text = match &watched.seen {
        Some(Seen { after_s, .. }) => format!("seen after {after_s:.1} s"),
        None => "not seen".to_owned(),
    };
    if let Some(signature) = watched.signature {
        let _always_ok = write!(text, ", signature {signature}");
    }
    text
}

#[cfg(test)]
mod tests;

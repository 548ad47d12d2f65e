//! Results of a run: one row a fault, as a table and as JSON.

use comfy_table::{Cell, CellAlignment, Color, Table};
use serde::{Serialize, Serializer};

use super::debug::DebugRow;
use super::run::RECOVERY_MAX;
use super::run::flow::Flow;
use super::verdict::{Facts, Verdict};
use super::{Figures, Row};
use crate::output::{Output, borderless_table};
use crate::second_witness::Testimony;

/// Result of one row.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The fault, with `@` and the variant where the row is one.
    pub id: String,
    /// The verdict.
    #[serde(serialize_with = "as_text")]
    pub result: Verdict,
    /// The evidence held in time, whatever the verdict.
    pub seen: bool,
    /// Times from the end of the first unit.
    #[serde(flatten)]
    pub times: Seconds,
    /// Signal that was seen first.
    pub first_seen_in: Option<String>,
    /// Trace that shows it.
    pub trace_id: Option<String>,
    /// Cause of the symptoms, where it is not the service that shows them. Empty otherwise.
    pub culprit: &'static str,
    /// Units of work in the phase with the fewest.
    pub units: u64,
    /// Number of times that the services or the supervisor applied the fault, by their own counters.
    pub applied: u64,
    /// Result of the control.
    pub control: String,
    /// Kinds of signals that showed something during the fault.
    pub shown: Vec<&'static str>,
    /// Kinds of signals that showed nothing.
    pub blind: Vec<&'static str>,
    /// Alert conditions that the control met, also in a first control that was repeated.
    pub false_alarms: Vec<&'static str>,
    /// Alert conditions that the fault had to meet and did not meet in time.
    pub missing_alerts: Vec<&'static str>,
    /// Load and services in the control. Absent for a row that was not run.
    pub baseline: Option<Figures>,
    /// Load and services during the fault.
    pub under_fault: Option<Figures>,
    /// Result of the audit.
    pub money: &'static str,
    /// Flow of the records. Absent if the recorder was not asked, or did not answer.
    pub flow: Option<Flow>,
    /// What the second witness says about the traces that the evidence cites. Absent without `--second-witness`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_witness: Option<Testimony>,
    /// Reason of a verdict that is not PROVEN.
    pub why: String,
    /// Time that the row took.
    pub duration_s: f64,
}

/// Times of a row, in seconds. Each is absent if it was not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Seconds {
    /// From the end of the first unit to the first signal that the control did not show.
    pub time_to_signal_s: Option<f64>,
    /// From there to the evidence as a whole.
    pub time_to_evidence_s: Option<f64>,
    /// From there to the first alert condition that the fault has to meet.
    pub time_to_alert_s: Option<f64>,
    /// From disarming to the first work that showed nothing any more.
    pub recovery_s: Option<f64>,
}

/// A row that was left out, because this platform cannot apply its fault.
#[derive(Clone, Debug, Serialize)]
pub struct Skipped {
    /// The row.
    pub id: String,
    /// Reason.
    pub why: &'static str,
}

/// All results of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Seed of the order of the rows and of the amounts.
    pub seed: u64,
    /// The rows, in the order in which they were run.
    pub rows: Vec<Outcome>,
    /// The rows that were left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// Time that the run took.
    pub duration_s: f64,
}

fn as_text<S: Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(verdict.as_str())
}

impl Outcome {
    /// Result of a row that could not be finished, because the platform did not answer.
    #[must_use]
    pub fn unfinished(row: &Row, error: &anyhow::Error) -> Self {
        Self::without_run(row, Verdict::Invalid, format!("not finished: {error:#}"))
    }

    /// Result of a row of the debug endpoints whose group could not be finished.
    #[must_use]
    pub fn unfinished_debug_row(row: DebugRow, error: &anyhow::Error) -> Self {
        Self::named(row.name(), Verdict::Invalid, format!("not finished: {error:#}"))
    }

    /// Result of a row with its verdict and the reason of it.
    pub(super) fn judged(
        row: &Row,
        result: Verdict,
        facts: &Facts,
        missing_alerts: Vec<&'static str>,
    ) -> Self {
        let why = why(result, row, facts, &missing_alerts);
        Self {
            missing_alerts,
            seen: facts.seen,
            culprit: row.culprit,
            units: facts.units,
            applied: facts.applied,
            money: facts.money_text(),
            ..Self::without_run(row, result, why)
        }
    }

    /// Adds what the second witness says, also to the reason of a verdict that it decided.
    pub(super) fn with_testimony(self, testimony: Option<Testimony>) -> Self {
        let decides = self.result == Verdict::WitnessesDiffer;
        let why = match testimony.as_ref().filter(|_| decides) {
            Some(testimony) => format!("{}: {}", self.why, testimony.differences.join(";\n")),
            None => self.why,
        };
        Self { why, second_witness: testimony, ..self }
    }

    /// Result of a row of the debug endpoints. Verdicts about the end and the money have reasons of their own.
    pub(super) fn of_debug_row(row: DebugRow, result: Verdict, facts: &Facts, why: String) -> Self {
        let why = match result {
            Verdict::Proven => String::new(),
            Verdict::DidNotEnd => {
                "long after the answer the service was not ready, no bet settled, or its leak was not freed"
                    .to_owned()
            }
            Verdict::MoneyWrong => "the audit of the whole group found something: ./pitboss audit".to_owned(),
            _ => why,
        };
        Self {
            seen: facts.seen,
            units: facts.units,
            applied: facts.applied,
            money: facts.money_text(),
            ..Self::named(row.name(), result, why)
        }
    }

    fn without_run(row: &Row, result: Verdict, why: String) -> Self {
        Self::named(row.name(), result, why)
    }

    fn named(id: String, result: Verdict, why: String) -> Self {
        Self {
            id,
            result,
            seen: false,
            times: Seconds::default(),
            first_seen_in: None,
            trace_id: None,
            culprit: "",
            units: 0,
            applied: 0,
            control: "not run".to_owned(),
            shown: Vec::new(),
            blind: Vec::new(),
            false_alarms: Vec::new(),
            missing_alerts: Vec::new(),
            baseline: None,
            under_fault: None,
            money: "not audited",
            flow: None,
            second_witness: None,
            why,
            duration_s: 0.0,
        }
    }
}

/// Reason of the verdict, and what to do about it. Empty for a proven row.
fn why(result: Verdict, row: &Row, facts: &Facts, missing_alerts: &[&str]) -> String {
    let Facts { units, units_min, applied, applied_min, .. } = facts;
    match result {
        Verdict::Proven => String::new(),
        Verdict::NotVisible if facts.seen => format!(
            "seen, but not within {} s the alert: {}",
            row.alert_deadline().as_secs(),
            missing_alerts.join(", ")
        ),
        Verdict::NotVisible => {
            format!("applied {applied} times, but not within {} s: {}", row.deadline.as_secs(), row.evidence)
        }
        Verdict::Noisy if facts.control_held => {
            "the evidence held without the fault, so it proves nothing".to_owned()
        }
        Verdict::Noisy if facts.control_acted => {
            "the fault acted in the control, in which it was armed for a player who does not exist".to_owned()
        }
        Verdict::Noisy => {
            "an alert condition of the fault held without the fault, in two controls".to_owned()
        }
        Verdict::DidNotEnd => format!(
            "{} s after disarming the evidence or an alert still held, most units failed, or a part was not ready",
            RECOVERY_MAX.as_secs()
        ),
        Verdict::MoneyWrong => {
            "the money audit differs from what this fault may do: ./pitboss audit".to_owned()
        }
        Verdict::WitnessesDiffer => {
            "the second witness does not have what the recorder has of the traces that show the fault"
                .to_owned()
        }
        Verdict::NotExposed if units < units_min || *units == 0 => {
            format!("only {units} of {units_min} units of work ended in a phase")
        }
        Verdict::NotExposed => format!("the fault was applied {applied} of {applied_min} times"),
        Verdict::Invalid => {
            "it was not counted as applied: see the service's log and ./pitboss fault status".to_owned()
        }
    }
}

impl Report {
    /// Returns true if there are rows and all of them are proven.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.result == Verdict::Proven)
    }

    /// The rows as a table.
    #[must_use]
    pub fn table(&self, output: &Output) -> Table {
        let header =
            ["FAULT", "RESULT", "SIGNAL", "ALERT", "RECOVERY", "APPLIED", "MONEY", "SEEN IN, OR WHY NOT"];
        let mut table = borderless_table(output.columns, &header);
        for row in &self.rows {
            let result = Cell::new(row.result);
            let colour = if row.result == Verdict::Proven { Color::Green } else { Color::Red };
            let seen_in = row.first_seen_in.as_deref().filter(|_| row.why.is_empty());
            table.add_row(vec![
                Cell::new(&row.id),
                if output.colours { result.fg(colour) } else { result },
                Cell::new(seconds(row.times.time_to_signal_s)),
                Cell::new(seconds(row.times.time_to_alert_s)),
                Cell::new(seconds(row.times.recovery_s)),
                Cell::new(row.applied),
                Cell::new(row.money),
                Cell::new(seen_in.unwrap_or(&row.why)),
            ]);
        }
        for column in [2, 3, 4, 5] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1} s"))
}

#[cfg(test)]
mod tests {
    use faults::FaultId;

    use super::*;
    use crate::verify::row;

    fn unfinished() -> Outcome {
        Outcome::unfinished(&row(FaultId::ConsumerSlow), &anyhow::anyhow!("no answer"))
    }

    fn proven() -> Outcome {
        Outcome {
            result: Verdict::Proven,
            first_seen_in: Some("issue of payment".to_owned()),
            times: Seconds { time_to_signal_s: Some(0.5), ..Seconds::default() },
            why: String::new(),
            ..Outcome::unfinished(&row(FaultId::PaymentRandomFailure), &anyhow::anyhow!("no answer"))
        }
    }

    fn report(rows: Vec<Outcome>) -> Report {
        Report { seed: 7, rows, skipped: Vec::new(), duration_s: 1.0 }
    }

    #[test]
    fn run_holds_only_if_all_rows_are_proven() {
        assert!(report(vec![proven(), proven()]).holds());
        assert!(!report(vec![proven(), unfinished()]).holds() && !report(Vec::new()).holds());
    }

    #[test]
    fn json_has_documented_fields() {
        let json = serde_json::to_value(report(vec![proven()])).unwrap();
        assert_eq!((&json["seed"], &json["rows"][0]["result"]), (&7.into(), &"PROVEN".into()));
        for field in [
            "id",
            "seen",
            "time_to_signal_s",
            "time_to_evidence_s",
            "time_to_alert_s",
            "first_seen_in",
            "control",
            "recovery_s",
            "shown",
            "blind",
            "false_alarms",
            "missing_alerts",
            "baseline",
            "under_fault",
            "money",
            "flow",
            "why",
        ] {
            assert!(json["rows"][0].get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn table_names_place_or_reason() {
        let rows = vec![proven(), unfinished()];
        let output = Output { json: false, colours: false, columns: 240 };
        let text = report(rows).table(&output).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("issue of payment") && lines[1].contains("0.5 s"), "{text}");
        assert!(lines[2].contains("INVALID") && lines[2].contains("not finished: no answer"), "{text}");
    }

    #[test]
    fn reason_names_the_missing_alert() {
        let row = row(FaultId::ConsumerDead);
        let facts = Facts {
            units: 10,
            units_min: 10,
            applied: 1,
            applied_min: 1,
            control_held: false,
            control_alarmed: false,
            control_acted: false,
            seen: true,
            alerted: false,
            ended: true,
            audit_found: false,
            money: faults::MoneyVerdict::Unaffected,
            witnesses_agree: true,
        };
        let outcome = Outcome::judged(&row, Verdict::NotVisible, &facts, vec!["consumer lag"]);
        assert!(outcome.why.contains("the alert: consumer lag"), "{}", outcome.why);
        assert!(outcome.seen, "whatever the verdict");
        let noisy = Facts { control_alarmed: true, ..facts };
        let outcome = Outcome::judged(&row, Verdict::Noisy, &noisy, Vec::new());
        assert!(outcome.why.contains("alert condition"), "{}", outcome.why);
        let acted = Facts { control_acted: true, ..facts };
        let outcome = Outcome::judged(&row, Verdict::Noisy, &acted, Vec::new());
        assert!(outcome.why.contains("acted in the control"), "{}", outcome.why);
        assert_eq!(outcome.id, "consumer.dead");
    }

    #[test]
    fn second_witness_explains_the_verdict_that_it_decided() {
        let differs =
            Testimony { differences: vec!["error 2ec7 is missing".to_owned()], ..Testimony::default() };
        let differing =
            Outcome { result: Verdict::WitnessesDiffer, why: "it differs".to_owned(), ..proven() };
        let outcome = differing.with_testimony(Some(differs.clone()));
        assert_eq!(outcome.why, "it differs: error 2ec7 is missing");
        let json = serde_json::to_value(&outcome).unwrap();
        assert_eq!(json["second_witness"]["differences"][0], "error 2ec7 is missing");
        let of_another_reason = unfinished().with_testimony(Some(differs));
        assert_eq!(of_another_reason.why, "not finished: no answer");
        assert_eq!(proven().with_testimony(None).second_witness, None, "it was not asked");
    }
}

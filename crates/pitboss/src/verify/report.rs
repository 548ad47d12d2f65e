//! Results of a run: one row a fault, as a table and as JSON.

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use faults::FaultId;
use serde::{Serialize, Serializer};

use super::verdict::Verdict;
use crate::output::Output;

/// Result of one row.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The fault.
    pub id: &'static str,
    /// The verdict.
    #[serde(serialize_with = "as_text")]
    pub result: Verdict,
    /// Time from the end of the first unit to the evidence. Absent if it never held in time.
    pub time_to_signal_s: Option<f64>,
    /// Signal that held first.
    pub first_seen_in: Option<String>,
    /// Trace that shows it.
    pub trace_id: Option<String>,
    /// Units of work in the phase with the fewest.
    pub units: u64,
    /// How often the services applied the fault, by their own counters.
    pub applied: u64,
    /// What the control showed.
    pub control: String,
    /// Time from disarming to the first work that showed nothing any more. Absent if the fault did not end.
    pub recovery_s: Option<f64>,
    /// What the audit showed.
    pub money: String,
    /// Reason of a verdict that is not PROVEN.
    pub why: String,
    /// Time that the row took.
    pub duration_s: f64,
}

/// All results of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Seed of the order of the rows and of the amounts.
    pub seed: u64,
    /// The rows, in the order in which they were run.
    pub rows: Vec<Outcome>,
}

fn as_text<S: Serializer>(verdict: &Verdict, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(verdict.as_str())
}

impl Outcome {
    /// Result of a row whose fault no work meets yet.
    #[must_use]
    pub fn not_covered(fault: FaultId) -> Self {
        let why = "not covered yet: no workload of verify meets this fault".to_owned();
        Self::without_run(fault, Verdict::NotExposed, why)
    }

    /// Result of a row that could not be finished, because the platform did not answer.
    #[must_use]
    pub fn unfinished(fault: FaultId, error: &anyhow::Error) -> Self {
        Self::without_run(fault, Verdict::Invalid, format!("not finished: {error:#}"))
    }

    fn without_run(fault: FaultId, result: Verdict, why: String) -> Self {
        Self {
            id: fault.as_str(),
            result,
            time_to_signal_s: None,
            first_seen_in: None,
            trace_id: None,
            units: 0,
            applied: 0,
            control: "not run".to_owned(),
            recovery_s: None,
            money: "not audited".to_owned(),
            why,
            duration_s: 0.0,
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
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(output.columns).unwrap_or(u16::MAX));
        table.set_header([
            "FAULT",
            "RESULT",
            "SIGNAL",
            "RECOVERY",
            "APPLIED",
            "MONEY",
            "SEEN IN, OR WHY NOT",
        ]);
        for row in &self.rows {
            let result = Cell::new(row.result);
            let colour = if row.result == Verdict::Proven { Color::Green } else { Color::Red };
            let seen_in = row.first_seen_in.as_deref().filter(|_| row.why.is_empty());
            table.add_row(vec![
                Cell::new(row.id),
                if output.colours { result.fg(colour) } else { result },
                Cell::new(seconds(row.time_to_signal_s)),
                Cell::new(seconds(row.recovery_s)),
                Cell::new(row.applied),
                Cell::new(&row.money),
                Cell::new(seen_in.unwrap_or(&row.why)),
            ]);
        }
        for column in [2, 3, 4] {
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
    use super::*;

    fn proven() -> Outcome {
        Outcome {
            result: Verdict::Proven,
            first_seen_in: Some("issue of payment".to_owned()),
            time_to_signal_s: Some(0.5),
            why: String::new(),
            ..Outcome::not_covered(FaultId::PaymentRandomFailure)
        }
    }

    #[test]
    fn run_holds_only_if_all_rows_are_proven() {
        let report = |rows| Report { seed: 7, rows };
        let not_covered = Outcome::not_covered(FaultId::ConsumerSlow);
        assert!(report(vec![proven(), proven()]).holds());
        assert!(!report(vec![proven(), not_covered]).holds() && !report(Vec::new()).holds());
    }

    #[test]
    fn json_has_documented_fields() {
        let report = Report { seed: 7, rows: vec![proven()] };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["seed"], &json["rows"][0]["result"]), (&7.into(), &"PROVEN".into()));
        for field in ["id", "time_to_signal_s", "first_seen_in", "control", "recovery_s", "money", "why"] {
            assert!(json["rows"][0].get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn table_names_place_or_reason() {
        let rows = vec![proven(), Outcome::not_covered(FaultId::ConsumerSlow)];
        let output = Output { json: false, colours: false, columns: 240 };
        let text = Report { seed: 7, rows }.table(&output).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("issue of payment") && lines[1].contains("0.5 s"), "{text}");
        assert!(lines[2].contains("NOT EXPOSED") && lines[2].contains("not covered yet"), "{text}");
    }
}

//! The scorecard of `./pitboss verify --report`, as the recorder takes, stores and shows it.
//!
//! It guarantees that both sides agree on its form and its limits.

use serde::{Deserialize, Serialize};

/// Version of the form.
pub const VERSION: u32 = 1;
/// Largest scorecard, as JSON.
pub const BYTES_MAX: usize = 256 * 1024;
/// Longest text. [`text`] cuts longer ones.
pub const TEXT_CHARACTERS_MAX: usize = 400;
/// Largest number of entries of a list inside a row.
pub const LIST_MAX: usize = 20;
/// Largest number of runs.
const RUNS_MAX: usize = 100;
/// Largest number of rows.
const ROWS_MAX: usize = 200;
/// Number of hexadecimal digits of a trace id.
const TRACE_ID_DIGITS: usize = 32;

/// Results of one or more runs of `verify`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Scorecard {
    /// Version of the form ([`VERSION`]).
    pub version: u32,
    /// Time of the end of the last run, in seconds since the epoch.
    pub finished_at: f64,
    /// The runs.
    pub runs: Vec<Run>,
    /// One row a fault.
    pub rows: Vec<Row>,
    /// Rows that were left out.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
}

/// One run.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Run {
    /// Seed of the run.
    pub seed: u64,
    /// Time that it took.
    pub duration_s: f64,
}

/// Results of one fault over all runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Row {
    /// Name of the fault.
    pub fault: String,
    /// `PROVEN` if each run proved it, otherwise the first other verdict.
    pub verdict: String,
    /// Number of runs that proved it.
    pub proven: u64,
    /// Number of runs that had it.
    pub runs: u64,
    /// Time to the first signal.
    pub signal_s: Option<Spread>,
    /// Time to the first alert condition.
    pub alert_s: Option<Spread>,
    /// Time from disarming to the first work that showed nothing any more.
    pub recovery_s: Option<Spread>,
    /// Signal that was seen first, in the newest run that saw one.
    pub first_seen_in: Option<String>,
    /// Trace that shows it, as hexadecimal digits.
    pub trace_id: Option<String>,
    /// Who caused the symptoms, where it is not the service that shows them. Empty otherwise.
    pub culprit: String,
    /// Kinds of signals that showed nothing in any run.
    pub blind: Vec<String>,
    /// Alert conditions that a control met.
    pub false_alarms: Vec<String>,
    /// What the money audit showed.
    pub money: String,
    /// Load and services in the control.
    pub baseline: Option<Figures>,
    /// Load and services during the fault.
    pub under_fault: Option<Figures>,
    /// Reason of a verdict that is not `PROVEN`. Empty otherwise.
    pub why: String,
}

/// Minimum, median and maximum over the runs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Spread {
    /// The minimum.
    pub min: f64,
    /// The median, which is one of the values.
    pub median: f64,
    /// The maximum.
    pub max: f64,
}

/// Figures of a load and of the services under it: medians over the runs.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Figures {
    /// Median time of a unit of work.
    pub p50_ms: f64,
    /// 95th percentile of it.
    pub p95_ms: f64,
    /// Share of the units that was not answered with 200, in percent.
    pub failed_percent: f64,
    /// CPU time of all services, in percent of one core.
    pub cpu_percent: Option<f64>,
    /// Resident memory of all services, in MiB.
    pub memory_mib: Option<f64>,
}

/// A row that was left out.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Name of the fault.
    pub fault: String,
    /// Reason.
    pub why: String,
}

/// Returns a text that is short enough.
#[must_use]
pub fn text(text: &str) -> String {
    text.chars().take(TEXT_CHARACTERS_MAX).collect()
}

impl Spread {
    /// Returns the spread of some values. `None` without values.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let median = *values.get(values.len().checked_sub(1)? / 2)?;
        Some(Self { min: *values.first()?, median, max: *values.last()? })
    }

    fn is_valid(&self) -> bool {
        is_quantity(self.min) && self.min <= self.median && self.median <= self.max && is_quantity(self.max)
    }
}

impl Scorecard {
    /// Checks the limits.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check(&self) -> Result<(), String> {
        if self.version != VERSION {
            return Err(format!("version must be {VERSION}"));
        }
        if !(1..=RUNS_MAX).contains(&self.runs.len()) {
            return Err(format!("runs must have from 1 to {RUNS_MAX} entries"));
        }
        if self.rows.len() > ROWS_MAX || self.skipped.len() > ROWS_MAX {
            return Err(format!("rows and skipped must have at most {ROWS_MAX} entries each"));
        }
        let is_timed = self.runs.iter().all(|run| is_quantity(run.duration_s));
        if !is_quantity(self.finished_at) || !is_timed {
            return Err("finished_at and duration_s must not be negative".to_owned());
        }
        if !self.skipped.iter().all(|skipped| is_name(&skipped.fault) && is_short(&skipped.why)) {
            return Err(format!(
                "an entry of skipped must have a fault, and at most {TEXT_CHARACTERS_MAX} characters"
            ));
        }
        self.rows.iter().try_for_each(Row::check)
    }
}

impl Row {
    fn check(&self) -> Result<(), String> {
        if !is_name(&self.fault) || !is_name(&self.verdict) {
            return Err(format!("fault and verdict must have from 1 to {TEXT_CHARACTERS_MAX} characters"));
        }
        let fault = &self.fault;
        let lists = [&self.blind, &self.false_alarms];
        let texts = [&self.culprit, &self.money, &self.why].into_iter().chain(&self.first_seen_in);
        if !lists.iter().all(|list| list.len() <= LIST_MAX)
            || !lists.into_iter().flatten().chain(texts).all(|text| is_short(text))
        {
            return Err(format!(
                "{fault}: a text has at most {TEXT_CHARACTERS_MAX} characters, a list at most {LIST_MAX} entries"
            ));
        }
        if self.trace_id.as_ref().is_some_and(|id| !is_trace_id(id)) {
            return Err(format!("{fault}: trace_id must be {TRACE_ID_DIGITS} hexadecimal digits"));
        }
        let spreads = [self.signal_s, self.alert_s, self.recovery_s];
        if self.proven > self.runs || !spreads.iter().flatten().all(Spread::is_valid) {
            return Err(format!(
                "{fault}: proven, a minimum or a median is too large, or a time is negative"
            ));
        }
        let figures = [self.baseline, self.under_fault];
        if !figures.iter().flatten().all(Figures::is_valid) {
            return Err(format!("{fault}: a figure is negative"));
        }
        Ok(())
    }
}

impl Figures {
    fn is_valid(&self) -> bool {
        let required = [self.p50_ms, self.p95_ms, self.failed_percent];
        let optional = [self.cpu_percent, self.memory_mib];
        required.into_iter().chain(optional.into_iter().flatten()).all(is_quantity)
    }
}

fn is_quantity(number: f64) -> bool {
    number.is_finite() && number >= 0.0
}

fn is_short(text: &str) -> bool {
    text.chars().count() <= TEXT_CHARACTERS_MAX
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && is_short(text)
}

/// Returns true for the hexadecimal digits of a trace id.
#[must_use]
pub fn is_trace_id(text: &str) -> bool {
    text.len() == TRACE_ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let figures = Figures {
            p50_ms: 10.0,
            p95_ms: 20.0,
            failed_percent: 0.0,
            cpu_percent: Some(100.0),
            memory_mib: None,
        };
        Row {
            fault: "consumer.slow".to_owned(),
            verdict: "PROVEN".to_owned(),
            proven: 3,
            runs: 3,
            signal_s: Spread::of(vec![2.0, 1.0, 4.0]),
            alert_s: None,
            recovery_s: Spread::of(vec![0.5]),
            first_seen_in: Some("slow spans".to_owned()),
            trace_id: Some("ab".repeat(16)),
            culprit: String::new(),
            blind: vec!["issue".to_owned()],
            false_alarms: Vec::new(),
            money: "nothing found".to_owned(),
            baseline: Some(figures),
            under_fault: Some(figures),
            why: String::new(),
        }
    }

    fn scorecard(row: Row) -> Scorecard {
        let runs = vec![Run { seed: 7, duration_s: 60.0 }];
        Scorecard { version: VERSION, finished_at: 1.0, runs, rows: vec![row], skipped: Vec::new() }
    }

    #[test]
    fn spread_has_a_value_as_median() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0]).map(|spread| spread.median), Some(1.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn scorecard_survives_json() {
        let sent = scorecard(row());
        assert_eq!(sent.check(), Ok(()));
        let read: Scorecard = serde_json::from_str(&serde_json::to_string(&sent).unwrap()).unwrap();
        assert_eq!(read, sent);
    }

    #[test]
    fn scorecard_above_the_limits_is_refused() {
        let changed = |change: fn(&mut Row)| {
            let mut row = row();
            change(&mut row);
            scorecard(row).check()
        };
        let changes: [fn(&mut Row); 8] = [
            |row| row.fault.clear(),
            |row| row.why = "x".repeat(TEXT_CHARACTERS_MAX + 1),
            |row| row.blind = vec![String::new(); LIST_MAX + 1],
            |row| row.false_alarms = vec!["x".repeat(TEXT_CHARACTERS_MAX + 1)],
            |row| row.trace_id = Some("nonsense".to_owned()),
            |row| row.proven = 4,
            |row| row.signal_s = Some(Spread { min: 2.0, median: 1.0, max: 3.0 }),
            |row| row.baseline = row.baseline.map(|figures| Figures { p50_ms: -1.0, ..figures }),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(changed(change).is_err(), "change {number}");
        }
        let many = Scorecard { rows: vec![row(); ROWS_MAX + 1], ..scorecard(row()) };
        let newer = Scorecard { version: VERSION + 1, ..scorecard(row()) };
        let without_run = Scorecard { runs: Vec::new(), ..scorecard(row()) };
        assert!([many, newer, without_run].iter().all(|scorecard| scorecard.check().is_err()));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(text(&"ä".repeat(TEXT_CHARACTERS_MAX + 1)).chars().count(), TEXT_CHARACTERS_MAX);
        assert_eq!(text("short"), "short");
    }
}

//! The proof of the proof: on a platform whose faults have no effect, no row may hold.
//!
//! Such a platform evaluates every fault and counts it as applied, and nothing breaks. A row that is PROVEN there would be proven
//! by the injector's word alone. A row that is red shows that its evidence comes from the effect. The same is demanded of a row of
//! which one read is ineffective ([`super::reads`]), on the usual platform.

use anyhow::{Result, bail};
use comfy_table::Table;
use contracts::parts::Part;
use faults::{FaultId, Place, ReadSite};

use super::receipts::page;
use super::report::{Outcome, Report, Skipped};
use super::verdict::Verdict;
use crate::actuators::ineffective;
use crate::output::{Output, borderless_table};
use crate::target::Target;

/// Command that starts such a platform.
const ADVICE: &str = "./pitboss down && PITBOSS__FAULTS__INEFFECTIVE=true ./pitboss up";
/// Name of the gauge on the metrics page of a service that is 1 while its faults have no effect.
const GAUGE: &str = "pitboss_faults_ineffective";

/// Faults without a count there: a request is counted only when the rows that it scans are written, and without the effect all
/// requests of the row can end before that.
const MAY_BE_UNCOUNTED: [FaultId; 2] = [FaultId::UserSlowQuery, FaultId::AnalyticsSlowAggregation];

/// What `--sabotage` makes ineffective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sabotage {
    /// Every fault as a whole, on a platform that was started so.
    Faults,
    /// One read of a fault after the other, on the usual platform.
    Reads,
}

/// The services that answer, by whether their faults have an effect.
#[derive(Debug, Default)]
struct Services {
    without_effect: Vec<&'static str>,
    others: Vec<&'static str>,
}

/// Checks that the faults of all services have no effect, or with `false` that those of none do.
///
/// # Errors
/// When the platform is the other one. The text says how to start the right one.
pub async fn check(target: &Target, is_sabotage: bool) -> Result<()> {
    let mut services = Services::default();
    for service in Part::SERVICES {
        let Some(url) = target.ops_url(*service, "/metrics") else { continue };
        let Some(page) = page(target, &url).await else { continue };
        let list = if is_on(&page) { &mut services.without_effect } else { &mut services.others };
        list.push(service.as_str());
    }
    judge(&services, is_sabotage)?;
    if is_sabotage && target.layout().is_some_and(|layout| !ineffective::is_any(layout)) {
        bail!("the supervisor's faults still have an effect, as no service has the variable: {ADVICE}");
    }
    Ok(())
}

/// Returns true if a metrics page says that the faults of the service have no effect.
fn is_on(page: &str) -> bool {
    let value = page.lines().find_map(|line| line.strip_prefix(GAUGE)?.strip_prefix(' '));
    value.is_some_and(|value| value.trim() == "1")
}

fn judge(services: &Services, is_sabotage: bool) -> Result<()> {
    let Services { without_effect, others } = services;
    if is_sabotage && without_effect.is_empty() {
        bail!("--sabotage needs a platform whose faults have no effect: {ADVICE}");
    }
    if is_sabotage && !others.is_empty() {
        bail!("the faults of {} still have an effect: {ADVICE}", others.join(", "));
    }
    if !is_sabotage && !without_effect.is_empty() {
        bail!(
            "the faults of {} have no effect here: prove them on another platform (./pitboss down && ./pitboss up), or add \
             --sabotage",
            without_effect.join(", ")
        );
    }
    Ok(())
}

/// Returns true if there are rows, none was left out, and all of them are red.
#[must_use]
pub fn holds(report: &Report) -> bool {
    !report.rows.is_empty() && report.skipped.is_empty() && report.rows.iter().all(is_red)
}

/// Returns true if the row was run to its end, and its evidence did not hold. A missing alert alone does not make a row red.
fn is_red(outcome: &Outcome) -> bool {
    let is_judged = match outcome.result {
        Verdict::NotVisible => true,
        Verdict::Invalid => may_be_uncounted(&outcome.id),
        _ => false,
    };
    outcome.units > 0 && !outcome.seen && is_judged
}

/// Returns true if the row need not count its fault as applied. Without a read beside the effect the effect is not asked for.
fn may_be_uncounted(name: &str) -> bool {
    let is_listed = |name: &str| MAY_BE_UNCOUNTED.iter().any(|fault| fault.as_str() == name);
    match name.parse::<ReadSite>() {
        Ok(site) => site.place != Place::Effect || is_listed(site.fault.as_str()),
        Err(_) => is_listed(name),
    }
}

/// The rows with their verdicts, and what each of them says about its evidence.
#[must_use]
pub fn table(report: &Report, output: &Output) -> Table {
    let mut table = borderless_table(output.columns, &["FAULT", "RESULT", "APPLIED", "THE EVIDENCE"]);
    for row in &report.rows {
        table.add_row(vec![row.id.clone(), row.result.to_string(), row.applied.to_string(), meaning(row)]);
    }
    for Skipped { id, why } in &report.skipped {
        table.add_row(vec![id.clone(), "LEFT OUT".to_owned(), "–".to_owned(), (*why).to_owned()]);
    }
    table
}

fn meaning(outcome: &Outcome) -> String {
    let what = if outcome.id.parse::<ReadSite>().is_ok() { "this read" } else { "the effect" };
    if is_red(outcome) {
        format!("needs {what} of the fault")
    } else if outcome.seen {
        format!("held without {what}, so it proves nothing")
    } else {
        format!("was not judged: {}", outcome.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::row;

    /// A row whose evidence held if its verdict implies it.
    fn outcome(result: Verdict, units: u64) -> Outcome {
        let seen = matches!(result, Verdict::Proven | Verdict::MoneyWrong | Verdict::DidNotEnd);
        let unfinished = Outcome::unfinished(&row(FaultId::ConsumerSlow), &anyhow::anyhow!("no answer"));
        Outcome { result, seen, units, ..unfinished }
    }

    fn report(rows: Vec<Outcome>) -> Report {
        Report { seed: 7, rows, skipped: Vec::new(), duration_s: 1.0 }
    }

    #[test]
    fn only_missing_evidence_is_red() {
        for result in Verdict::ALL {
            let is_red = result == Verdict::NotVisible;
            assert_eq!(holds(&report(vec![outcome(result, 5)])), is_red, "{result}");
            assert!(!holds(&report(vec![outcome(result, 0)])), "{result}: a row that was not finished");
        }
        assert!(!holds(&report(Vec::new())));
        assert!(!holds(&report(vec![outcome(Verdict::NotVisible, 5), outcome(Verdict::Proven, 5)])));
        let skipped = vec![Skipped { id: "sentry.down".to_owned(), why: "not local" }];
        let partial = Report { skipped, ..report(vec![outcome(Verdict::NotVisible, 5)]) };
        assert!(!holds(&partial), "a row that was left out proves nothing");
        let output = Output { json: false, colours: false, columns: 200 };
        assert!(table(&partial, &output).to_string().contains("LEFT OUT"));
    }

    /// Otherwise evidence that holds without the effect would pass because an alert is missing beside it.
    #[test]
    fn evidence_that_held_is_never_red() {
        let missing_alert = Outcome { seen: true, ..outcome(Verdict::NotVisible, 5) };
        assert!(!holds(&report(vec![missing_alert.clone()])));
        assert!(meaning(&missing_alert).contains("proves nothing"), "{}", meaning(&missing_alert));
        let uncounted = |fault, seen| {
            let id = row(fault).name();
            report(vec![Outcome { id, seen, ..outcome(Verdict::Invalid, 5) }])
        };
        assert!(holds(&uncounted(FaultId::UserSlowQuery, false)));
        assert!(!holds(&uncounted(FaultId::UserSlowQuery, true)));
        assert!(!holds(&uncounted(FaultId::ConsumerSlow, false)), "its receipt does not need the effect");
    }

    /// A read that the evidence does not notice has to fail the command.
    #[test]
    fn unnoticed_read_is_a_failure() {
        let of = |name: &str, result, seen| {
            report(vec![Outcome { id: name.to_owned(), seen, ..outcome(result, 5) }])
        };
        let (slow, before) = ("consumer.slow:effect@user", "consumer.stuck:before@notification");
        assert!(
            holds(&of(slow, Verdict::NotVisible, false)) && holds(&of(before, Verdict::NotVisible, false))
        );
        for name in [slow, before] {
            assert!(!holds(&of(name, Verdict::Proven, true)), "{name}");
            assert!(
                !holds(&of(name, Verdict::Noisy, false)) && !holds(&of(name, Verdict::NotExposed, false))
            );
        }
        assert!(holds(&of(before, Verdict::Invalid, false)), "the effect was not asked for");
        assert!(!holds(&of(slow, Verdict::Invalid, false)), "the others still count");
        assert!(holds(&of("user.slow-query:effect@user", Verdict::Invalid, false)));
        let output = Output { json: false, colours: false, columns: 200 };
        let text = table(&of(slow, Verdict::Proven, true), &output).to_string();
        assert!(text.contains("held without this read"), "{text}");
    }

    #[test]
    fn table_names_worthless_evidence() {
        let rows =
            vec![outcome(Verdict::NotVisible, 5), outcome(Verdict::Proven, 5), outcome(Verdict::Noisy, 5)];
        let output = Output { json: false, colours: false, columns: 200 };
        let text = table(&report(rows), &output).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("needs the effect"), "{text}");
        assert!(lines[2].contains("proves nothing") && lines[3].contains("not judged"), "{text}");
    }

    #[test]
    fn platform_has_to_be_the_right_one() {
        let services = |without_effect: &[&'static str], others: &[&'static str]| Services {
            without_effect: without_effect.to_vec(),
            others: others.to_vec(),
        };
        let (usual, none) = (services(&[], &["game"]), services(&[], &[]));
        let (all, some) = (services(&["game"], &[]), services(&["game"], &["user"]));
        assert!(judge(&all, true).is_ok() && judge(&usual, false).is_ok() && judge(&none, false).is_ok());
        for (services, is_sabotage) in
            [(&usual, true), (&none, true), (&some, true), (&some, false), (&all, false)]
        {
            let error = judge(services, is_sabotage).unwrap_err().to_string();
            assert!(error.contains("./pitboss up"), "{error}");
        }
    }

    #[test]
    fn setting_is_read_from_a_metrics_page() {
        assert!(is_on("# TYPE pitboss_faults_ineffective gauge\npitboss_faults_ineffective 1\n"));
        for page in ["", "pitboss_faults_ineffective 0\n", "pitboss_faults_ineffective_since 1\n"] {
            assert!(!is_on(page), "{page}");
        }
    }
}

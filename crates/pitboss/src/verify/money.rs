//! The money audit of one row.

use std::time::{Duration, Instant};

use anyhow::Result;
use faults::MoneyVerdict;
use time::OffsetDateTime;

use crate::audit::{self, Check, CheckId, Report};
use crate::target::Target;

/// Age up to which a record may be without its counterpart. The work has ended before, and nothing is under load.
const IN_FLIGHT: Duration = Duration::from_secs(5);
/// Longest wait for what is in flight, or for views that still follow the ledger after the fault.
const SETTLED_MAX: Duration = Duration::from_secs(30);
/// Pause between two audits.
const PAUSE: Duration = Duration::from_secs(1);

/// Audits the records since the row began, because earlier findings say nothing about this fault. Returns true if the audit found
/// something, or for a fault that must be found: if it found that and nothing else.
///
/// It audits again while records are in flight or the result is not the expected one, for [`SETTLED_MAX`]. Wrong money stays wrong, and
/// a wrong payout that must not be there is known to be wrong at once.
pub(super) async fn audit(target: &Target, since: OffsetDateTime, money: MoneyVerdict) -> Result<bool> {
    let sources = audit::Sources::of(target)?;
    let options = audit::Options { since: Some(since), in_flight: IN_FLIGHT };
    let began = Instant::now();
    loop {
        let report = audit::run_with(&sources, &options).await?;
        let is_found = is_found(&report, money);
        let is_expected = is_found == (money == MoneyVerdict::Found);
        let is_decided = (is_expected && is_settled(&report)) || is_wrong_for_good(&report, money);
        if is_decided || began.elapsed() >= SETTLED_MAX {
            return Ok(is_found);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A payment that waits for the provider's next attempt may be open for minutes, so it is not waited for.
fn is_settled(report: &Report) -> bool {
    let mut waited_for = report.checks.iter().filter(|check| check.name != CheckId::PaymentsEnded.name());
    waited_for.all(|check| check.in_flight == 0)
}

/// Returns true if no later record can undo what the audit found: nothing changes the payout of a settled bet.
fn is_wrong_for_good(report: &Report, money: MoneyVerdict) -> bool {
    let is_wrong_payout = |check: &Check| check.name == CheckId::Payouts.name() && check.violations() > 0;
    money == MoneyVerdict::Unaffected && report.checks.iter().any(is_wrong_payout)
}

/// An audit with nothing to check is no proof that the money is right. Faults that must be found change payouts and nothing else.
fn is_found(report: &Report, money: MoneyVerdict) -> bool {
    match money {
        MoneyVerdict::Unaffected => !report.is_clean(),
        MoneyVerdict::Found => {
            let is_of_payouts = |name: &str| name == CheckId::Payouts.name();
            let (payouts, others): (Vec<_>, Vec<_>) =
                report.checks.iter().partition(|check| is_of_payouts(check.name));
            payouts.iter().any(|check| check.violations() > 0) && others.iter().all(|check| check.is_clean())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Finding;

    /// A report with one finding in each of these checks.
    fn report(violated: &[CheckId]) -> Report {
        let check = |id: CheckId| {
            let finding = Finding { what: "wrong".to_owned(), amounts: Vec::new(), pointers: Vec::new() };
            Check {
                name: id.name(),
                promise: id.promise(),
                checked: 1,
                in_flight: 0,
                deleted: 0,
                parked: 0,
                empty: false,
                findings: violated.contains(&id).then_some(finding).into_iter().collect(),
                unexamined: 0,
            }
        };
        Report {
            checks: CheckId::ALL.into_iter().map(check).collect(),
            mark: String::new(),
            carried: 0,
            open: Some(0),
            held: Default::default(),
        }
    }

    #[test]
    fn fault_to_be_found_changes_only_payouts() {
        let found = |violated: &[CheckId]| is_found(&report(violated), MoneyVerdict::Found);
        assert!(found(&[CheckId::Payouts]));
        assert!(!found(&[]), "it was missed");
        assert!(!found(&[CheckId::Balances]), "that is another fault");
        assert!(!found(&[CheckId::Payouts, CheckId::Balances]), "that is one more");
        let mut nothing_checked = report(&[CheckId::Payouts]);
        for check in nothing_checked.checks.iter_mut().filter(|check| check.findings.is_empty()) {
            check.checked = 0;
        }
        assert!(!is_found(&nothing_checked, MoneyVerdict::Found), "the other checks prove nothing");
    }

    #[test]
    fn any_finding_counts_if_money_is_unaffected() {
        let found = |violated: &[CheckId]| is_found(&report(violated), MoneyVerdict::Unaffected);
        assert!(!found(&[]));
        for id in CheckId::ALL {
            assert!(found(&[id]), "{}", id.name());
        }
    }

    /// Views that still follow the ledger are waited for. A payout is not.
    #[test]
    fn only_wrong_payouts_need_no_further_audit() {
        let is_final = |violated: &[CheckId], money| is_wrong_for_good(&report(violated), money);
        for id in CheckId::ALL {
            assert_eq!(is_final(&[id], MoneyVerdict::Unaffected), id == CheckId::Payouts, "{}", id.name());
        }
        assert!(is_final(&[CheckId::Payouts, CheckId::Balances], MoneyVerdict::Unaffected));
        assert!(!is_final(&[], MoneyVerdict::Unaffected));
        assert!(!is_final(&[CheckId::Payouts], MoneyVerdict::Found), "the others may still agree later");
    }

    #[test]
    fn report_is_settled_when_nothing_is_in_flight() {
        let mut report = report(&[]);
        assert!(is_settled(&report));
        report.checks[0].in_flight = 1;
        assert!(!is_settled(&report));
    }
}

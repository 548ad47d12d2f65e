//! The verdict about one row, as a function of what was seen and of nothing else.

use std::fmt;

use faults::MoneyVerdict;

/// Observations of a run of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Units of work that ended in the control and while the fault was armed: the smaller number.
    pub units: u64,
    /// Units that the row demands.
    pub units_min: u64,
    /// Number of times that the services or the supervisor applied the fault while it was armed, by their own counters.
    pub applied: u64,
    /// Number of times that the row demands.
    pub applied_min: u64,
    /// The evidence held in the control.
    pub control_held: bool,
    /// An alert condition that the fault has to meet held in the control.
    pub control_alarmed: bool,
    /// The fault was applied in the control, in which it was armed for traffic that does not exist.
    pub control_acted: bool,
    /// The evidence held in time while the fault was armed.
    pub seen: bool,
    /// All alert conditions that the fault has to meet held in time while it was armed.
    pub alerted: bool,
    /// After the fault had been disarmed all parts were ready, the work succeeded, and neither the evidence nor an alert held.
    pub ended: bool,
    /// The audit of the row's own records found something. For a fault that must be found: wrong payouts and nothing else.
    pub audit_found: bool,
    /// Expected result of the audit.
    pub money: MoneyVerdict,
    /// The second witness has what the recorder has of the traces that the evidence cites, or was not asked.
    pub witnesses_agree: bool,
}

/// Result of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The fault became visible, the control showed nothing, the fault ended, and the money is as expected.
    Proven,
    /// The services applied the fault, and the evidence or an alert condition did not hold in time.
    NotVisible,
    /// The evidence or an alert condition of the fault held without the fault, or the fault acted outside its scope.
    Noisy,
    /// The evidence or an alert condition still held, or the platform did not work again, long after the fault had been disarmed.
    DidNotEnd,
    /// The audit found something that the fault must not cause, or missed what it must find.
    MoneyWrong,
    /// The second witness does not have what the recorder has of the traces that the evidence cites.
    WitnessesDiffer,
    /// Too little work met the place where the fault acts.
    NotExposed,
    /// No service says that it applied the fault, or the row was not finished.
    Invalid,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Self; 8] = [
        Self::Proven,
        Self::NotVisible,
        Self::Noisy,
        Self::DidNotEnd,
        Self::MoneyWrong,
        Self::WitnessesDiffer,
        Self::NotExposed,
        Self::Invalid,
    ];

    /// Name in the table and in the JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "PROVEN",
            Self::NotVisible => "NOT VISIBLE",
            Self::Noisy => "NOISY",
            Self::DidNotEnd => "DID NOT END",
            Self::MoneyWrong => "MONEY WRONG",
            Self::WitnessesDiffer => "WITNESSES DIFFER",
            Self::NotExposed => "NOT EXPOSED",
            Self::Invalid => "INVALID",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Facts {
    /// Returns the expected result of the audit beside the actual one.
    #[must_use]
    pub const fn money_text(&self) -> &'static str {
        match (self.audit_found, self.money) {
            (false, MoneyVerdict::Unaffected) => "nothing found",
            (true, MoneyVerdict::Found) => "found, as it has to be",
            (true, MoneyVerdict::Unaffected) => "findings",
            (false, MoneyVerdict::Found) => "not only the wrong payouts, or nothing",
        }
    }
}

/// Judges a row. The first reason that applies decides, in the order of the run: without exposure and receipt, nothing that was
/// seen says anything about the fault.
#[must_use]
pub fn judge(facts: &Facts) -> Verdict {
    let money_is_expected = facts.audit_found == (facts.money == MoneyVerdict::Found);
    match facts {
        Facts { units, units_min, .. } if units < units_min || *units == 0 => Verdict::NotExposed,
        Facts { applied: 0, .. } => Verdict::Invalid,
        Facts { applied, applied_min, .. } if applied < applied_min => Verdict::NotExposed,
        Facts { control_held: true, .. }
        | Facts { control_alarmed: true, .. }
        | Facts { control_acted: true, .. } => Verdict::Noisy,
        Facts { seen: false, .. } | Facts { alerted: false, .. } => Verdict::NotVisible,
        Facts { ended: false, .. } => Verdict::DidNotEnd,
        _ if !money_is_expected => Verdict::MoneyWrong,
        Facts { witnesses_agree: false, .. } => Verdict::WitnessesDiffer,
        _ => Verdict::Proven,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVEN: Facts = Facts {
        units: 10,
        units_min: 10,
        applied: 3,
        applied_min: 3,
        control_held: false,
        control_alarmed: false,
        control_acted: false,
        seen: true,
        alerted: true,
        ended: true,
        audit_found: false,
        money: MoneyVerdict::Unaffected,
        witnesses_agree: true,
    };

    #[test]
    fn each_verdict_has_its_reason() {
        let found = Facts { money: MoneyVerdict::Found, audit_found: true, ..PROVEN };
        let table = [
            (PROVEN, Verdict::Proven),
            (found, Verdict::Proven),
            (Facts { seen: false, ..PROVEN }, Verdict::NotVisible),
            (Facts { alerted: false, ..PROVEN }, Verdict::NotVisible),
            (Facts { control_held: true, ..PROVEN }, Verdict::Noisy),
            (Facts { control_alarmed: true, ..PROVEN }, Verdict::Noisy),
            (Facts { control_acted: true, ..PROVEN }, Verdict::Noisy),
            (Facts { ended: false, ..PROVEN }, Verdict::DidNotEnd),
            (Facts { audit_found: true, ..PROVEN }, Verdict::MoneyWrong),
            (Facts { audit_found: false, ..found }, Verdict::MoneyWrong),
            (Facts { witnesses_agree: false, ..PROVEN }, Verdict::WitnessesDiffer),
            (Facts { units: 9, ..PROVEN }, Verdict::NotExposed),
            (Facts { units: 0, units_min: 0, ..PROVEN }, Verdict::NotExposed),
            (Facts { applied: 2, ..PROVEN }, Verdict::NotExposed),
            (Facts { applied: 0, ..PROVEN }, Verdict::Invalid),
        ];
        for (facts, verdict) in table {
            assert_eq!(judge(&facts), verdict, "{facts:?}");
        }
        for verdict in Verdict::ALL {
            assert!(table.iter().any(|(_, provoked)| *provoked == verdict), "{verdict} is never provoked");
        }
    }

    #[test]
    fn exposure_and_receipt_come_before_evidence() {
        let nothing = Facts { units: 0, applied: 0, seen: false, ended: false, ..PROVEN };
        assert_eq!(judge(&nothing), Verdict::NotExposed);
        assert_eq!(judge(&Facts { units: 10, ..nothing }), Verdict::Invalid);
        let noisy = Facts { control_held: true, ended: false, audit_found: true, ..PROVEN };
        assert_eq!(judge(&noisy), Verdict::Noisy, "the other findings may be the noise");
    }

    #[test]
    fn verdict_is_proven_only_without_any_reason() {
        for bits in 0..1024_u32 {
            let bit = |place: u32| bits & (1 << place) != 0;
            let facts = Facts {
                units: if bit(0) { 10 } else { 1 },
                applied: if bit(1) { 3 } else { 0 },
                control_held: bit(2),
                seen: bit(3),
                ended: bit(4),
                audit_found: bit(5),
                control_alarmed: bit(6),
                alerted: bit(7),
                control_acted: bit(8),
                witnesses_agree: bit(9),
                ..PROVEN
            };
            let is_quiet = !bit(2) && !bit(5) && !bit(6) && !bit(8);
            let is_proven = bit(0) && bit(1) && bit(3) && bit(4) && bit(7) && bit(9) && is_quiet;
            assert_eq!(judge(&facts) == Verdict::Proven, is_proven, "{facts:?}");
        }
    }
}

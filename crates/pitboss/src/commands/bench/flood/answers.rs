//! What became of the log-ins of a flood.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::commands::bench::cost::report::kinds;
use crate::commands::bench::turn::add;
use crate::load_generator::load_report::Kind;

/// Smallest share of the log-ins that has to be answered. With fewer, the flood was not the requested one.
const ANSWERED_SHARE_MIN: f64 = 0.95;

/// Log-ins by answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Answers {
    /// Log-ins that were to be sent.
    pub(super) sent: u64,
    /// 401: the password was compared, and it was wrong.
    pub(super) wrong: u64,
    /// 429: refused at the limit of the address or of the account.
    pub(super) limited: u64,
    /// 503: too many passwords waited to be compared.
    pub(super) busy: u64,
    /// Other answers, by status. None is expected.
    pub(super) others: BTreeMap<String, u64>,
    /// Log-ins without an answer, by kind.
    pub(super) failures: BTreeMap<String, u64>,
}

impl Answers {
    /// Counts one log-in.
    pub(super) fn count(&mut self, kind: Kind) {
        self.sent += 1;
        match kind {
            Kind::Status(401) => self.wrong += 1,
            Kind::Status(429) => self.limited += 1,
            Kind::Status(503) => self.busy += 1,
            Kind::Status(_) => *self.others.entry(kind.to_string()).or_default() += 1,
            _ => *self.failures.entry(kind.to_string()).or_default() += 1,
        }
    }

    /// Adds up the log-ins of several turns.
    pub(super) fn sum<'a>(turns: impl Iterator<Item = &'a Self>) -> Self {
        turns.fold(Self::default(), |mut sum, turn| {
            sum.sent += turn.sent;
            sum.wrong += turn.wrong;
            sum.limited += turn.limited;
            sum.busy += turn.busy;
            add(&mut sum.others, &turn.others);
            add(&mut sum.failures, &turn.failures);
            sum
        })
    }

    /// Says why these log-ins were not the requested flood. `None` if they were.
    pub(super) fn problem(&self) -> Option<String> {
        let Self { sent, wrong, others, failures, .. } = self;
        let unanswered: u64 = failures.values().sum();
        if unanswered as f64 > *sent as f64 * (1.0 - ANSWERED_SHARE_MIN) {
            return Some(format!("{unanswered} of {sent} log-ins had no answer: {}", kinds(failures)));
        }
        if !others.is_empty() {
            return Some(format!("log-ins had other answers than 401, 429 and 503: {}", kinds(others)));
        }
        (*wrong == 0)
            .then(|| format!("none of {sent} log-ins was answered with 401, so no password was compared"))
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, wrong, limited, busy, others, failures } = self;
        write!(
            f,
            "{sent} log-ins: 401 {wrong} · 429 {limited} · 503 {busy} · others {} · without an answer {}",
            kinds(others),
            kinds(failures)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(list: &[(Kind, usize)]) -> Answers {
        let mut answers = Answers::default();
        for (kind, count) in list {
            (0..*count).for_each(|_| answers.count(*kind));
        }
        answers
    }

    #[test]
    fn log_ins_are_counted_by_answer() {
        let one = answers(&[(Kind::Status(401), 2), (Kind::Status(429), 40), (Kind::NotSent, 1)]);
        let other = answers(&[(Kind::Status(401), 1), (Kind::Status(503), 3), (Kind::NotSent, 1)]);
        let sum = Answers::sum([&one, &other].into_iter());
        assert_eq!((sum.sent, sum.wrong, sum.limited, sum.busy), (48, 3, 40, 3));
        assert_eq!(sum.failures, BTreeMap::from([("not_sent".to_owned(), 2)]));
        let text = "48 log-ins: 401 3 · 429 40 · 503 3 · others none · without an answer not_sent 2";
        assert_eq!(sum.to_string(), text);
    }

    #[test]
    fn flood_has_to_arrive() {
        let (wrong, limited) = ((Kind::Status(401), 3), (Kind::Status(429), 92));
        assert_eq!(answers(&[wrong, limited, (Kind::Timeout, 5)]).problem(), None);
        for (list, expected) in [
            ([wrong, limited, (Kind::Timeout, 6)], "6 of 101 log-ins had no answer: timeout 6"),
            ([wrong, limited, (Kind::Status(404), 1)], "than 401, 429 and 503: http_404 1"),
            ([limited, limited, (Kind::Status(503), 1)], "none of 185 log-ins was answered with 401"),
        ] {
            let problem = answers(&list).problem().expect("a problem");
            assert!(problem.contains(expected), "{problem}");
        }
        assert!(Answers::default().problem().is_some(), "nothing was sent");
    }
}

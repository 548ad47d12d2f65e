//! Stages of releases, as Sentry's hourly task decides them: by the share of the sessions of the last six hours.
//!
//! The task leaves a project without sessions as it is. So the latest hour that had sessions decides, and those before it tell
//! whether the release had been adopted.

use std::collections::HashMap;

use crate::index::health::HourRow;

/// Hours whose sessions the task counts.
const WINDOW_HOURS: usize = 6;
/// Number of the task's rounds that are looked at: of the day, and the one at its beginning.
const ROUNDS: usize = 25;
/// Hours before the end of the day that are needed for all rounds.
pub(super) const HOURS: usize = ROUNDS - 1 + WINDOW_HOURS;
/// Share of the sessions of an environment from which a release is adopted.
const ADOPTED_FROM: f64 = 0.1;

/// Sessions by hour, the last hour first.
type Hours = [u64; HOURS];

/// Sessions of each release and environment in each hour.
#[derive(Debug, Default)]
pub(super) struct Adoption {
    environments: HashMap<(u32, String), Hours>,
    releases: HashMap<(u32, String, String), Hours>,
}

impl Adoption {
    /// Adds the sessions of a release in an hour.
    pub(super) fn add(&mut self, row: HourRow) {
        let HourRow { project, environment, release, hours_ago, sessions } = row;
        let total = self.environments.entry((project, environment.clone())).or_default();
        let own = self.releases.entry((project, environment, release)).or_default();
        let hour = usize::try_from(hours_ago).unwrap_or(HOURS);
        for hours in [total, own] {
            if let Some(count) = hours.get_mut(hour) {
                *count += sessions;
            }
        }
    }

    /// Returns `adopted`, `low_adoption` or `replaced`.
    pub(super) fn stage(&self, project: u32, environment: &str, release: &str) -> &'static str {
        let total = self.environments.get(&(project, environment.to_owned()));
        let own = self.releases.get(&(project, environment.to_owned(), release.to_owned()));
        match (total, own) {
            // Sentry adopts no release in an environment without a name.
            (Some(total), Some(own)) if !environment.is_empty() => stage(total, own),
            _ => "low_adoption",
        }
    }
}

fn stage(total: &Hours, own: &Hours) -> &'static str {
    let count = |hours: &Hours, round: usize| hours.iter().skip(round).take(WINDOW_HOURS).sum::<u64>();
    let is_adopted = |round: usize| {
        let (total, own) = (count(total, round), count(own, round));
        total > 0 && own as f64 >= total as f64 * ADOPTED_FROM
    };
    let mut rounds = (0..ROUNDS).skip_while(|round| count(total, *round) == 0);
    if rounds.next().is_some_and(is_adopted) {
        "adopted"
    } else if rounds.any(is_adopted) {
        "replaced"
    } else {
        "low_adoption"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stage of release `a` with these sessions: release, hours ago, count.
    fn stage_of(environment: &str, sessions: &[(&str, u64, u64)]) -> &'static str {
        let mut adoption = Adoption::default();
        for (release, hours_ago, sessions) in sessions {
            adoption.add(HourRow {
                project: 3,
                environment: environment.to_owned(),
                release: (*release).to_owned(),
                hours_ago: *hours_ago,
                sessions: *sessions,
            });
        }
        adoption.stage(3, environment, "a")
    }

    #[test]
    fn six_hours_decide_the_stage() {
        assert_eq!(stage_of("prod", &[("a", 5, 1), ("b", 0, 9)]), "adopted", "a tenth is enough");
        assert_eq!(stage_of("prod", &[("a", 5, 1), ("b", 0, 10)]), "replaced", "b has come since");
        assert_eq!(stage_of("prod", &[("a", 0, 1), ("b", 3, 10)]), "low_adoption");
        assert_eq!(stage_of("prod", &[("a", 6, 100), ("b", 0, 10)]), "replaced");
        assert_eq!(stage_of("prod", &[("a", 29, 5), ("b", 0, 10)]), "replaced", "a day ago it was adopted");
        assert_eq!(stage_of("prod", &[("a", 30, 5), ("b", 0, 10)]), "low_adoption", "too long ago");
    }

    #[test]
    fn silence_changes_no_stage() {
        assert_eq!(stage_of("prod", &[("a", 12, 5)]), "adopted");
        assert_eq!(stage_of("prod", &[("a", 20, 5), ("b", 12, 100)]), "replaced");
        assert_eq!(stage_of("prod", &[("b", 12, 100)]), "low_adoption", "it is not known");
        assert_eq!(stage_of("", &[("a", 0, 5)]), "low_adoption", "an environment without a name");
    }
}

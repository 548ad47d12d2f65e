//! The releases of one project, and whether Sentry would order them by version or by date.

use serde::{Deserialize, Serialize};

use super::version;

/// Largest number of releases of a project that are known. Further ones replace the oldest.
pub const RELEASES_MAX: usize = 2_000;
/// Number of the newest releases that decide whether a project is ordered by version.
const NEWEST: usize = 10;
/// Number of those that count most.
const NEWEST_FEW: usize = 3;

/// One release.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Name of the release, such as `game@1.2.3`.
    pub version: String,
    /// Receipt of the first envelope that named it, in microseconds since the epoch.
    pub added_us: u64,
    /// Date that somebody gave it (`dateReleased`), in microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_us: Option<u64>,
}

impl Release {
    /// Returns a release without a date of its own.
    #[must_use]
    pub fn added(version: &str, added_us: u64) -> Self {
        Self { version: version.to_owned(), added_us, released_us: None }
    }

    /// Returns the date by which it is compared: its own, otherwise that of its first envelope.
    #[must_use]
    pub fn date_us(&self) -> u64 {
        self.released_us.unwrap_or(self.added_us)
    }
}

/// Known releases of one project.
#[derive(Clone, Debug, Default)]
pub struct Releases {
    newest_first: Vec<Release>,
}

impl Releases {
    /// Takes the releases in the order in which they became known, newest first.
    #[must_use]
    pub fn new(newest_first: Vec<Release>) -> Self {
        Self { newest_first }
    }

    /// Returns the release of this name.
    #[must_use]
    pub fn find(&self, version: &str) -> Option<&Release> {
        self.newest_first.iter().find(|release| release.version == version)
    }

    /// Returns the newest release by date.
    #[must_use]
    pub fn newest(&self) -> Option<&Release> {
        self.by_date().first().copied()
    }

    /// Returns the releases by date, newest first. Of one date the one that became known last is first.
    fn by_date(&self) -> Vec<&Release> {
        let mut releases: Vec<&Release> = self.newest_first.iter().collect();
        releases.sort_by_key(|release| std::cmp::Reverse(release.date_us()));
        releases
    }

    /// Returns all releases, those that became known last first.
    pub fn iter(&self) -> impl Iterator<Item = &Release> {
        self.newest_first.iter()
    }

    /// Returns the release that came next after this one by date.
    pub(super) fn successor(&self, version: &str) -> Option<&Release> {
        let by_date = self.by_date();
        let at = by_date.iter().position(|release| release.version == version)?;
        by_date.get(at.checked_sub(1)?).copied()
    }

    /// Returns the release with the greatest version.
    pub(super) fn greatest(&self) -> Option<&Release> {
        let with_order = self.newest_first.iter().filter(|release| version::is_semver(&release.version));
        with_order.reduce(|greatest, release| {
            let is_greater = version::compare(&release.version, &greatest.version).is_some_and(|o| o.is_gt());
            if is_greater { release } else { greatest }
        })
    }

    /// Returns true when the newest releases look like versions.
    pub(super) fn are_ordered_by_version(&self) -> bool {
        let among = |newest: usize| {
            let newest = self.newest_first.iter().take(newest);
            newest.filter(|release| version::is_semver(&release.version)).count()
        };
        match self.newest_first.len() {
            0..NEWEST_FEW => among(1) > 0,
            NEWEST_FEW..NEWEST => among(NEWEST_FEW) > 0,
            _ => among(NEWEST_FEW) > 0 && among(NEWEST) >= NEWEST_FEW,
        }
    }

    /// Returns true when Sentry would compare this release with others by version, and not by date.
    pub(super) fn follows_semver(&self, version: &str) -> bool {
        self.are_ordered_by_version() && version::is_semver(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn releases(newest_first: &[&str]) -> Releases {
        let dated = newest_first.iter().zip((1..=newest_first.len() as u64).rev());
        Releases::new(dated.map(|(name, added_us)| Release::added(name, added_us)).collect())
    }

    #[test]
    fn newest_releases_decide_whether_versions_count() {
        let (v, h) = ("g@1.0", "deadbeef");
        for (newest_first, expected) in [
            (vec![], false),
            (vec![v], true),
            (vec![h, v], false),
            (vec![v, h], true),
            (vec![h, h, v], true),
            (vec![h, h, h, v], false),
            (vec![h, h, v, v, v, h, h, h, h, h], true),
            (vec![h, h, v, v, h, h, h, h, h, h], false),
            (vec![h, h, h, v, v, v, v, v, v, v], false),
        ] {
            assert_eq!(releases(&newest_first).are_ordered_by_version(), expected, "{newest_first:?}");
        }
        let mixed = releases(&[v, h]);
        assert!(mixed.follows_semver(v) && !mixed.follows_semver(h), "a hash is ordered by date");
    }

    #[test]
    fn releases_are_found_by_version_and_by_date() {
        let known = releases(&["g@1.9.9", "g@2.0.0", "e2fb"]);
        assert_eq!(known.greatest().map(|release| release.version.as_str()), Some("g@2.0.0"));
        assert_eq!(known.newest().map(|release| release.version.as_str()), Some("g@1.9.9"));
        assert_eq!(known.successor("e2fb").map(|release| release.version.as_str()), Some("g@2.0.0"));
        assert_eq!((known.successor("g@1.9.9"), known.successor("g@3")), (None, None));
        assert_eq!(releases(&["e2fb"]).greatest(), None);
    }

    #[test]
    fn own_date_of_a_release_comes_first() {
        let dated = |version: &str, added_us, released_us| Release {
            released_us,
            ..Release::added(version, added_us)
        };
        let known =
            Releases::new(vec![dated("c", 30, Some(5)), dated("b", 20, None), dated("a", 10, Some(25))]);
        let name = |release: Option<&Release>| release.map(|release| release.version.clone());
        assert_eq!(name(known.newest()).as_deref(), Some("a"));
        assert_eq!(name(known.successor("c")).as_deref(), Some("b"));
        assert_eq!((name(known.successor("b")).as_deref(), known.successor("a")), (Some("a"), None));
    }
}

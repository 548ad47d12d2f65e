//! The rows: releases, how the issue is resolved, and what an event means then. docs/ISSUES.md explains each.

/// How the issue is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Without a release.
    Now,
    /// In a release that the project has sent.
    InRelease(&'static str),
    /// In the next release.
    InNextRelease,
}

/// One drill.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Releases in the order in which they arrive. The issue begins with the first one.
    pub(super) releases: &'static [&'static str],
    pub(super) how: How,
    /// Release that is deleted after that.
    pub(super) deleted: Option<&'static str>,
    /// Releases that arrive after that.
    pub(super) then: &'static [&'static str],
    /// Release of the event that arrives at the end.
    pub(super) event: Option<&'static str>,
    /// The event opens the issue again.
    pub(super) regresses: bool,
}

/// The hash of a commit, and a short one that happens to have digits only.
const HASH: &str = "e37fa1b2c3d4e5f60718293a4b5c6d7e8f901234";
const HASH_OF_DIGITS: &str = "4815162";

const fn row(
    name: &'static str,
    releases: &'static [&'static str],
    how: How,
    event: &'static str,
    regresses: bool,
) -> Row {
    Row { name, releases, how, deleted: None, then: &[], event: Some(event), regresses }
}

/// All drills.
pub(super) fn rows() -> Vec<Row> {
    [names(), order(), next_release()].concat()
}

/// Names that are versions, and names that are not.
fn names() -> Vec<Row> {
    vec![
        row("rc10 and rc2", &["g@1.0-rc2", "g@1.0-rc10"], How::InRelease("g@1.0-rc2"), "g@1.0-rc10", false),
        row("bare version", &["1.10.0", "1.9.0"], How::InRelease("1.10.0"), "1.9.0", true),
        row("SHA among semver", &["g@1.0.0", "g@1.1.0", HASH], How::InRelease("g@1.1.0"), HASH, true),
        row("fix in a SHA", &["g@1.0.0", HASH, "g@1.1.0"], How::InRelease(HASH), "g@1.0.0", false),
        row(
            "SHA of digits only",
            &["g@1.0.0", HASH_OF_DIGITS, "g@1.1.0"],
            How::InRelease(HASH_OF_DIGITS),
            "g@1.1.0",
            false,
        ),
    ]
}

/// Releases out of order, old and new clients.
fn order() -> Vec<Row> {
    let two: &[&str] = &["g@1.0.0", "g@1.1.0"];
    vec![
        row(
            "back-port out of order",
            &["g@1.4.0", "g@2.0.0", "g@1.4.1"],
            How::InRelease("g@2.0.0"),
            "g@1.4.1",
            false,
        ),
        row(
            "back-port of bare versions",
            &["1.4.0", "2.0.0", "1.4.1"],
            How::InRelease("2.0.0"),
            "1.4.1",
            true,
        ),
        row("old client after the fix", two, How::InRelease("g@1.1.0"), "g@1.0.0", false),
        row("old client after a plain resolve", two, How::Now, "g@1.0.0", true),
        row("the release of the fix itself", two, How::InRelease("g@1.1.0"), "g@1.1.0", true),
        row(
            "version far ahead",
            &["g@1.0.0", "g@1.1.0", "g@999.9.9"],
            How::InRelease("g@1.1.0"),
            "g@999.9.9",
            true,
        ),
        Row { event: None, ..row("event without a release", two, How::InRelease("g@1.1.0"), "", false) },
        Row {
            deleted: Some("g@1.1.0"),
            ..row("deleted release", two, How::InRelease("g@1.1.0"), "g@1.0.0", true)
        },
    ]
}

fn next_release() -> Vec<Row> {
    let two: &[&str] = &["g@1.0.0", "g@1.1.0"];
    let next = How::InNextRelease;
    vec![
        row("next release: the present one again", two, next, "g@1.1.0", false),
        Row {
            then: &["g@1.0.1"],
            ..row("next release: a back-port comes first", two, next, "g@1.0.1", false)
        },
        Row { then: &["g@1.2.0"], ..row("next release: it has it again", two, next, "g@1.2.0", true) },
        row("next release by date: the present one again", &["aaaa"], next, "aaaa", false),
        Row {
            then: &["bbbb"],
            ..row("next release by date: it has it again", &["aaaa"], next, "bbbb", true)
        },
        Row {
            then: &["g@1.0.0+01287d8"],
            ..row("builds without an order", &["g@1.0.0+94bcff4"], next, "g@1.0.0+01287d8", false)
        },
        Row {
            then: &["g@1.0.0+20261201T000000.01287d8"],
            ..row(
                "builds with the time of their commits",
                &["g@1.0.0+20261130T150321.94bcff4"],
                next,
                "g@1.0.0+20261201T000000.01287d8",
                true,
            )
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_consistent() {
        let rows = rows();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!((names.len(), rows.len()), (20, 20));
        for row in &rows {
            let known: Vec<&&str> = row.releases.iter().chain(row.then).collect();
            let named = [
                row.event,
                row.deleted,
                match row.how {
                    How::InRelease(release) => Some(release),
                    How::Now | How::InNextRelease => None,
                },
            ];
            for release in named.iter().flatten() {
                assert!(known.contains(&release), "{}: nothing sends {release}", row.name);
            }
        }
        assert!(rows.iter().any(|row| row.regresses) && rows.iter().any(|row| !row.regresses));
    }
}

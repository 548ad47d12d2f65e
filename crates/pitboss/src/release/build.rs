//! Programs of releases: built from this checkout, or taken from a file, and put on the shelf.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use contracts::Part;
use runtime::releases::Deployments;
use runtime::releases::shelf::{self, Kept, Source};
use runtime::{Layout, fetch, services};
use time::OffsetDateTime;

use crate::cargo;
use crate::steps::print_line;

/// The only service that can be built with the regression.
pub const WITH_REGRESSION: Part = Part::Analytics;

/// Name of the release of a version: `pitboss@<version>+<time of the commit>.<commit>`.
///
/// A version with its own build (`0.2.0+5`), or a whole name (`analytics@0.2.0`), is not completed. Neither is what is no version,
/// such as a hash, which Sentry takes as it is.
#[must_use]
pub fn name(layout: &Layout, version: &str) -> String {
    if version.contains('@') {
        version.to_owned()
    } else if version.contains('+') {
        format!("pitboss@{version}")
    } else {
        services::release(layout, version, &BTreeMap::new())
    }
}

/// Builds the program of a service with cargo, and returns its file.
///
/// The program with the regression has a file of its own, so the usual one is not replaced.
///
/// # Errors
/// When the service has no regression, or the build fails.
pub async fn compile(
    layout: &Layout,
    part: Part,
    with_regression: bool,
    on_progress: &fetch::OnLine<'_>,
) -> Result<PathBuf> {
    if !with_regression {
        cargo::build_programs(layout, on_progress).await?;
        return Ok(cargo::built(layout, part.as_str()));
    }
    if part != WITH_REGRESSION {
        bail!(
            "only {WITH_REGRESSION} has a regression that can be built: ./pitboss release build {WITH_REGRESSION} --regression"
        );
    }
    cargo::build_regression(layout, on_progress).await
}

/// Puts a program on the shelf under the name of a release, and deletes old ones beyond its limit. Returns false beside it if it was
/// there.
///
/// The caller holds the lock of commands. Otherwise another one could delete what this one keeps.
///
/// # Errors
/// When the release exists as another program, or the file cannot be read.
pub fn keep(
    layout: &Layout,
    release: &str,
    part: Part,
    program: &Path,
    source: Source,
) -> Result<(Kept, bool)> {
    let kept = Kept {
        release: release.to_owned(),
        service: part.as_str().to_owned(),
        source,
        kept_at_s: OffsetDateTime::now_utc().unix_timestamp(),
    };
    let kept = shelf::put(layout, kept, part, program)?;
    for deleted in shelf::prune(layout, &Deployments::load(layout)?, release)? {
        print_line(&format!("deleted the old program of {deleted}"));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_becomes_the_name_of_a_release() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        for (version, expected) in [
            ("0.2.0", "pitboss@0.2.0"),
            ("0.2.0+5", "pitboss@0.2.0+5"),
            ("analytics@0.2.0-rc1", "analytics@0.2.0-rc1"),
        ] {
            // Without a repository there is no time of a commit.
            assert_eq!(name(&layout, version), expected);
        }
    }

    #[tokio::test]
    async fn other_services_have_no_regression() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        let error = compile(&layout, Part::Payment, true, &|_| {}).await.unwrap_err().to_string();
        assert!(error.contains("only analytics has a regression"), "{error}");
    }
}

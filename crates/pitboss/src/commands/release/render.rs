//! Releases for people and programs: the shelf, and what runs.

use anyhow::Result;
use contracts::Part;
use runtime::part::Status;
use runtime::releases::shelf::{Kept, Source};
use runtime::releases::{Deployments, further_names};
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;

use crate::output::{Output, borderless_table, counted, plain};
use crate::release::health::{Facts, ReleaseFacts};
use crate::release::share::Share;

/// Number of releases of a service that are shown beside those that run.
const RELEASES_SHOWN: usize = 10;

/// One process of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Instance {
    name: String,
    version: String,
    state: &'static str,
}

/// A service with its instances and releases.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Service {
    service: &'static str,
    instances: Vec<Instance>,
    /// Partitions of the canary. Null without one.
    share: Option<Share>,
    releases: Vec<ReleaseFacts>,
}

impl Service {
    pub(super) fn of(part: Part, status: &Status, facts: &Facts, share: Option<Share>) -> Self {
        let names = std::iter::once(part.as_str().to_owned()).chain(further_names(part));
        let instance = |name: String| {
            let part = status.part(&name)?;
            Some(Instance { version: part.version.clone(), state: part.state.as_str(), name })
        };
        let instances: Vec<Instance> = names.filter_map(instance).collect();
        let runs = |facts: &ReleaseFacts| {
            let version = facts.release.trim_start_matches("pitboss@");
            instances.iter().any(|instance| instance.version == version)
        };
        let mut releases: Vec<ReleaseFacts> = facts.releases().map(|release| facts.of(release)).collect();
        // Those that run come first, then those with most sessions of the last day.
        releases.sort_by_key(|facts| (std::cmp::Reverse(runs(facts)), std::cmp::Reverse(facts.sessions)));
        releases.truncate(RELEASES_SHOWN);
        Self { service: part.as_str(), instances, share, releases }
    }
}

/// Prints the programs on the shelf.
pub(super) fn list(all: &[Kept], deployments: &Deployments, output: &Output) {
    if output.json {
        let one = |kept: &Kept| json!({ "kept": kept, "runs": place(kept, deployments) });
        output.line(&json!({ "releases": all.iter().map(one).collect::<Vec<_>>() }).to_string());
        return;
    }
    if all.is_empty() {
        output.line("no release was built: ./pitboss release build analytics --version 0.2.0");
        return;
    }
    let mut table = borderless_table(output.columns, &["RELEASE", "SERVICE", "SOURCE", "KEPT (UTC)", "RUNS"]);
    for kept in all {
        let (runs, at) = (place(kept, deployments).unwrap_or("–"), clock(kept.kept_at_s));
        let row = [kept.release.as_str(), kept.service.as_str(), source(kept.source), at.as_str(), runs];
        table.add_row(row.map(plain));
    }
    output.line(&table.to_string());
}

/// Where a release runs.
fn place(kept: &Kept, deployments: &Deployments) -> Option<&'static str> {
    let deployment = deployments.of(kept.service.parse::<Part>().ok()?);
    if deployment.canary.as_ref().is_some_and(|canary| canary.release == kept.release) {
        Some("canary")
    } else if deployment.current() == Some(kept.release.as_str()) {
        Some("all instances")
    } else if deployment.promoted.contains(&kept.release) {
        Some("after a rollback")
    } else {
        None
    }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Checkout => "this checkout",
        Source::Regression => "with the regression",
        Source::File => "a file",
    }
}

fn clock(at_s: i64) -> String {
    OffsetDateTime::from_unix_timestamp(at_s)
        .map_or_else(|_| "–".to_owned(), |at| format!("{} {:02}:{:02}", at.date(), at.hour(), at.minute()))
}

/// Prints what runs.
pub(super) fn status(all: &[Service], output: &Output) -> Result<()> {
    if output.json {
        output.line(&serde_json::to_string(&json!({ "services": all }))?);
        return Ok(());
    }
    let shown: Vec<String> = all.iter().map(|service| service.text(output)).collect();
    output.line(&shown.join("\n\n"));
    Ok(())
}

impl Service {
    fn text(&self, output: &Output) -> String {
        let mut lines = vec![self.service.to_owned()];
        for Instance { name, version, state } in &self.instances {
            lines.push(plain(&format!("  {name:<22} {state:<14} {version}")));
        }
        if let Some(share) = self.share {
            lines.push(format!("  the canary has {share}"));
        }
        let header = ["RELEASE", "ADOPTION", "SESSIONS", "CRASH-FREE", "ERRORS", "NEW ISSUES", "STAGE"];
        let mut table = borderless_table(output.columns, &header);
        for facts in &self.releases {
            table.add_row([
                plain(&facts.release),
                percent(facts.adoption),
                facts.sessions.to_string(),
                percent(facts.crash_free_sessions),
                facts.errors.to_string(),
                facts.new_issues.len().to_string(),
                plain(&facts.stage),
            ]);
        }
        if self.releases.is_empty() {
            lines.push("  the recorder knows no release".to_owned());
        } else if output.is_narrow() {
            lines.extend(self.releases.iter().flat_map(block));
        } else {
            lines.push(table.to_string());
        }
        lines.join("\n")
    }
}

fn block(facts: &ReleaseFacts) -> [String; 2] {
    let figures = format!(
        "    adoption {}, crash-free {} of {}, {}, {}",
        percent(facts.adoption),
        percent(facts.crash_free_sessions),
        counted(facts.sessions, "session"),
        counted(facts.errors, "error"),
        counted(u64::try_from(facts.new_issues.len()).unwrap_or(u64::MAX), "new issue"),
    );
    [plain(&format!("  {}", facts.release)), figures]
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

#[cfg(test)]
mod tests {
    use runtime::part::{Kind, PartState, PartStatus};

    use super::*;

    fn part(name: &str, version: &str) -> PartStatus {
        PartStatus {
            name: name.to_owned(),
            kind: Kind::Service,
            address: String::new(),
            pid: Some(1),
            version: version.to_owned(),
            state: PartState::Ready,
            memory_bytes: 0,
            restarts: 0,
            last_exit: None,
        }
    }

    #[test]
    fn status_shows_the_version_of_each_instance() {
        let parts =
            vec![part("analytics", "0.1.0"), part("analytics-canary", "0.2.0"), part("game", "0.1.0")];
        let status = Status { runtime: "local".to_owned(), parts };
        let share = Some(Share { partitions: 12, of: 24 });
        let service = Service::of(Part::Analytics, &status, &Facts::default(), share);
        for columns in [60, 120] {
            let text = service.text(&Output { json: false, colours: false, columns });
            assert!(text.contains("analytics-canary       ready          0.2.0"), "{text}");
            assert!(text.contains("12 of 24 partitions (50 %)") && !text.contains("game"), "{text}");
            assert!(text.contains("the recorder knows no release"), "{text}");
        }
    }

    #[test]
    fn list_says_where_a_release_runs() {
        let kept = |release: &str| Kept {
            release: release.to_owned(),
            service: "analytics".to_owned(),
            source: Source::Checkout,
            kept_at_s: 0,
        };
        let mut deployments = Deployments::default();
        for release in ["a", "b"] {
            assert!(deployments.deploy(Part::Analytics, release, "own").unwrap());
        }
        assert!(deployments.deploy_canary(Part::Analytics, "c", 2, "own").unwrap());
        let places = ["a", "b", "c", "d"].map(|release| place(&kept(release), &deployments));
        assert_eq!(places, [Some("after a rollback"), Some("all instances"), Some("canary"), None]);
        assert_eq!(clock(0), "1970-01-01 00:00");
    }
}

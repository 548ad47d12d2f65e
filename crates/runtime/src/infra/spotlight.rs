//! Sentry's Spotlight, a viewer for envelopes: the second witness beside the recorder. It is optional (`up --spotlight`).
//!
//! npm installs the files that the repository lists by hash (`deploy/spotlight/package-lock.json`), without install scripts. Its own
//! telemetry is switched off in these files ([`silence`]). A script that node loads first keeps it on 127.0.0.1 in both directions
//! (`deploy/spotlight/loopback.cjs`), because Spotlight has an option for neither.

mod silence;

use std::path::{Path, PathBuf};
use std::time::Duration;

use contracts::parts::Ports;
use contracts::versions::versions;
use sha2::{Digest, Sha256};

use crate::fetch::{self, Job, OnLine};
use crate::layout::{private_folder, write_private};
use crate::part::{Kind, PartSpec, Probe, base_environment, fingerprint};
use crate::tools::{self, Finding, examine};
use crate::{Layout, RuntimeError};

/// Name of the part. It is no [`contracts::Part`], because nothing of the platform needs it.
pub const NAME: &str = "spotlight";

const PACKAGE: &str = include_str!("../../../../deploy/spotlight/package.json");
const LOCK: &str = include_str!("../../../../deploy/spotlight/package-lock.json");
const LOOPBACK: &str = include_str!("../../../../deploy/spotlight/loopback.cjs");
const FETCH_DEADLINE: Duration = Duration::from_secs(600);
const STOP_DEADLINE_MS: u64 = 5_000;
/// Limit of node's heap, at which it exits and is restarted. In all it needs about 220 MiB with a full buffer.
const HEAP: &str = "--max-old-space-size=256";

fn home(layout: &Layout) -> PathBuf {
    layout.tools().join(format!("{NAME}-{}", versions().spotlight.version))
}

/// The file of the package that node runs.
fn program(home: &Path) -> PathBuf {
    home.join(silence::PACKAGE_FOLDER).join("dist").join("run.js")
}

/// Content of the file that is written last: what the folder is made of.
fn marker() -> String {
    hash([PACKAGE, LOCK].into_iter().chain(silence::texts()))
}

fn hash(texts: impl IntoIterator<Item = &'static str>) -> String {
    let mut hash = Sha256::new();
    texts.into_iter().for_each(|text| hash.update(text.as_bytes()));
    hex::encode(hash.finalize())
}

/// Returns `true` if exactly the listed files were fetched and silenced.
#[must_use]
pub fn is_fetched(layout: &Layout) -> bool {
    std::fs::read_to_string(home(layout).join("complete")).is_ok_and(|installed| installed == marker())
}

/// Checks node, and npm where Spotlight was not fetched yet.
///
/// # Errors
/// When one of them is missing or too old (exit code 69).
pub fn check_tools(layout: &Layout) -> Result<(), RuntimeError> {
    let wanted = &versions().spotlight;
    let mut findings = vec![examine(tools::NODE, Some(&wanted.node_minimum))];
    if !is_fetched(layout) {
        findings.push(examine(tools::NPM, Some(&wanted.npm_minimum)));
    }
    complaint(&findings).map_or(Ok(()), Err)
}

/// Describes what is wrong with the tools. They are never installed by a command, because only some systems have them new enough.
fn complaint(findings: &[Finding]) -> Option<RuntimeError> {
    let complaints: Vec<String> = findings.iter().filter_map(Finding::complaint).collect();
    let minimum = &versions().spotlight.node_minimum;
    (!complaints.is_empty()).then(|| RuntimeError::Missing {
        what: complaints.join("\n"),
        advice: format!(
            "install Node.js {minimum} or newer with npm (Debian 13: apt-get install -y nodejs npm; otherwise https://nodejs.org), or leave out --spotlight"
        ),
    })
}

/// Fetches the packages with npm and silences them, unless that was done before. The folder gets its name only when it is complete.
///
/// # Errors
/// When npm fails, or a file does not look as expected. Nothing is used then.
pub async fn fetch(layout: &Layout, on_line: &OnLine<'_>) -> Result<(), RuntimeError> {
    if is_fetched(layout) {
        return Ok(());
    }
    let home = home(layout);
    let draft = layout.tools().join(format!("{NAME}.incomplete"));
    for old in [&home, &draft] {
        drop(std::fs::remove_dir_all(old));
    }
    private_folder(&draft)?;
    write_private(&draft.join("package.json"), PACKAGE.as_bytes())?;
    write_private(&draft.join("package-lock.json"), LOCK.as_bytes())?;
    let npm = tools::locate(&tools::NPM).unwrap_or_else(|| PathBuf::from("npm"));
    let mut command = fetch::bound(npm);
    command.current_dir(&draft).args(["ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"]);
    command.arg("--no-update-notifier");
    let log = layout.log("fetch-spotlight");
    let job = Job { what: "fetching Sentry's Spotlight", log: &log, deadline: FETCH_DEADLINE };
    fetch::run(layout, command, &job, on_line).await?;
    silence::apply(&draft)?;
    write_private(&draft.join("complete"), marker().as_bytes())?;
    std::fs::rename(&draft, &home).map_err(RuntimeError::file("rename", &draft))
}

/// Describes the part.
///
/// # Errors
/// When node is missing, Spotlight was not fetched, or one of its files is not silent.
pub fn prepare(layout: &Layout, ports: Ports) -> Result<PartSpec, RuntimeError> {
    let node = tools::locate(&tools::NODE).ok_or_else(|| RuntimeError::Missing {
        what: "node is missing (needed for Sentry's Spotlight)".to_owned(),
        advice: "install Node.js, or leave out --spotlight".to_owned(),
    })?;
    let home = home(layout);
    silence::check(&home)?;
    let preload = layout.config().join("spotlight-loopback.cjs");
    write_private(&preload, LOOPBACK.as_bytes())?;
    // Empty: Spotlight shows source files below its working directory.
    let cwd = layout.data(NAME);
    private_folder(&cwd)?;
    let port = ports.spotlight();
    let (preload, program) = (preload.display().to_string(), program(&home).display().to_string());
    let args =
        [HEAP, "--require", &preload, &program, "server", "--port", &port.to_string()].map(str::to_owned);
    let mut env = base_environment();
    // A page's request to open a source file in an editor runs this, and thus nothing.
    env.insert("LAUNCH_EDITOR".to_owned(), "/bin/true".to_owned());
    Ok(PartSpec {
        name: NAME.to_owned(),
        kind: Kind::Infrastructure,
        // With the script, so that another one is another process.
        fingerprint: format!("{} {} {}", fingerprint(&node), marker(), hash([LOOPBACK])),
        program: node,
        args: args.into(),
        env,
        cwd,
        needs: Vec::new(),
        ports: vec![port],
        address: format!("http://127.0.0.1:{port}"),
        version: versions().spotlight.version.clone(),
        ready: Probe::Http { address: format!("127.0.0.1:{port}"), path: "/health".to_owned() },
        stop_deadline_ms: STOP_DEADLINE_MS,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::tools::Verdict;

    #[test]
    fn every_package_is_pinned_by_a_hash() {
        let lock: Value = serde_json::from_str(LOCK).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages.len() > 100, "{}", packages.len());
        for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
            let hash = package["integrity"].as_str().unwrap_or_default();
            assert!(hash.starts_with("sha512-"), "{name}: {hash}");
            assert!(package["hasInstallScript"].is_null(), "{name} would need its install script");
            // The registry that npm is configured with decides where a file comes from, and the hash what it is.
            assert!(package["resolved"].is_null(), "{name}");
        }
        let spotlight = &packages["node_modules/@spotlightjs/spotlight"];
        assert_eq!(spotlight["version"].as_str(), Some(versions().spotlight.version.as_str()));
    }

    /// Newer versions of hono make this version of Spotlight answer 500 to everything.
    #[test]
    fn hono_is_the_one_that_works() {
        let package: Value = serde_json::from_str(PACKAGE).unwrap();
        let lock: Value = serde_json::from_str(LOCK).unwrap();
        assert_eq!(package["overrides"]["hono"], "4.12.25");
        assert_eq!(lock["packages"]["node_modules/hono"]["version"], "4.12.25");
        assert_eq!(package["dependencies"]["@spotlightjs/spotlight"], versions().spotlight.version.as_str());
    }

    #[test]
    fn old_tools_are_named_with_advice() {
        let finding = |tool, version: Option<&str>, verdict| Finding {
            tool,
            path: None,
            version: version.map(str::to_owned),
            verdict,
        };
        let findings = [
            finding(tools::NODE, Some("18.20.4"), Verdict::TooOld("20.6".to_owned())),
            finding(tools::NPM, None, Verdict::Missing),
        ];
        let error = complaint(&findings).unwrap();
        assert_eq!(error.exit_code(), 69);
        let text = error.to_string();
        assert!(text.contains("node is 18.20.4, but Sentry's Spotlight"), "{text}");
        assert!(text.contains("npm is missing") && text.contains("leave out --spotlight"), "{text}");
        assert!(complaint(&[finding(tools::NODE, Some("20.6.0"), Verdict::Good)]).is_none());
    }

    #[test]
    fn folder_of_another_list_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        std::fs::create_dir_all(home(&layout)).unwrap();
        assert!(!is_fetched(&layout));
        std::fs::write(home(&layout).join("complete"), "another").unwrap();
        assert!(!is_fetched(&layout));
        std::fs::write(home(&layout).join("complete"), marker()).unwrap();
        assert!(is_fetched(&layout));
        assert!(prepare(&layout, Ports::default()).is_err(), "there is no file of the package");
    }
}

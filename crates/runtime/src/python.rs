//! Python environment for the tests that compare our envelopes with Sentry's own libraries.
//!
//! A file of a listed package is installed only if the repository lists its hash (`deploy/python-requirements.txt`). Where pip has
//! to build a package from its source, it also fetches tools for that, which are not listed. An environment of another list, or of
//! another version of Python, is created again.

use std::path::PathBuf;
use std::time::Duration;

use crate::fetch::{self, Job, OnLine};
use crate::{Layout, RuntimeError, tools};
use contracts::versions::versions;

/// The packages with their versions and hashes, in pip's format.
const REQUIREMENTS: &str = include_str!("../../../deploy/python-requirements.txt");
const FETCH_DEADLINE: Duration = Duration::from_secs(600);

fn home(layout: &Layout) -> PathBuf {
    let python = &versions().python;
    let versions = [&python.sentry_relay, &python.sentry_sdk, &python.brotli].map(String::as_str);
    layout.tools().join(format!("python-{}", versions.join("-")))
}

/// Interpreter that has the packages after [`prepare`].
#[must_use]
pub fn interpreter(layout: &Layout) -> PathBuf {
    home(layout).join("bin").join("python")
}

/// File that is written last, so that an incomplete folder, or one with another [`marker`], is created again.
fn complete(layout: &Layout) -> PathBuf {
    home(layout).join("complete")
}

/// What an environment is made of: the list, and Python's major and minor version.
///
/// After the system's Python changed, the interpreter of an older environment still starts, but it searches for packages in a folder
/// of its own version.
fn marker(python: &str) -> String {
    let numbers: Vec<&str> = python.split('.').take(2).collect();
    format!("# Python {}\n{REQUIREMENTS}", numbers.join("."))
}

/// Version of the environment's interpreter, if it starts.
fn version(layout: &Layout) -> Option<String> {
    tools::reported_version(&interpreter(layout), "--version")
}

/// Returns `true` if the interpreter has the packages.
#[must_use]
pub fn is_prepared(layout: &Layout) -> bool {
    version(layout).is_some_and(|python| is_complete(layout, &python))
}

fn is_complete(layout: &Layout, python: &str) -> bool {
    std::fs::read_to_string(complete(layout)).is_ok_and(|installed| installed == marker(python))
}

/// Creates the interpreter with its packages, unless it exists.
pub async fn prepare(layout: &Layout, on_line: &OnLine<'_>) -> Result<(), RuntimeError> {
    if is_prepared(layout) {
        return Ok(());
    }
    let (home, complete) = (home(layout), complete(layout));
    let python = tools::locate(&tools::PYTHON).ok_or_else(|| RuntimeError::Missing {
        what: "python3 is missing (needed for the tests that use Sentry's own libraries)".to_owned(),
        advice: "apt-get install -y python3-venv".to_owned(),
    })?;
    let log = layout.log("fetch-python");
    let job = Job { what: "fetching Sentry's libraries for Python", log: &log, deadline: FETCH_DEADLINE };
    let mut venv = fetch::bound(python);
    venv.args(["-m", "venv", "--clear"]).arg(&home);
    fetch::run(layout, venv, &job, on_line).await?;
    let list = home.join("requirements.txt");
    std::fs::write(&list, REQUIREMENTS).map_err(RuntimeError::file("write", &list))?;
    let mut pip = fetch::bound(interpreter(layout));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input"])
        .args(["--require-hashes", "--requirement"])
        .arg(&list);
    fetch::run(layout, pip, &job, on_line).await?;
    let python = version(layout).ok_or_else(|| RuntimeError::Missing {
        what: format!("{} does not say its version", interpreter(layout).display()),
        advice: "apt-get install -y python3-venv".to_owned(),
    })?;
    std::fs::write(&complete, marker(&python)).map_err(RuntimeError::file("write", &complete))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The listed packages: the version and the hashes of each.
    fn listed() -> BTreeMap<String, (String, Vec<String>)> {
        let joined = REQUIREMENTS.replace("\\\n", " ");
        let lines = joined.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let package = |line: &str| {
            let mut words = line.split_whitespace();
            let (name, version) = words.next().and_then(|word| word.split_once("==")).expect(line);
            let hashes = words.map(|word| word.strip_prefix("--hash=sha256:").expect(word).to_owned());
            (name.to_owned(), (version.to_owned(), hashes.collect()))
        };
        lines.map(package).collect()
    }

    #[test]
    fn every_package_is_pinned_by_hashes() {
        let listed = listed();
        for (name, (version, hashes)) in &listed {
            assert!(!version.is_empty() && !hashes.is_empty(), "{name}");
            let is_hash = |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(hashes.iter().all(is_hash), "{name}: {hashes:?}");
        }
        let python = &versions().python;
        for (name, version) in [
            ("sentry-relay", &python.sentry_relay),
            ("sentry-sdk", &python.sentry_sdk),
            ("brotli", &python.brotli),
        ] {
            assert_eq!(&listed[name].0, version, "{name}: deploy/versions.toml has another version");
        }
    }

    #[test]
    fn packages_of_another_list_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        std::fs::create_dir_all(home(&layout)).unwrap();
        assert!(!is_complete(&layout, "3.12.3"));
        for other in ["# Python 3.12\nurllib3==1.0\n", REQUIREMENTS] {
            std::fs::write(complete(&layout), other).unwrap();
            assert!(!is_complete(&layout, "3.12.3"), "{other}");
        }
        std::fs::write(complete(&layout), marker("3.12.3")).unwrap();
        assert!(is_complete(&layout, "3.12.3"));
        assert!(!is_prepared(&layout), "there is no interpreter");
    }

    #[test]
    fn packages_of_another_python_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        std::fs::create_dir_all(home(&layout)).unwrap();
        std::fs::write(complete(&layout), marker("3.12.3")).unwrap();
        assert!(!is_complete(&layout, "3.13.0"));
        assert!(!is_complete(&layout, "3.1.2"));
        assert!(is_complete(&layout, "3.12.9"), "a newer patch has the same folder");
    }
}

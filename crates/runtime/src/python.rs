//! Python environment for the tests that compare our envelopes with Sentry's own libraries.
//!
//! It guarantees that no file is installed that the repository does not list with its hash (`deploy/python-requirements.txt`).
//! An environment of another list is created again.

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

/// Copy of the list that is written last, so that an incomplete folder, or one of another list, is created again.
fn complete(layout: &Layout) -> PathBuf {
    home(layout).join("complete")
}

/// Returns `true` if the interpreter has the packages.
#[must_use]
pub fn is_prepared(layout: &Layout) -> bool {
    let installed = std::fs::read_to_string(complete(layout));
    installed.is_ok_and(|list| list == REQUIREMENTS) && interpreter(layout).exists()
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
    std::fs::write(&complete, REQUIREMENTS).map_err(RuntimeError::file("write", &complete))
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
        let interpreter = interpreter(&layout);
        std::fs::create_dir_all(interpreter.parent().unwrap()).unwrap();
        std::fs::write(&interpreter, "").unwrap();
        assert!(!is_prepared(&layout));
        std::fs::write(complete(&layout), "urllib3==1.0\n").unwrap();
        assert!(!is_prepared(&layout));
        std::fs::write(complete(&layout), REQUIREMENTS).unwrap();
        assert!(is_prepared(&layout));
    }
}

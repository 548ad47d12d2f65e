//! Python environment for the tests that compare our envelopes with Sentry's own libraries.

use std::path::PathBuf;
use std::time::Duration;

use crate::fetch::{self, Job, OnLine};
use crate::{Layout, RuntimeError, tools};
use contracts::versions::versions;

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

/// Marker that is written last, so that an incomplete folder is created again.
fn complete(layout: &Layout) -> PathBuf {
    home(layout).join("complete")
}

/// Returns `true` if the interpreter has the packages.
#[must_use]
pub fn is_prepared(layout: &Layout) -> bool {
    complete(layout).exists() && interpreter(layout).exists()
}

/// Creates the interpreter with its packages, unless it exists.
pub async fn prepare(layout: &Layout, on_line: &OnLine<'_>) -> Result<(), RuntimeError> {
    if is_prepared(layout) {
        return Ok(());
    }
    let (home, complete, packages) = (home(layout), complete(layout), &versions().python);
    let python = tools::locate(&tools::PYTHON).ok_or_else(|| RuntimeError::Missing {
        what: "python3 is missing (needed for the tests that use Sentry's own libraries)".to_owned(),
        advice: "apt-get install -y python3-venv".to_owned(),
    })?;
    let log = layout.log("fetch-python");
    let job = Job { what: "fetching Sentry's libraries for Python", log: &log, deadline: FETCH_DEADLINE };
    let mut venv = fetch::bound(python);
    venv.args(["-m", "venv", "--clear"]).arg(&home);
    fetch::run(layout, venv, &job, on_line).await?;
    let mut pip = fetch::bound(interpreter(layout));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input"])
        .arg(format!("sentry-relay=={}", packages.sentry_relay))
        .arg(format!("sentry-sdk=={}", packages.sentry_sdk))
        .arg(format!("brotli=={}", packages.brotli));
    fetch::run(layout, pip, &job, on_line).await?;
    std::fs::write(&complete, "").map_err(RuntimeError::file("write", &complete))
}

//! Builds the programs with cargo.
//!
//! Every build names the whole workspace, so that cargo chooses the same features each time and compiles every dependency once:
//! for `./pitboss`, for the programs, and for the tests.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use contracts::Part;
use runtime::fetch::{self, Job};
use runtime::{Layout, services};
use tokio::process::Command;

/// Long enough for a slow machine. The first build of everything takes several minutes on two cores.
const BUILD_DEADLINE: Duration = Duration::from_secs(5_400);

/// Program that only `bench chain` starts. That command builds it, so that nobody else waits for it.
pub const BARE_CHAIN: &str = "barechain";

/// Program of analytics with the regression of a release (`docs/RELEASES.md`), and the feature that it needs.
const REGRESSION: (&str, &str) = ("analytics-regression", "analytics/regression");

/// Path of a file with settings of cargo for every build, as the gate has for faster ones.
const CONFIG_VARIABLE: &str = "PITBOSS_CARGO_CONFIG";

/// The option that gives cargo the settings of [`CONFIG_VARIABLE`], or nothing.
#[must_use]
pub fn config_option() -> Vec<OsString> {
    match std::env::var_os(CONFIG_VARIABLE) {
        Some(file) if !file.is_empty() => vec!["--config".into(), file],
        _ => Vec::new(),
    }
}

/// Returns a cargo command whose progress can be read from a pipe.
fn command(root: &Path) -> Command {
    let mut cargo = fetch::bound("cargo");
    cargo.current_dir(root).env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "100");
    // The programs are expected here, so the user's own setting for other projects does not apply.
    cargo.env("CARGO_TARGET_DIR", root.join("target"));
    cargo
}

/// Builds every program of the workspace, except [`BARE_CHAIN`], and records the release that they are.
pub async fn build_programs(layout: &Layout, on_progress: &fetch::OnLine<'_>) -> Result<()> {
    // Before the build, because a commit that is made meanwhile is not in the programs.
    let release = services::release(layout, env!("CARGO_PKG_VERSION"), &BTreeMap::new());
    build(layout, "building the programs", &["--bins", "--exclude", BARE_CHAIN], on_progress).await?;
    let file = release_file(layout);
    fs::write(&file, release).with_context(|| format!("cannot write {}", file.display()))
}

/// Returns the release of the programs that were built last, for a start without a build.
///
/// `None` if it is not known: the programs are in another folder, or another command built one of them since.
#[must_use]
pub fn recorded_release(layout: &Layout) -> Option<String> {
    if !layout.runs_what_cargo_built() {
        return None;
    }
    let file = release_file(layout);
    let changed_at = |file: &Path| fs::metadata(file).and_then(|facts| facts.modified()).ok();
    let recorded_at = changed_at(&file)?;
    let is_newer = |part: &Part| changed_at(&built(layout, part.as_str())).is_some_and(|at| at > recorded_at);
    if Part::SERVICES.iter().any(is_newer) {
        return None;
    }
    let release = fs::read_to_string(&file).ok()?;
    Some(release.trim().to_owned()).filter(|release| !release.is_empty())
}

/// File with the release of the programs, beside them.
fn release_file(layout: &Layout) -> PathBuf {
    built(layout, "pitboss.release")
}

/// Builds [`BARE_CHAIN`].
pub async fn build_bare_chain(layout: &Layout, on_progress: &fetch::OnLine<'_>) -> Result<()> {
    build(layout, "building the bare chain", &["--bin", BARE_CHAIN], on_progress).await
}

/// Builds the program of analytics with the regression, and returns its file. The usual program is not built again.
pub async fn build_regression(layout: &Layout, on_progress: &fetch::OnLine<'_>) -> Result<PathBuf> {
    let (program, feature) = REGRESSION;
    let options = ["--bin", program, "--features", feature];
    build(layout, "building analytics with the regression", &options, on_progress).await?;
    Ok(built(layout, program))
}

/// File of a program where cargo builds it, also if the programs that run are in another folder.
#[must_use]
pub fn built(layout: &Layout, program: &str) -> PathBuf {
    layout.root().join("target").join("debug").join(program)
}

async fn build(
    layout: &Layout,
    what: &str,
    programs: &[&str],
    on_progress: &fetch::OnLine<'_>,
) -> Result<()> {
    let mut cargo = command(layout.root());
    cargo.args(config_option()).args(["build", "--workspace"]).args(programs);
    let log = layout.log("build");
    let job = Job { what, log: &log, deadline: BUILD_DEADLINE };
    fetch::run(layout, cargo, &job, &|line| on_progress(&progress(line))).await?;
    Ok(())
}

/// Shortens a line of cargo's output: `123/456 tokio` for a progress bar, otherwise the line itself.
#[must_use]
pub fn progress(line: &str) -> String {
    let line = console::strip_ansi_codes(line);
    let line = line.trim();
    match line.split_once(']') {
        Some((bar, rest)) if bar.trim_start().starts_with("Building") => {
            let (count, names) = rest.split_once(':').unwrap_or((rest, ""));
            format!("{} {}", count.trim(), names.trim()).trim().to_owned()
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn release_is_that_of_the_last_build() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        assert_eq!(recorded_release(&layout), None, "nothing was built");
        let program = built(&layout, Part::Payment.as_str());
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, "program").unwrap();
        fs::write(release_file(&layout), "pitboss@0.1.0+5\n").unwrap();
        let build_at =
            |at: SystemTime| fs::File::options().write(true).open(&program).unwrap().set_modified(at);
        let now = SystemTime::now();
        build_at(now - Duration::from_secs(60)).unwrap();
        assert_eq!(recorded_release(&layout).as_deref(), Some("pitboss@0.1.0+5"));
        let elsewhere = layout.with_programs(folder.path().join("other"));
        assert_eq!(recorded_release(&elsewhere), None, "other programs run");
        build_at(now + Duration::from_secs(60)).unwrap();
        assert_eq!(recorded_release(&layout), None, "the program was built by another command");
    }

    #[test]
    fn progress_bar_is_shortened() {
        assert_eq!(
            progress("    Building [=====>        ] 123/456: tokio, syn(build)"),
            "123/456 tokio, syn(build)"
        );
        assert_eq!(progress("   Compiling serde v1.0.0"), "Compiling serde v1.0.0");
        assert_eq!(progress("\u{1b}[1m\u{1b}[32m    Building\u{1b}[0m [=>  ] 1/2: a"), "1/2 a");
    }
}

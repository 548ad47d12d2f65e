//! Tells a real Sentry about a deploy, by its own program `sentry-cli`, where its variables are set.
//!
//! They are those of `sentry-cli` itself, in the terminal or in `.env`. The token is passed on in the environment of that program
//! only, and never printed: what `sentry-cli` says is searched for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use tokio::process::Command;

use crate::checkout::Checkout;

/// The program.
const PROGRAM: &str = "sentry-cli";
/// Variable of the token.
const TOKEN: &str = "SENTRY_AUTH_TOKEN";
/// Variables that must be set.
const NEEDED: [&str; 3] = [TOKEN, "SENTRY_ORG", "SENTRY_PROJECT"];
/// Variables that may be set.
const OPTIONAL: [&str; 1] = ["SENTRY_URL"];
/// Time limit of each call.
const CALL_DEADLINE: Duration = Duration::from_secs(60);
/// Longest part of its output that is shown.
const REASON_CHARACTERS_MAX: usize = 300;
/// Beginning of the line with which it reports an error. The causes follow.
const ERROR: &str = "error:";
/// Beginning of the advice that ends such a report. It says nothing of the error.
const ADVICE: &str = "Add --log-level";
/// Environment of the services, unless it is set.
const ENVIRONMENT_DEFAULT: &str = "local";

/// Result of telling Sentry about a deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Told {
    /// Sentry has the release, its commits and the deploy.
    Done,
    /// Nothing was sent.
    LeftOut {
        /// What is missing.
        reason: String,
    },
    /// A call failed. The deploy on this platform is not affected.
    Failed {
        /// The call.
        call: String,
        /// The error that the program reported, without the token.
        reason: String,
    },
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done => f.write_str("Sentry has the release, its commits and the deploy"),
            Self::LeftOut { reason } => write!(f, "Sentry was not told: {reason}"),
            Self::Failed { call, reason } => write!(f, "Sentry was not told: {PROGRAM} {call}: {reason}"),
        }
    }
}

/// The program with its variables.
#[derive(Clone)]
struct Cli {
    program: PathBuf,
    variables: BTreeMap<String, String>,
    root: PathBuf,
}

/// Creates the release with the commits of this checkout, finalises it, and adds a deploy to the environment of the services.
/// A repetition adds a further deploy of the same release.
pub async fn tell(checkout: &Checkout, release: &str) -> Told {
    let setting = |name: &str| {
        let value = std::env::var(name).ok().or_else(|| checkout.dotenv.get(name).cloned());
        value.filter(|value| !value.trim().is_empty())
    };
    let environment = setting("SENTRY_ENVIRONMENT").unwrap_or_else(|| ENVIRONMENT_DEFAULT.to_owned());
    match find(setting) {
        Ok((program, variables)) => {
            let root = checkout.layout.root().to_owned();
            tell_with(&Cli { program, variables, root }, release, &environment).await
        }
        Err(reason) => Told::LeftOut { reason },
    }
}

/// Finds the program and its variables, or says what is missing.
fn find(setting: impl Fn(&str) -> Option<String>) -> Result<(PathBuf, BTreeMap<String, String>), String> {
    let missing: Vec<&str> = NEEDED.into_iter().filter(|name| setting(name).is_none()).collect();
    if !missing.is_empty() {
        return Err(format!("{} not set", missing.join(", ")));
    }
    let folders = setting("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&folders).map(|folder| folder.join(PROGRAM)).find(|path| path.is_file());
    let program = found.ok_or_else(|| format!("{PROGRAM} is not on the PATH"))?;
    let names = NEEDED.into_iter().chain(OPTIONAL);
    let variables = names.filter_map(|name| Some((name.to_owned(), setting(name)?)));
    Ok((program, variables.collect()))
}

async fn tell_with(cli: &Cli, release: &str, environment: &str) -> Told {
    let calls: [&[&str]; 4] = [
        &["releases", "new", release],
        &["releases", "set-commits", release, "--local", "--ignore-missing"],
        &["releases", "finalize", release],
        &["deploys", "new", "--release", release, "--env", environment],
    ];
    for call in calls {
        if let Err(reason) = cli.call(call).await {
            return Told::Failed { call: call.join(" "), reason };
        }
    }
    Told::Done
}

impl Cli {
    /// Runs the program once. The error is the one that it reported.
    async fn call(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).envs(&self.variables).current_dir(&self.root).stdin(Stdio::null());
        command.kill_on_drop(true);
        let output = match tokio::time::timeout(CALL_DEADLINE, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(format!("cannot be started: {error}")),
            Err(_) => return Err(format!("not finished within {} s", CALL_DEADLINE.as_secs())),
        };
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        let reason = reason(&String::from_utf8_lossy(&said));
        Err(self.without_token(&reason).chars().take(REASON_CHARACTERS_MAX).collect())
    }

    fn without_token(&self, text: &str) -> String {
        match self.variables.get(TOKEN) {
            Some(token) => text.replace(token.trim(), "[token]"),
            None => text.to_owned(),
        }
    }
}

/// The error in what the program said, in one line. Without one it is the last line.
fn reason(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let reported = lines().skip_while(|line| !line.starts_with(ERROR));
    let reported: Vec<&str> = reported.take_while(|line| !line.starts_with(ADVICE)).collect();
    if reported.is_empty() {
        return lines().next_back().unwrap_or("it said nothing").to_owned();
    }
    reported.join(" ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    /// A program that writes down its arguments, and fails at the second call if it is told to.
    fn stand_in(folder: &Path, fails: bool) -> Cli {
        let program = folder.join(PROGRAM);
        let end = if fails {
            "case $2 in set-commits) echo \"error: bad token $SENTRY_AUTH_TOKEN\" >&2; exit 1;; esac"
        } else {
            ""
        };
        let script =
            format!("#!/bin/sh\necho \"$SENTRY_ORG: $*\" >> \"{}/calls\"\n{end}\n", folder.display());
        // Another process writes the program. While a file is open for writing, here or in a process that another test has just
        // started, it cannot be run.
        let draft = folder.join("draft");
        fs::write(&draft, script).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o700)).unwrap();
        let copied = std::process::Command::new("cp").arg("-p").args([&draft, &program]).status().unwrap();
        assert!(copied.success());
        let variables = NEEDED.map(|name| (name.to_owned(), format!("my-{name}"))).into();
        Cli { program, variables, root: folder.to_owned() }
    }

    #[tokio::test]
    async fn release_commits_and_deploy_are_sent_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let cli = stand_in(folder.path(), false);
        assert_eq!(tell_with(&cli, "pitboss@0.2.0", "local").await, Told::Done);
        let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
        let expected = [
            "my-SENTRY_ORG: releases new pitboss@0.2.0",
            "my-SENTRY_ORG: releases set-commits pitboss@0.2.0 --local --ignore-missing",
            "my-SENTRY_ORG: releases finalize pitboss@0.2.0",
            "my-SENTRY_ORG: deploys new --release pitboss@0.2.0 --env local",
        ];
        assert_eq!(calls.lines().collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn failure_does_not_show_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let cli = stand_in(folder.path(), true);
        let told = tell_with(&cli, "pitboss@0.2.0", "local").await;
        let text = told.to_string();
        assert!(text.contains("set-commits") && text.contains("bad token [token]"), "{text}");
        assert!(!text.contains("my-SENTRY_AUTH_TOKEN"), "{text}");
        assert_eq!(fs::read_to_string(folder.path().join("calls")).unwrap().lines().count(), 2);
    }

    #[test]
    fn reported_error_is_shown_with_its_causes() {
        let said = "> Found 2 commits\nerror: API request failed\n\nCaused by:\n    sentry reported an error: no permission\n\n\
                    Add --log-level=[info|debug] to see more output.\nPlease attach the full debug log to all bug reports.\n";
        assert_eq!(
            reason(said),
            "error: API request failed Caused by: sentry reported an error: no permission"
        );
        assert_eq!((reason("one\ntwo\n\n"), reason(" \n")), ("two".to_owned(), "it said nothing".to_owned()));
    }

    #[test]
    fn missing_variables_and_program_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let setting = |name: &str| match name {
            "PATH" => Some(path.clone()),
            "SENTRY_ORG" => None,
            _ => Some("x".to_owned()),
        };
        assert_eq!(find(setting).unwrap_err(), "SENTRY_ORG not set");
        let all = |name: &str| Some(if name == "PATH" { path.clone() } else { "x".to_owned() });
        assert_eq!(find(all).unwrap_err(), "sentry-cli is not on the PATH");
        stand_in(folder.path(), false);
        let (program, variables) = find(all).unwrap();
        assert_eq!((program, variables.len()), (folder.path().join(PROGRAM), 4));
    }
}

//! `pitboss issue`: lists the recorder's issues, shows one with its activity, and resolves, reopens and archives issues.
//!
//! The recorder decides what a change means, as Sentry does (`docs/ISSUES.md`). Here are the arguments, the requests
//! ([`client`]) and the output for people ([`render`]).

mod client;
mod render;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::commands::Context;
use crate::output::Output;
use crate::target::TargetArgs;
use client::Client;

/// Arguments of `issue`.
#[derive(Debug, Args)]
pub struct IssueArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List issues, the most recent first
    List(ListArgs),
    /// Show one issue: its state, its activity, and what an event of each release would mean
    Show(ShowArgs),
    /// Resolve an issue: at once, in a release, in the next release, or in a commit
    Resolve(ResolveArgs),
    /// Open a resolved or archived issue again
    Reopen(ReopenArgs),
    /// Archive an issue: for good, for a number of events, for a time, or until it escalates
    Archive(ArchiveArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Only issues of this service
    #[arg(long, value_name = "SERVICE")]
    project: Option<String>,
    /// Only issues of this status
    #[arg(long, value_enum, default_value_t = Status::Unresolved)]
    status: Status,
    /// Number of issues that are shown, the most recent ones
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    Unresolved,
    Resolved,
    #[value(alias = "archived")]
    Ignored,
    All,
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Its id, or the beginning of it
    id: String,
}

#[derive(Debug, Args)]
struct ResolveArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// The release that has the repair, or `latest`: events of older releases leave the issue resolved
    #[arg(long, value_name = "RELEASE", conflicts_with = "in_next_release")]
    in_release: Option<String>,
    /// The repair comes with the next release
    #[arg(long)]
    in_next_release: bool,
    /// The repair is this commit, and comes with the first release that has it (`PUT /api/v1/releases` of the recorder)
    #[arg(long, value_name = "SHA", conflicts_with_all = ["in_release", "in_next_release"])]
    in_commit: Option<String>,
}

#[derive(Debug, Args)]
struct ReopenArgs {
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Args)]
struct ArchiveArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// Open it again after so many further events
    #[arg(long, value_name = "N", conflicts_with = "minutes", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    events: Option<u64>,
    /// Open it again after so many minutes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=525_600))]
    minutes: Option<u64>,
    /// Open it again when more events arrive in an hour than the last 7 days let expect
    #[arg(long, conflicts_with_all = ["events", "minutes"])]
    until_escalating: bool,
}

/// Arguments of every change.
#[derive(Debug, Args)]
struct ChangeArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Its id, or the beginning of it
    id: String,
    /// Author, for the issue's activity
    #[arg(long, default_value = "cli")]
    by: String,
}

impl Status {
    fn includes(self, issue: &Value) -> bool {
        let name = match self {
            Self::All => return true,
            Self::Unresolved => "unresolved",
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
        };
        issue["status"] == name
    }
}

impl IssueArgs {
    /// Runs the action.
    ///
    /// # Errors
    /// When no platform answers (exit code 69), there is no such issue, or the recorder refuses the change.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let output = &context.output;
        match &self.action {
            Action::List(args) => list(args, context).await,
            Action::Show(args) => {
                let client = Client::of(&args.target, context).await?;
                let issue = client.one(&client.full_id(&args.id).await?).await?;
                show(&issue, &client, output);
                Ok(ExitCode::SUCCESS)
            }
            Action::Resolve(args) => change(&args.change, args.body(), context).await,
            Action::Reopen(args) => change(&args.change, json!({ "status": "unresolved" }), context).await,
            Action::Archive(args) => change(&args.change, args.body(), context).await,
        }
    }
}

impl ResolveArgs {
    fn body(&self) -> Value {
        if let Some(commit) = &self.in_commit {
            return json!({ "status": "resolved", "statusDetails": { "inCommit": { "commit": commit } } });
        }
        match &self.in_release {
            Some(release) => json!({ "status": "resolved", "statusDetails": { "inRelease": release } }),
            None if self.in_next_release => {
                json!({ "status": "resolved", "statusDetails": { "inNextRelease": true } })
            }
            None => json!({ "status": "resolved" }),
        }
    }
}

impl ArchiveArgs {
    fn body(&self) -> Value {
        match (self.events, self.minutes) {
            (Some(events), _) => json!({ "status": "ignored", "statusDetails": { "ignoreCount": events } }),
            (None, Some(minutes)) => {
                json!({ "status": "ignored", "statusDetails": { "ignoreDuration": minutes } })
            }
            (None, None) if self.until_escalating => {
                json!({ "status": "ignored", "substatus": "archived_until_escalating" })
            }
            (None, None) => json!({ "status": "ignored" }),
        }
    }
}

async fn list(args: &ListArgs, context: &Context) -> Result<ExitCode> {
    let client = Client::of(&args.target, context).await?;
    let mut issues = client.list(args.project.as_deref()).await?;
    issues.retain(|issue| args.status.includes(issue));
    let left_out = issues.len().saturating_sub(usize::from(args.limit));
    issues.truncate(usize::from(args.limit));
    let output = &context.output;
    if output.json {
        output.line(&json!({ "issues": issues, "left_out": left_out }).to_string());
    } else if issues.is_empty() {
        output.line("there are no such issues: --status all lists every one");
    } else {
        output.line(&render::list(&issues, output));
        if left_out > 0 {
            output.line(&format!("{left_out} more are left out: raise --limit"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn change(args: &ChangeArgs, mut body: Value, context: &Context) -> Result<ExitCode> {
    let client = Client::of(&args.target, context).await?;
    body["by"] = args.by.as_str().into();
    let issue = client.change(&client.full_id(&args.id).await?, &body).await?;
    show(&issue, &client, &context.output);
    Ok(ExitCode::SUCCESS)
}

fn show(issue: &Value, client: &Client, output: &Output) {
    if output.json {
        output.line(&issue.to_string());
    } else {
        output.text(&render::show(issue, client.pages()));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        issue: IssueArgs,
    }

    fn parse(args: &[&str]) -> Result<Action, clap::Error> {
        Ok(Program::try_parse_from([&["issue"], args].concat())?.issue.action)
    }

    #[test]
    fn changes_are_written_in_the_recorders_form() {
        let body = |args: &[&str]| match parse(args).unwrap() {
            Action::Resolve(args) => args.body(),
            Action::Archive(args) => args.body(),
            other => panic!("{other:?}"),
        };
        let resolved = |details: Value| json!({ "status": "resolved", "statusDetails": details });
        let ignored = |details: Value| json!({ "status": "ignored", "statusDetails": details });
        assert_eq!(body(&["resolve", "ab"]), json!({ "status": "resolved" }));
        assert_eq!(body(&["resolve", "ab", "--in-release", "g@1"]), resolved(json!({ "inRelease": "g@1" })));
        assert_eq!(body(&["resolve", "ab", "--in-next-release"]), resolved(json!({ "inNextRelease": true })));
        let commit = json!({ "inCommit": { "commit": "423d6be" } });
        assert_eq!(body(&["resolve", "ab", "--in-commit", "423d6be"]), resolved(commit));
        assert_eq!(body(&["archive", "ab"]), json!({ "status": "ignored" }));
        let escalating = json!({ "status": "ignored", "substatus": "archived_until_escalating" });
        assert_eq!(body(&["archive", "ab", "--until-escalating"]), escalating);
        assert_eq!(body(&["archive", "ab", "--events", "5"]), ignored(json!({ "ignoreCount": 5 })));
        assert_eq!(body(&["archive", "ab", "--minutes", "5"]), ignored(json!({ "ignoreDuration": 5 })));
    }

    #[test]
    fn contradictions_are_refused() {
        for args in [
            vec!["resolve", "ab", "--in-release", "g@1", "--in-next-release"],
            vec!["resolve", "ab", "--in-release", "g@1", "--in-commit", "423d6be"],
            vec!["archive", "ab", "--events", "5", "--minutes", "5"],
            vec!["archive", "ab", "--events", "0"],
            vec!["archive", "ab", "--events", "5", "--until-escalating"],
            vec!["list", "--status", "open"],
            vec!["show"],
        ] {
            assert!(parse(&args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn status_selects_issues() {
        let issue = json!({ "status": "resolved" });
        let included = [Status::All, Status::Unresolved, Status::Resolved, Status::Ignored]
            .map(|status| status.includes(&issue));
        assert_eq!(included, [true, false, true, false]);
        for name in ["ignored", "archived"] {
            let Action::List(list) = parse(&["list", "--status", name]).unwrap() else { panic!("{name}") };
            assert_eq!(list.status, Status::Ignored, "{name}");
        }
        assert!(matches!(
            parse(&["list"]).unwrap(),
            Action::List(ListArgs { status: Status::Unresolved, .. })
        ));
    }
}

//! `pitboss dlq`: lists the dead letters of all groups, shows, replays and discards them, and follows new ones.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use bus::letter::{Keep, LetterId, Note};
use clap::{Args, Subcommand};
use contracts::Group;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};

use crate::commands::Context;
use crate::dlq::desk::{Desk, Held, PlaceArgs, Selected};
use crate::dlq::done::{Done, Pace, Verb};
use crate::dlq::entry::{Entry, batches};
use crate::dlq::filter::FilterArgs;
use crate::dlq::render::{self, Frame};
use crate::failures::Failures;
use crate::output::{Output, counted};

/// Interval at which `watch` reads.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Number of new letters that `watch` shows at a time.
const WATCH_MAX: usize = 1_000;

/// Arguments of `dlq`.
#[derive(Debug, Args)]
pub struct DlqArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the open dead letters, the oldest first
    List(ListArgs),
    /// Show one dead letter with its headers and its decoded value
    Show {
        /// Its id, as the list shows it
        id: LetterId,
    },
    /// Publish the records of dead letters to their own topics again, each in a new trace
    Replay(ActArgs),
    /// Close dead letters, which stay in their topics
    Discard(ActArgs),
    /// Follow new dead letters
    Watch(WatchArgs),
}

/// Arguments of `dlq list`.
#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Also those that were replayed or discarded, with the last action
    #[arg(long)]
    all: bool,
    /// Number of letters that are shown, the newest ones
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

/// Arguments of `dlq replay` and `dlq discard`.
#[derive(Debug, Args)]
struct ActArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Records a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rate: u16,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Author, for the record of the action
    #[arg(long, default_value = "cli")]
    by: String,
    /// Reason, for the record of the action
    #[arg(long, default_value = "")]
    reason: String,
    /// Number of letters, the oldest ones
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

/// Arguments of `dlq watch`.
#[derive(Debug, Args)]
struct WatchArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// End after this time
    #[arg(long = "for", value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    for_s: Option<u32>,
}

impl DlqArgs {
    /// Runs the action.
    ///
    /// # Errors
    /// When the broker does not answer (exit code 69), or the action was not confirmed. `watch` survives some failed readings.
    pub async fn run(&self, context: &Context) -> Result<ExitCode> {
        let output = &context.output;
        let mut desk = Desk::open(&self.place, context).await?;
        match &self.action {
            Action::List(args) => list(&desk, args, output).await,
            Action::Show { id } => show(&desk, *id, output).await,
            Action::Replay(args) => self.act(&desk, Verb::Replay, args, context).await,
            Action::Discard(args) => self.act(&desk, Verb::Discard, args, context).await,
            Action::Watch(args) => watch(&mut desk, args, output).await,
        }
    }

    async fn act(&self, desk: &Desk, verb: Verb, args: &ActArgs, context: &Context) -> Result<ExitCode> {
        let output = &context.output;
        let selected = desk.select(&args.filter, false, (Keep::Oldest, usize::from(args.limit))).await?;
        warn_of_gaps(&selected, output);
        if !args.dry_run {
            expect_all_actions(verb, selected.held)?;
        }
        let mut done = Done::new(verb, args.dry_run, &selected);
        for id in missing(&args.filter, &selected) {
            done.refuse(id, "there is no such open dead letter");
        }
        if args.dry_run {
            selected.entries.iter().for_each(|entry| done.would(verb, entry));
        } else if !selected.entries.is_empty() {
            if !args.yes {
                agree(&question(verb, &selected.entries))?;
            }
            let clerk = desk.clerk(&self.place, context).await?;
            let pace = Pace { rate_per_s: args.rate, note: Note::new(&args.by, &args.reason) };
            done.all_of(&clerk, &selected.entries, &pace, &desk.frame(output.columns), output).await;
            if !clerk.close().await {
                tell(&format!("the recorder may lack the traces of this {}", verb.name()));
            }
        }
        done.print(output);
        Ok(if done.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn list(desk: &Desk, args: &ListArgs, output: &Output) -> Result<ExitCode> {
    let selected = desk.select(&args.filter, args.all, (Keep::Newest, usize::from(args.limit))).await?;
    warn_of_gaps(&selected, output);
    let frame = desk.frame(output.columns);
    let missing = missing(&args.filter, &selected);
    if output.json {
        let letters: Vec<Value> = selected
            .entries
            .iter()
            .map(|entry| entry.to_json(frame.now_ms, |trace_id| frame.trace_url(trace_id)))
            .collect();
        let (left_out, complete) = (selected.left_out, !selected.is_incomplete);
        output.line(&json!({ "letters": letters, "left_out": left_out, "complete": complete }).to_string());
    } else if selected.entries.is_empty() {
        output.line(if args.all { "there are no dead letters" } else { "there are no open dead letters" });
    } else {
        output.line(&render::list(&selected.entries, &frame));
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn show(desk: &Desk, id: LetterId, output: &Output) -> Result<ExitCode> {
    let selected = desk.select(&FilterArgs::of_id(id), true, (Keep::Newest, 1)).await?;
    let Some(entry) = selected.entries.first() else {
        if selected.held.letters > 0
            && let Some(note) = selected.held.note()
        {
            bail!("there is no dead letter {id} that can be read now ({note})");
        }
        bail!("there is no dead letter {id}: ./pitboss dlq list --all shows those that are kept");
    };
    let frame = desk.frame(output.columns);
    if output.json {
        output.line(&entry.to_json(frame.now_ms, |trace_id| frame.trace_url(trace_id)).to_string());
    } else {
        output.text(&render::show(entry, &frame));
    }
    Ok(ExitCode::SUCCESS)
}

async fn watch(desk: &mut Desk, args: &WatchArgs, output: &Output) -> Result<ExitCode> {
    // Without room for letters it only counts them
    let before = desk.select(&args.filter, false, (Keep::Newest, 0)).await?;
    let open = counted(before.left_out, "open dead letter");
    tell(&format!("{open} before. New ones follow (Ctrl+C ends)"));
    let end = args.for_s.map(|seconds| Instant::now() + Duration::from_secs(u64::from(seconds)));
    let mut interval = tokio::time::interval(WATCH_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // One listener for all readings: a signal that arrives during one would be lost otherwise
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let (mut held_before, mut failures) = (Held::default(), Failures::default());
    let is_over = || end.is_some_and(|end| Instant::now() >= end);
    loop {
        tokio::select! {
            biased;
            _ = &mut interrupted => return Ok(ExitCode::SUCCESS),
            _ = interval.tick() => {}
        }
        match new_letters(desk, args).await {
            Ok(selected) => {
                failures.end();
                if selected.held != held_before || selected.held == Held::default() {
                    warn_of_gaps(&selected, output);
                }
                held_before = selected.held;
                print_new(&selected.entries, &desk.frame(output.columns), output);
            }
            // No letter is lost: the next reading begins where this one began
            Err(error) if is_over() => return Err(error),
            Err(error) => failures.add(error, output)?,
        }
        if is_over() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Letters since the last successful reading that are still open.
async fn new_letters(desk: &mut Desk, args: &WatchArgs) -> Result<Selected> {
    desk.read_actions().await?;
    desk.select(&args.filter, false, (Keep::Newest, WATCH_MAX)).await
}

fn print_new(entries: &[Entry], frame: &Frame, output: &Output) {
    for entry in entries {
        if output.json {
            let json = entry.to_json(frame.now_ms, |trace_id| frame.trace_url(trace_id));
            output.line(&json.to_string());
        } else {
            output.line(&render::block(entry, frame));
        }
    }
}

/// Ids that the filter names and that were not found. Their letters may be copies of those that were found.
fn missing(filter: &FilterArgs, selected: &Selected) -> Vec<LetterId> {
    let found: Vec<LetterId> = selected.entries.iter().map(|entry| entry.letter.id).collect();
    filter.missing(&found)
}

fn warn_of_gaps(selected: &Selected, output: &Output) {
    if output.json {
        return;
    }
    if selected.left_out > 0 {
        tell(&format!("{} more are left out: narrow the selection, or raise --limit", selected.left_out));
    }
    if let Some(note) = selected.held.note() {
        tell(&note);
    } else if selected.is_incomplete {
        tell("the time was too short to read all dead letters");
    }
}

/// Refuses to act while actions cannot be read, because a letter that was replayed or discarded would be acted on again.
fn expect_all_actions(verb: Verb, held: Held) -> Result<()> {
    if held.actions > 0 {
        bail!(
            "nothing was done, because an open transaction of another producer holds back {} on dead letters: {} again after it has ended",
            counted(held.actions, "action"),
            verb.name()
        );
    }
    Ok(())
}

/// Prints a remark beside the result.
fn tell(text: &str) {
    let _closed_pipe = writeln!(std::io::stderr().lock(), "{text}");
}

/// Describes the action, with the number of groups. One publish of a record is for the letters of all its groups.
fn question(verb: Verb, entries: &[Entry]) -> String {
    let groups: BTreeSet<Group> = entries.iter().map(|entry| entry.letter.id.group).collect();
    let records = match verb {
        Verb::Replay => format!(" ({})", counted(batches(entries).len(), "record")),
        Verb::Discard => String::new(),
    };
    let letters = counted(entries.len(), "dead letter");
    format!("{} {letters} of {}{records}", verb.name(), counted(groups.len(), "group"))
}

/// Asks on a terminal.
///
/// # Errors
/// Without a terminal, or after any answer but yes.
fn agree(question: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        bail!("{question}? Without a terminal add --yes, or --dry-run to see them");
    }
    let mut answer = String::new();
    write!(std::io::stderr(), "{question}? [y/N] ")?;
    std::io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was done");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bus::letter::{History, Letter};
    use clap::Parser;

    use super::*;
    use crate::dlq::entry::unite;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: Command,
    }

    #[derive(Debug, Subcommand)]
    enum Command {
        Dlq(DlqArgs),
    }

    fn parse(args: &[&str]) -> Result<DlqArgs, clap::Error> {
        let Program { command: Command::Dlq(args) } =
            Program::try_parse_from([&["pitboss", "dlq"], args].concat())?;
        Ok(args)
    }

    #[test]
    fn options_of_place_may_follow_the_action() {
        let args =
            parse(&["list", "--group", "game", "--group", "user", "--brokers", "b:9092", "--all"]).unwrap();
        assert_eq!(args.place.broker.bootstrap_servers.as_deref(), Some("b:9092"));
        assert!(matches!(args.action, Action::List(ListArgs { all: true, limit: 200, .. })));
        let args = parse(&["replay", "--id", "game/bets.commands/3", "--since", "2h", "--yes"]).unwrap();
        assert!(matches!(args.action, Action::Replay(ActArgs { yes: true, rate: 20, .. })));
        assert!(matches!(
            parse(&["watch", "--for", "5"]).unwrap().action,
            Action::Watch(WatchArgs { for_s: Some(5), .. })
        ));
    }

    #[test]
    fn nothing_is_done_while_actions_are_held_back() {
        assert!(expect_all_actions(Verb::Replay, Held { letters: 7, actions: 0 }).is_ok());
        let refusal = expect_all_actions(Verb::Discard, Held { letters: 0, actions: 2 }).unwrap_err();
        let refusal = refusal.to_string();
        assert!(refusal.contains("holds back 2 actions") && refusal.contains("discard again"), "{refusal}");
    }

    #[test]
    fn question_names_groups_and_records() {
        let first = [
            ("dlq-original-topic", "casino.bets.commands.v1"),
            ("dlq-original-partition", "2"),
            ("dlq-original-offset", "7"),
        ];
        let letter = |group, offset| {
            let id = LetterId { group, topic: contracts::Topic::BetsCommands, partition: 0, offset };
            Letter::example(id, offset, &first, "{}")
        };
        let entries = |groups: &[Group]| {
            unite(groups.iter().map(|group| letter(*group, 3)).collect(), &History::default())
        };
        let both = entries(&[Group::Game, Group::User]);
        assert_eq!(question(Verb::Replay, &both), "replay 2 dead letters of 2 groups (1 record)");
        assert_eq!(question(Verb::Discard, &both), "discard 2 dead letters of 2 groups");
        let one = question(Verb::Replay, &entries(&[Group::Game]));
        assert_eq!(one, "replay 1 dead letter of 1 group (1 record)");
    }

    #[test]
    fn value_out_of_bounds_is_refused() {
        for args in [
            vec!["list", "--group", "nobody"],
            vec!["list", "--limit", "0"],
            vec!["list", "--class", "foo"],
            vec!["replay", "--rate", "1001"],
            vec!["show", "12"],
            vec!["discard", "--topic", "bets"],
        ] {
            assert!(parse(&args).is_err(), "{args:?}");
        }
    }
}

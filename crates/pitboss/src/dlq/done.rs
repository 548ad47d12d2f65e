//! Replaying and discarding several dead letters, and the result.

use std::time::Duration;

use bus::letter::{Action, LetterId, Note, Replayed};
use contracts::{Classify as _, ErrorClass};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::desk::{Clerk, Selected};
use super::entry::{Batch, Entry, batches};
use super::render::Frame;
use crate::output::{Output, counted};

/// Action of `replay` or `discard`.
#[derive(Clone, Copy, Debug)]
pub enum Verb {
    /// The records are published again.
    Replay,
    /// The letters are given up.
    Discard,
}

impl Verb {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Discard => "discard",
        }
    }
}

/// Speed and note of the actions.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Records a second.
    pub rate_per_s: u16,
    /// Author and reason of the action.
    pub note: Note,
}

/// Result of `replay` or `discard`.
#[derive(Debug)]
pub struct Done {
    verb: Verb,
    dry_run: bool,
    left_out: u64,
    /// False if some letters could not be read, so that they were not selected.
    complete: bool,
    interrupted: bool,
    done: Vec<Value>,
    refused: Vec<Value>,
}

impl Done {
    /// Begins with nothing done.
    #[must_use]
    pub fn new(verb: Verb, dry_run: bool, selected: &Selected) -> Self {
        let (done, refused) = (Vec::new(), Vec::new());
        let (left_out, complete) = (selected.left_out, !selected.is_incomplete);
        Self { verb, dry_run, left_out, complete, interrupted: false, done, refused }
    }

    /// Adds a letter on which nothing was done.
    pub fn refuse(&mut self, id: LetterId, why: &str) {
        self.refused.push(json!({ "id": id.to_string(), "why": why }));
    }

    /// Adds what would be done.
    pub fn would(&mut self, verb: Verb, entry: &Entry) {
        let letter = &entry.letter;
        match (verb, letter.check_replayable()) {
            (Verb::Replay, Err(error)) => self.refuse(letter.id, &error.to_string()),
            _ => self.done.push(json!({
                "id": letter.id.to_string(),
                "event_id": letter.event_id.as_str(),
                "first": letter.first,
            })),
        }
    }

    /// Acts on all letters, at the given rate. A record that several groups gave up is published once. An error of the broker ends
    /// it.
    pub async fn all_of(
        &mut self,
        clerk: &Clerk,
        entries: &[Entry],
        pace: &Pace,
        frame: &Frame,
        output: &Output,
    ) {
        let bar = output.progress(u64::try_from(entries.len()).unwrap_or(u64::MAX), self.verb.name());
        let mut interval = tokio::time::interval(Duration::from_secs(1) / u32::from(pace.rate_per_s));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // One listener for all letters: a signal that arrives while one is published would be lost otherwise
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        let batches: Vec<Batch<'_>> = match self.verb {
            Verb::Replay => batches(entries),
            Verb::Discard => entries.iter().map(Batch::alone).collect(),
        };
        for batch in &batches {
            tokio::select! {
                biased;
                _ = &mut interrupted => {
                    self.interrupted = true;
                    break;
                }
                _ = interval.tick() => {}
            }
            let is_answered = self.act(clerk, batch, &pace.note, frame).await;
            bar.inc(u64::try_from(batch.entries().count()).unwrap_or(1));
            if !is_answered {
                self.interrupted = true;
                break;
            }
        }
        bar.finish_and_clear();
    }

    /// Acts on the letters of one record. Returns false if the broker did not acknowledge something.
    async fn act(&mut self, clerk: &Clerk, batch: &Batch<'_>, note: &Note, frame: &Frame) -> bool {
        let acted = match self.verb {
            Verb::Replay => clerk.replay(batch, note).await,
            Verb::Discard => {
                let discarded = clerk.discard(batch.first, note).await;
                discarded.map(|action| Replayed { action, others: Vec::new() })
            }
        };
        let Replayed { action, others } = match acted {
            Ok(replayed) => replayed,
            Err(error) => {
                batch.entries().for_each(|entry| self.refuse(entry.letter.id, &error.to_string()));
                return error.class() == ErrorClass::Poison;
            }
        };
        self.add(batch.first.letter.id, &action, frame);
        let mut is_answered = true;
        for (entry, recorded) in batch.others.iter().zip(others) {
            match recorded {
                Ok(action) => self.add(entry.letter.id, &action, frame),
                Err(error) => {
                    self.refuse(entry.letter.id, &error.to_string());
                    is_answered = false;
                }
            }
        }
        is_answered
    }

    fn add(&mut self, id: LetterId, action: &Action, frame: &Frame) {
        self.done.push(json!({
            "id": id.to_string(),
            "event_id": action.event_id,
            "published": action.published,
            "trace_url": action.trace_id.as_deref().and_then(|trace_id| frame.trace_url(trace_id)),
            "trace_id": action.trace_id,
        }));
    }

    /// The result for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "action": self.verb.name(),
            "dry_run": self.dry_run,
            "done": self.done,
            "refused": self.refused,
            "left_out": self.left_out,
            "complete": self.complete,
            "interrupted": self.interrupted,
        })
    }

    /// Prints the result.
    pub fn print(&self, output: &Output) {
        if output.json {
            output.line(&self.to_json().to_string());
            return;
        }
        let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        for done in &self.done {
            let trace = [text(done, "trace_url"), text(done, "trace_id")];
            let trace = trace.into_iter().find(|shown| !shown.is_empty()).unwrap_or_default();
            output.line(format!("{}  {trace}", text(done, "id")).trim_end());
        }
        for refused in &self.refused {
            output.problem(&format!("{}: {}", text(refused, "id"), text(refused, "why")), 1);
        }
        let would = if self.dry_run { "would " } else { "" };
        let past = match (self.dry_run, self.verb) {
            (true, verb) => verb.name(),
            (false, Verb::Replay) => "replayed",
            (false, Verb::Discard) => "discarded",
        };
        let ended = if self.interrupted { " (it ended early)" } else { "" };
        output.line(&format!(
            "{would}{past} {}, refused {}{ended}",
            counted(self.done.len(), "dead letter"),
            self.refused.len()
        ));
    }

    /// Returns true if everything was done that was asked for.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.refused.is_empty() && self.complete && !self.interrupted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::desk::Held;

    #[test]
    fn refusal_or_interruption_fails() {
        let (entries, held) = (Vec::new(), Held::default());
        let selected = Selected { entries, left_out: 3, is_incomplete: false, held };
        let mut done = Done::new(Verb::Replay, false, &selected);
        assert!(done.holds());
        done.interrupted = true;
        assert!(!done.holds());
        let partial = Selected { entries: Vec::new(), left_out: 0, is_incomplete: true, held };
        let partial = Done::new(Verb::Replay, true, &partial);
        assert!(!partial.holds() && partial.to_json()["complete"] == false, "some letters were not read");
        let mut done = Done::new(Verb::Discard, true, &selected);
        done.refuse("game/bets.commands/3".parse().unwrap(), "why");
        assert!(!done.holds());
        let json = done.to_json();
        assert_eq!((&json["action"], &json["left_out"]), (&"discard".into(), &3.into()));
        assert_eq!(json["refused"][0]["id"], "game/bets.commands/3");
    }
}

//! Dead letters of a drill, as `./pitboss dlq` reads and handles them.

use std::time::Duration;

use anyhow::Result;
use bus::letter::{ActError, Action, Keep, LetterId, Note, Replayed};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::broker::BrokerArgs;
use crate::commands::Context;
use crate::dlq::desk::{Clerk, Desk, PlaceArgs, Selected};
use crate::dlq::entry::{Batch, Entry, batches};
use crate::dlq::filter::FilterArgs;
use crate::drill::LetterAction;
use crate::drill::stage::LettersDone;
use crate::evidence::{Observation, Window};

/// Number of letters that a drill handles.
const LETTERS_MAX: usize = 200;
/// Longest wait for replayed records, which are handled or come back.
const REPLAYED_MAX: Duration = Duration::from_secs(20);
/// Interval at which they are looked for.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Author in the record of an action.
const BY: &str = "drill";

/// A replayed letter: its group, and the trace of the replay.
type Replay = (&'static str, String);

/// Acts on the open letters that were parked since `began`. `window` shows what reaches the recorder from now on.
pub(super) async fn act(
    context: &Context,
    (began, mut window): (OffsetDateTime, Window<'_>),
    known_clerk: &mut Option<Clerk>,
    action: LetterAction,
) -> Result<LettersDone> {
    let place = PlaceArgs { broker: BrokerArgs::default(), recorder: None };
    let desk = Desk::open(&place, context).await?;
    let selected = select(&desk, began).await?;
    let mut done = LettersDone { action: action.as_str(), ..LettersDone::default() };
    let reason = match action {
        LetterAction::List => {
            for Entry { letter, .. } in &selected.entries {
                done.letters.push(format!("{}: {}", letter.id, letter.verdict.reason));
                done.trace_ids.extend(letter.trace_id());
            }
            return Ok(done);
        }
        LetterAction::Replay { heals: true } => "the cause is repaired",
        LetterAction::Replay { heals: false } => "to see whether a replay helps",
        LetterAction::Discard => "the records cannot be decoded by anyone",
    };
    if selected.entries.is_empty() {
        return Ok(done);
    }
    let clerk = match known_clerk.take() {
        Some(clerk) => clerk,
        None => desk.clerk(&place, context).await?,
    };
    let (note, mut replays) = (Note::new(BY, reason), Vec::new());
    let batches: Vec<Batch<'_>> = match action {
        LetterAction::Replay { .. } | LetterAction::List => batches(&selected.entries),
        LetterAction::Discard => selected.entries.iter().map(Batch::alone).collect(),
    };
    for batch in &batches {
        let acted = match action {
            LetterAction::Discard => {
                let discarded = clerk.discard(batch.first, &note).await;
                discarded.map(|action| Replayed { action, others: Vec::new() })
            }
            LetterAction::Replay { .. } | LetterAction::List => clerk.replay(batch, &note).await,
        };
        match acted {
            Ok(Replayed { action, others }) => {
                let trace_id = action.trace_id.clone().unwrap_or_default();
                let groups = batch.entries().map(|entry| entry.letter.id.group.as_str());
                replays.extend(groups.map(|group| (group, trace_id.clone())));
                add(&mut done, batch.first.letter.id, Ok(&action));
                for (entry, recorded) in batch.others.iter().zip(&others) {
                    add(&mut done, entry.letter.id, recorded.as_ref());
                }
            }
            Err(error) => batch.entries().for_each(|entry| add(&mut done, entry.letter.id, Err(&error))),
        }
    }
    *known_clerk = Some(clerk);
    if matches!(action, LetterAction::Replay { .. }) {
        let place = (&place, context, began);
        (done.handled, done.came_back) = outcomes(place, &mut window, &replays).await?;
    }
    Ok(done)
}

/// Adds the result for one letter. The letters of one record have the same trace.
fn add(done: &mut LettersDone, id: LetterId, acted: Result<&Action, &ActError>) {
    match acted {
        Ok(action) => {
            done.letters.push(id.to_string());
            let new = action.trace_id.iter().filter(|trace_id| !done.trace_ids.contains(trace_id));
            let new: Vec<String> = new.cloned().collect();
            done.trace_ids.extend(new);
        }
        Err(error) => done.refused.push(format!("{id}: {error}")),
    }
}

async fn select(desk: &Desk, began: OffsetDateTime) -> Result<Selected> {
    desk.select(&FilterArgs::parked_since(began), false, (Keep::Oldest, LETTERS_MAX)).await
}

/// Counts the replayed letters that were handled and those that are open again, until that is all of them or the time is over.
async fn outcomes(
    (place, context, began): (&PlaceArgs, &Context, OffsetDateTime),
    window: &mut Window<'_>,
    replays: &[Replay],
) -> Result<(usize, usize)> {
    let until = Instant::now() + REPLAYED_MAX;
    loop {
        // A desk reads each letter once, so each look needs a new one.
        let desk = Desk::open(place, context).await?;
        let open = select(&desk, began).await?.entries.len();
        let handled = handled(window.read().await?, replays);
        if handled + open >= replays.len() || Instant::now() >= until {
            return Ok((handled, open));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Counts the replays that their group handled, by the traces in the recorder.
fn handled(seen: &Observation, replays: &[Replay]) -> usize {
    let is_handled = |(group, trace_id): &&Replay| {
        let mut of_replay =
            seen.transactions.iter().filter(|one| one.service == *group && one.trace_id == *trace_id);
        of_replay.any(|transaction| {
            let segment = transaction.spans.first();
            segment.is_some_and(|span| span.op == "queue.process" && span.status.as_deref() == Some("ok"))
        })
    };
    replays.iter().filter(is_handled).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::evidence::Transaction;

    #[test]
    fn replay_is_handled_by_its_own_group() {
        let transaction = |service: &str, trace_id: &str, status: &str| {
            let op = "queue.process";
            let trace = json!({ "trace_id": trace_id, "span_id": "1", "op": op, "status": status });
            Transaction::read(service, &json!({ "contexts": { "trace": trace }, "spans": [] })).unwrap()
        };
        let transactions = vec![
            transaction("notification", "a", "ok"),
            transaction("analytics", "b", "ok"),
            transaction("notification", "c", "invalid_argument"),
        ];
        let seen = Observation { transactions, ..Observation::default() };
        let replays = ["a", "b", "c"].map(|trace_id| ("notification", trace_id.to_owned()));
        assert_eq!(handled(&seen, &replays), 1);
    }
}

//! Dead letters of a drill, as `./pitboss dlq` reads and handles them.

use std::time::Duration;

use anyhow::Result;
use bus::letter::{ActError, Action, Keep, LetterId, Note, Replayed};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::broker::BrokerArgs;
use crate::commands::Context;
use crate::dlq::desk::{Desk, PlaceArgs, Selected};
use crate::dlq::entry::{Batch, Entry, batches};
use crate::dlq::filter::FilterArgs;
use crate::drill::LetterAction;
use crate::drill::stage::LettersDone;

/// Number of letters that a drill handles.
const LETTERS_MAX: usize = 200;
/// Longest wait for letters that come back after a replay.
const BACK_MAX: Duration = Duration::from_secs(20);
/// Interval at which they are looked for.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Who acts, in the record of the action.
const BY: &str = "drill";

/// Acts on the open letters that were parked since `began`.
pub(super) async fn act(
    context: &Context,
    began: OffsetDateTime,
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
        LetterAction::Replay => "the cause is repaired",
        LetterAction::Discard => "the records cannot be decoded by anyone",
    };
    if selected.entries.is_empty() {
        return Ok(done);
    }
    let (clerk, note) = (desk.clerk(&place, context).await?, Note::new(BY, reason));
    let batches: Vec<Batch<'_>> = match action {
        LetterAction::Replay | LetterAction::List => batches(&selected.entries),
        LetterAction::Discard => selected.entries.iter().map(Batch::alone).collect(),
    };
    for batch in &batches {
        let acted = match action {
            LetterAction::Discard => {
                let discarded = clerk.discard(batch.first, &note).await;
                discarded.map(|action| Replayed { action, others: Vec::new() })
            }
            LetterAction::Replay | LetterAction::List => clerk.replay(batch, &note).await,
        };
        match acted {
            Ok(Replayed { action, others }) => {
                add(&mut done, batch.first.letter.id, Ok(&action));
                for (entry, recorded) in batch.others.iter().zip(&others) {
                    add(&mut done, entry.letter.id, recorded.as_ref());
                }
            }
            Err(error) => batch.entries().for_each(|entry| add(&mut done, entry.letter.id, Err(&error))),
        }
    }
    // Without its telemetry the traces are missing, and the actions still count.
    let _is_sent = clerk.close().await;
    if action == LetterAction::Replay {
        done.came_back = came_back(&place, context, began, done.letters.len()).await?;
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

/// Counts the replayed letters that are open again, until all of them are or the time is over.
async fn came_back(
    place: &PlaceArgs,
    context: &Context,
    began: OffsetDateTime,
    replayed: usize,
) -> Result<usize> {
    let until = Instant::now() + BACK_MAX;
    loop {
        // A desk reads each letter once, so each look needs a new one.
        let desk = Desk::open(place, context).await?;
        let open = select(&desk, began).await?.entries.len();
        if open >= replayed || Instant::now() >= until {
            return Ok(open);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

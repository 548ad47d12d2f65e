//! Evaluates the rules in rounds until the recorder stops.

use std::{
    sync::PoisonError,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::evaluate::Evaluator;
use crate::{
    config,
    ingest::Admission,
    protocol::alert_state::ALERT_STATE,
    query::{own_items, state::Query},
};

/// Evaluates the rules until `stop`. What is stored when it is called is known, so it is called before anything is received.
///
/// A round that fails is logged, and the next one continues. The future ends with an error when a round panicked.
///
/// A round has the permit of large bodies, because it opens stored ones. So both together need the memory of one.
pub(crate) fn run(
    query: Query,
    settings: config::Alerts,
    admission: Admission,
    stop: CancellationToken,
) -> impl Future<Output = Result<(), JoinError>> + Send + 'static {
    let known_upto = query.journal.progress().state().durable;
    rounds(query, settings, admission, known_upto, stop)
}

async fn rounds(
    query: Query,
    settings: config::Alerts,
    admission: Admission,
    known_upto: u64,
    stop: CancellationToken,
) -> Result<(), JoinError> {
    let pause = Duration::from_millis(settings.round_ms);
    let mut evaluator: Option<Evaluator> = None;
    loop {
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return Ok(());
        }
        query.index.caught_up().await;
        // An index that is being rebuilt lacks alerts, which would be raised a second time.
        if evaluator.is_none() && query.index.reached().indexed < known_upto {
            continue;
        }
        let Some(turn) = stop.run_until_cancelled(admission.large_turn()).await else { return Ok(()) };
        // Others opened large bodies for half a minute. The next round reads what this one leaves.
        let Some(turn) = turn else { continue };
        let Some(ended) = stop.run_until_cancelled(round(&query, known_upto, evaluator.take())).await else {
            return Ok(());
        };
        drop(turn);
        evaluator = ended?;
        let Some(evaluator) = &mut evaluator else { continue };
        let Some(unsaved) = evaluator.unsaved() else { continue };
        // If that fails, it is logged there, and the next round tries again.
        if let Ok(seq) = own_items::store(&query, ALERT_STATE, &[unsaved], "states of alerts").await {
            evaluator.saved(seq);
        }
    }
}

/// Runs one round on a thread that may block. Returns `None` if what is stored cannot be read.
async fn round(
    query: &Query,
    known_upto: u64,
    evaluator: Option<Evaluator>,
) -> Result<Option<Evaluator>, JoinError> {
    let query = query.clone();
    telemetry::spawn_blocking(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let restored = evaluator.map_or_else(|| Evaluator::restore(&query, known_upto, now), Ok);
        let mut evaluator = match restored {
            Ok(evaluator) => evaluator,
            Err(error) => {
                tracing::error!(error = %error, "the stored alerts could not be read");
                return None;
            }
        };
        match evaluator.round(&query, now) {
            Ok(found) => *query.round.lock().unwrap_or_else(PoisonError::into_inner) = found,
            Err(error) => tracing::error!(error = %error, "the alert rules could not be evaluated"),
        }
        Some(evaluator)
    })
    .await
}

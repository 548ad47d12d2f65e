//! Faults at work: whether one acts on the current unit of work, and its trace in Sentry.
//!
//! Code that a fault breaks calls [`active`]. It adds the faults that the current request carries, and marks the current span, its
//! errors and the metric `faults.applied` when the fault acts. [`record_hook`] gives a consumer the faults that act on any
//! consumer.

use std::sync::Arc;
use std::time::Duration;

use ::faults::request::BAGGAGE_KEY;
use ::faults::{FaultId, Faults, Options, Subject, Values};
use bus::{HookAction, Record, RecordHook};
use contracts::headers::CE_ID;

use crate::config::FaultsConfig;

/// Returns the values of a fault if it acts on the current unit of work: for its player, or for its share of the traffic.
///
/// `key` decides the share (such as a payment id), else the player does. Call it once for each unit of work, inside its span.
#[must_use]
pub fn active(faults: &Faults, id: FaultId, player_id: Option<&str>, key: Option<&str>) -> Option<Values> {
    let request = telemetry::propagation::baggage_entry(BAGGAGE_KEY);
    let values = faults.active(id, &Subject { player_id, key, request: request.as_deref() })?;
    telemetry::flags::applied(id.as_str());
    Some(values)
}

/// Returns the hook for a consumer: [`FaultId::ConsumerSlow`] and [`FaultId::ConsumerDuplicate`].
#[must_use]
pub fn record_hook(faults: &Faults) -> Arc<dyn RecordHook> {
    Arc::new(RecordFaults(faults.clone()))
}

struct RecordFaults(Faults);

impl RecordHook for RecordFaults {
    fn before(&self, record: &Record) -> HookAction {
        // the player's id is the key of every record
        let player_id = record.key.as_deref().and_then(text);
        let event_id = record.header(CE_ID).and_then(|id| text(id));
        self.action(player_id, event_id)
    }
}

impl RecordFaults {
    fn action(&self, player_id: Option<&str>, event_id: Option<&str>) -> HookAction {
        let active = |id| active(&self.0, id, player_id, event_id);
        HookAction {
            delay: active(FaultId::ConsumerSlow).map(|values| milliseconds(values.get("delay_ms"))),
            repeat: active(FaultId::ConsumerDuplicate).is_some(),
        }
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn milliseconds(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or_default())
}

/// Watches the configured file, and shows the armed faults on the error events of this process.
pub(crate) fn watch(config: &FaultsConfig) -> Faults {
    let Some(file) = config.file.clone().filter(|file| !file.as_os_str().is_empty()) else {
        return Faults::none();
    };
    let identity = crate::service_main::identity();
    let faults = Faults::watch(Options {
        file,
        service: identity.service,
        release: identity.release.unwrap_or_default(),
        secret: config.secret.expose().as_bytes().to_vec(),
    });
    let shown = faults.clone();
    telemetry::flags::set_source(move || {
        shown.armed().into_iter().map(|armed| (armed.id.as_str().to_owned(), true)).collect()
    });
    faults
}

/// Logs each change of the problem with the flag file. It runs as long as the process.
pub(crate) async fn log_problems(faults: Faults) {
    const INTERVAL: Duration = Duration::from_secs(1);
    let mut known = None;
    loop {
        let problem = faults.problem();
        if problem != known {
            match &problem {
                Some(problem) => {
                    tracing::warn!(
                        "the armed faults are unchanged, because of an error in their file: {problem}"
                    );
                }
                None => tracing::info!("the file of the armed faults is valid again"),
            }
            known = problem;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use ::faults::Scope;
    use testkit::faults::Flags;

    use super::*;

    #[test]
    fn hook_applies_the_armed_consumer_faults() {
        let player = Scope::Player("p-1".to_owned());
        let flags = Flags::scoped(
            "game",
            &[
                (FaultId::ConsumerSlow, player, &[("delay_ms", 70)]),
                (FaultId::ConsumerDuplicate, Scope::All, &[]),
            ],
        );
        let hook = RecordFaults(flags.faults());
        let delayed = HookAction { delay: Some(Duration::from_millis(70)), repeat: true };
        assert_eq!(hook.action(Some("p-1"), Some("e-1")), delayed);
        assert_eq!(hook.action(Some("p-2"), None), HookAction { delay: None, repeat: true });
        assert_eq!((flags.applied(FaultId::ConsumerSlow), flags.applied(FaultId::ConsumerDuplicate)), (1, 2));
        assert_eq!(RecordFaults(Faults::none()).action(Some("p-1"), None), HookAction::default());
    }
}

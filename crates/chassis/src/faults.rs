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
    if faults.is_idle() {
        return None;
    }
    let request = telemetry::propagation::baggage_entry(BAGGAGE_KEY);
    apply(faults, id, &Subject { player_id, key, request: request.as_deref() })
}

/// Returns true if [`active`] would return values now. Nothing is marked or counted.
///
/// A fault that needs preparation asks first, so that it counts as applied only when it can act.
#[must_use]
pub fn is_active(faults: &Faults, id: FaultId, player_id: Option<&str>, key: Option<&str>) -> bool {
    if faults.is_idle() {
        return false;
    }
    let request = telemetry::propagation::baggage_entry(BAGGAGE_KEY);
    faults.is_active(id, &Subject { player_id, key, request: request.as_deref() })
}

/// Returns the values of a fault that is active for the subject, and marks the current work.
fn apply(faults: &Faults, id: FaultId, subject: &Subject<'_>) -> Option<Values> {
    let values = faults.active(id, subject)?;
    telemetry::flags::applied(id.as_str());
    Some(values)
}

/// Returns the hook for a consumer, with the faults that act on any consumer.
#[must_use]
pub fn record_hook(faults: &Faults) -> Arc<dyn RecordHook> {
    Arc::new(RecordFaults(faults.clone()))
}

struct RecordFaults(Faults);

impl RecordHook for RecordFaults {
    fn before(&self, record: &Record) -> HookAction {
        if self.0.is_idle() {
            return HookAction::default();
        }
        let request = telemetry::propagation::baggage_entry(BAGGAGE_KEY);
        let subject = Subject {
            // the player's id is the key of every record
            player_id: record.key.as_deref().and_then(text),
            key: record.header(CE_ID).and_then(|id| text(id)),
            request: request.as_deref(),
        };
        self.action(&subject, record.partition, record.is_retry())
    }

    fn stalls(&self, _topic: &str, partition: i32) -> bool {
        self.is_stuck(partition)
    }
}

impl RecordFaults {
    fn action(&self, subject: &Subject<'_>, partition: i32, is_retry: bool) -> HookAction {
        let active = |id| apply(&self.0, id, subject);
        HookAction {
            delay: active(FaultId::ConsumerSlow).map(|values| milliseconds(values.get("delay_ms"))),
            repeat: active(FaultId::ConsumerDuplicate).is_some(),
            // no subject: it acts on a partition, whoever its records belong to
            stall: self.is_stuck(partition)
                && apply(&self.0, FaultId::ConsumerStuck, &Subject::default()).is_some(),
            crash: active(FaultId::ConsumerCrashLoop).is_some(),
            // in the retry topic the record is handled as usual
            fail: !is_retry && active(FaultId::ConsumerDelayedOnPurpose).is_some(),
        }
    }

    /// Returns true if the armed fault names this partition. Nothing is counted for the others.
    fn is_stuck(&self, partition: i32) -> bool {
        // it is asked for every record, and answers without a lock while nothing is armed
        if !self.0.is_active(FaultId::ConsumerStuck, &Subject::default()) {
            return false;
        }
        let armed = self.0.armed();
        let stuck = armed.iter().find(|armed| armed.id == FaultId::ConsumerStuck);
        stuck.is_some_and(|armed| armed.values.get("partition") == i64::from(partition))
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
        let of = |player_id| Subject { player_id: Some(player_id), ..Subject::default() };
        let repeated = HookAction { repeat: true, ..HookAction::default() };
        let delayed = HookAction { delay: Some(Duration::from_millis(70)), ..repeated };
        assert_eq!(hook.action(&of("p-1"), 0, false), delayed);
        assert_eq!(hook.action(&of("p-2"), 0, false), repeated);
        assert_eq!((flags.applied(FaultId::ConsumerSlow), flags.applied(FaultId::ConsumerDuplicate)), (1, 2));
        assert_eq!(RecordFaults(Faults::none()).action(&of("p-1"), 0, false), HookAction::default());
    }

    #[test]
    fn stuck_partition_is_the_one_that_the_fault_names() {
        let here = Scope::Service("notification".to_owned());
        let flags = Flags::scoped("notification", &[(FaultId::ConsumerStuck, here, &[("partition", 3)])]);
        let hook = RecordFaults(flags.faults());
        let stall = |partition| hook.action(&Subject::default(), partition, false).stall;
        assert_eq!([2, 3].map(stall), [false, true]);
        assert_eq!([2, 3].map(|partition| hook.stalls("t", partition)), [false, true]);
        assert_eq!(flags.applied(FaultId::ConsumerStuck), 1, "only the record that stalls counts");
        let elsewhere = Scope::Service("analytics".to_owned());
        let flags =
            Flags::scoped("notification", &[(FaultId::ConsumerStuck, elsewhere, &[("partition", 3)])]);
        let hook = RecordFaults(flags.faults());
        assert!(!hook.stalls("t", 3) && !hook.action(&Subject::default(), 3, false).stall);
    }

    #[test]
    fn retried_record_is_not_delayed_on_purpose_again() {
        let flags = Flags::armed("notification", FaultId::ConsumerDelayedOnPurpose, &[]);
        let hook = RecordFaults(flags.faults());
        let fails = |is_retry| hook.action(&Subject::default(), 0, is_retry).fail;
        assert_eq!([false, true].map(fails), [true, false]);
        assert!(!hook.action(&Subject::default(), 0, false).crash);
    }
}

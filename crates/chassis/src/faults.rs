//! Faults at work: whether one acts on the current unit of work, and its trace in Sentry.
//!
//! Code that a fault breaks calls [`active`]. It adds the faults that the current request carries, and marks the current span, its
//! errors and the metric `faults.applied` when the fault acts. [`record_hook`] gives a consumer the faults that act on any
//! consumer.

use std::sync::Arc;
use std::time::Duration;

use ::faults::request::BAGGAGE_KEY;
use ::faults::{FaultId, Faults, InvalidFlag, Options, Place, Subject, Values};
use bus::{HookAction, Record, RecordHook};
use contracts::headers::CE_ID;
use telemetry::metric::{self, Metric};

use crate::config::FaultsConfig;

/// Returns the values of a fault if it acts on the current unit of work: for its player, or for its share of the traffic.
///
/// `key` decides the share (such as a payment id), else the player does. Call it once for each unit of work, inside its span.
#[must_use]
pub fn active(faults: &Faults, id: FaultId, player_id: Option<&str>, key: Option<&str>) -> Option<Values> {
    let request = entry_of_request(faults);
    apply(faults, id, &Subject { player_id, key, request: request.as_deref() })
}

/// Returns true if [`active`] would count the fault as applied now. Nothing is marked or counted.
///
/// A fault that needs preparation asks first, so that it counts as applied only when it can act. `place` says what the code does
/// with the answer.
#[must_use]
pub fn is_active(
    faults: &Faults,
    id: FaultId,
    place: Place,
    player_id: Option<&str>,
    key: Option<&str>,
) -> bool {
    let request = entry_of_request(faults);
    faults.is_active(id, place, &Subject { player_id, key, request: request.as_deref() })
}

/// The faults that the current request carries, signed or not. Without any this is one lookup in the request's baggage.
fn entry_of_request(faults: &Faults) -> Option<String> {
    if faults.reads_requests() { telemetry::propagation::baggage_entry(BAGGAGE_KEY) } else { None }
}

/// Returns the values of a fault that is active for the subject, and marks the current work. A fault without effect is marked, too.
fn apply(faults: &Faults, id: FaultId, subject: &Subject<'_>) -> Option<Values> {
    let values = faults.evaluate(id, subject)?;
    telemetry::flags::applied(id.as_str());
    faults.has_effect(id).then_some(values)
}

/// Returns the hook for a consumer, with the faults that act on any consumer.
#[must_use]
pub fn record_hook(faults: &Faults) -> Arc<dyn RecordHook> {
    Arc::new(RecordFaults(faults.clone()))
}

struct RecordFaults(Faults);

impl RecordHook for RecordFaults {
    fn before(&self, record: &Record, can_move: bool) -> HookAction {
        let request = entry_of_request(&self.0);
        if self.0.is_idle(request.as_deref()) {
            return HookAction::default();
        }
        let subject = Subject {
            // the player's id is the key of every record
            player_id: record.key.as_deref().and_then(text),
            key: record.header(CE_ID).and_then(|id| text(id)),
            request: request.as_deref(),
        };
        self.action(&subject, record.partition, can_move)
    }

    fn stalls(&self, _topic: &str, partition: i32) -> bool {
        // it is asked for every record, and answers without a lock while nothing is armed
        let stuck = self.0.peek(FaultId::ConsumerStuck, Place::End, &Subject::default());
        names_partition(stuck.as_ref(), partition) && !self.0.is_ineffective()
    }
}

impl RecordFaults {
    /// Asks for each fault only if it has an effect on this record, because a fault that is asked for counts as applied.
    fn action(&self, subject: &Subject<'_>, partition: i32, can_move: bool) -> HookAction {
        let active = |id| apply(&self.0, id, subject);
        if active(FaultId::ConsumerCrashLoop).is_some() {
            return HookAction { crash: true, ..HookAction::default() };
        }
        let on_purpose = if can_move { active(FaultId::ConsumerDelayedOnPurpose) } else { None };
        let is_permanent = on_purpose.as_ref().is_some_and(|values| values.get("permanent") == 1);
        // no subject: it acts on a partition, whoever its records belong to. Nothing is counted for the other partitions
        let stuck = self.0.peek(FaultId::ConsumerStuck, Place::Before, &Subject::default());
        HookAction {
            delay: active(FaultId::ConsumerSlow).map(|values| milliseconds(values.get("delay_ms"))),
            // a record that moves is repeated where it is handled
            repeat: on_purpose.is_none() && active(FaultId::ConsumerDuplicate).is_some(),
            stall: names_partition(stuck.as_ref(), partition)
                && apply(&self.0, FaultId::ConsumerStuck, &Subject::default()).is_some(),
            crash: false,
            fail: on_purpose.is_some() && !is_permanent,
            reject: is_permanent,
        }
    }
}

/// Returns true if the values of the fault `consumer.stuck` name this partition.
fn names_partition(stuck: Option<&Values>, partition: i32) -> bool {
    stuck.is_some_and(|values| values.get("partition") == i64::from(partition))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn milliseconds(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or_default())
}

/// Watches the configured file, and shows the armed faults on the error events of this process. With [`FaultsConfig::ineffective`]
/// they have no effect.
pub(crate) fn watch(config: &FaultsConfig) -> Faults {
    let Some(file) = config.file.clone().filter(|file| !file.as_os_str().is_empty()) else {
        return Faults::none();
    };
    let identity = crate::service_main::identity();
    let mut faults = Faults::watch(Options {
        file,
        service: identity.service,
        release: identity.release.unwrap_or_default(),
        secret: config.secret.expose().as_bytes().to_vec(),
    });
    if config.ineffective {
        faults = faults.ineffective();
        tracing::warn!(
            "the faults of this process have no effect, because faults.ineffective is on: they are counted as applied"
        );
    }
    metric::gauge(Metric::FaultsIneffective, if config.ineffective { 1.0 } else { 0.0 }, &[]);
    let shown = faults.clone();
    telemetry::flags::set_source(move || {
        shown.armed().into_iter().map(|armed| (armed.id.as_str().to_owned(), true)).collect()
    });
    faults
}

/// Logs each change of the problems with the flag file, and counts its invalid flags. It runs as long as the process.
pub(crate) async fn log_problems(faults: Faults) {
    const INTERVAL: Duration = Duration::from_secs(1);
    let (mut known, mut known_flags) = (None, Vec::new());
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
        let flags = faults.invalid();
        if flags != known_flags {
            for flag in newly_invalid(&flags, &known_flags) {
                tracing::warn!("a flag in the file of the armed faults is invalid and counts as off: {flag}");
            }
            let count = u32::try_from(flags.len()).unwrap_or(u32::MAX);
            metric::gauge(Metric::FaultsFlagsInvalid, f64::from(count), &[]);
            known_flags = flags;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The flags that were not invalid in the same way before. There are so few that nobody floods the log with them.
fn newly_invalid<'a>(
    flags: &'a [InvalidFlag],
    known: &'a [InvalidFlag],
) -> impl Iterator<Item = &'a InvalidFlag> {
    const LOGGED_MAX: usize = 16;
    flags.iter().filter(move |flag| !known.contains(flag)).take(LOGGED_MAX)
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
    fn named_partition_is_stuck() {
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
    fn only_a_record_that_can_move_is_delayed() {
        let flags = Flags::armed("notification", FaultId::ConsumerDelayedOnPurpose, &[]);
        let hook = RecordFaults(flags.faults());
        let fails = |can_move| hook.action(&Subject::default(), 0, can_move).fail;
        assert_eq!([true, false].map(fails), [true, false]);
        assert_eq!(flags.applied(FaultId::ConsumerDelayedOnPurpose), 1, "only an effect counts");
        assert!(!hook.action(&Subject::default(), 0, true).crash);
    }

    #[test]
    fn permanent_failure_is_rejected() {
        let flags = Flags::armed("notification", FaultId::ConsumerDelayedOnPurpose, &[("permanent", 1)]);
        let hook = RecordFaults(flags.faults());
        let rejected = HookAction { reject: true, ..HookAction::default() };
        assert_eq!(hook.action(&Subject::default(), 0, true), rejected);
        assert_eq!(hook.action(&Subject::default(), 0, false), HookAction::default(), "in the retry topic");
        assert_eq!(flags.applied(FaultId::ConsumerDelayedOnPurpose), 1, "only an effect counts");
    }

    #[test]
    fn fault_behind_another_one_is_not_counted() {
        let flags = Flags::scoped(
            "notification",
            &[
                (FaultId::ConsumerDelayedOnPurpose, Scope::All, &[]),
                (FaultId::ConsumerDuplicate, Scope::All, &[]),
            ],
        );
        let hook = RecordFaults(flags.faults());
        let of = |can_move| hook.action(&Subject::default(), 0, can_move);
        assert_eq!(of(true), HookAction { fail: true, ..HookAction::default() });
        assert_eq!(flags.applied(FaultId::ConsumerDuplicate), 0, "the record moves and is not repeated");
        assert_eq!(of(false), HookAction { repeat: true, ..HookAction::default() });
        let flags = Flags::scoped(
            "game",
            &[
                (FaultId::ConsumerCrashLoop, Scope::All, &[]),
                (FaultId::ConsumerSlow, Scope::All, &[("delay_ms", 70)]),
            ],
        );
        let action = RecordFaults(flags.faults()).action(&Subject::default(), 0, false);
        assert_eq!(action, HookAction { crash: true, ..HookAction::default() });
        assert_eq!(flags.applied(FaultId::ConsumerSlow), 0, "the process ends before the record waits");
    }

    #[test]
    fn services_of_delay_have_retry_topics() {
        let groups = contracts::Group::ALL.iter().filter(|group| group.uses_retry_topics());
        let mut services: Vec<&str> = groups.map(|group| group.as_str()).collect();
        services.sort_unstable();
        let mut defined = FaultId::ConsumerDelayedOnPurpose.definition().services.to_vec();
        defined.sort_unstable();
        assert_eq!(defined, services);
    }

    #[test]
    fn ineffective_faults_are_counted_and_change_nothing() {
        let here = Scope::Service("game".to_owned());
        let flags = Flags::scoped(
            "game",
            &[
                (FaultId::ConsumerStuck, here, &[("partition", 3)]),
                (FaultId::ConsumerSlow, Scope::All, &[("delay_ms", 70)]),
            ],
        );
        let hook = RecordFaults(flags.faults().ineffective());
        assert_eq!(hook.action(&Subject::default(), 3, false), HookAction::default());
        assert!(!hook.stalls("t", 3), "no record waits");
        assert_eq!((flags.applied(FaultId::ConsumerSlow), flags.applied(FaultId::ConsumerStuck)), (1, 1));
        let asked = flags.faults().ineffective();
        let is_counted = is_active(&asked, FaultId::ConsumerSlow, Place::Before, None, None);
        assert!(is_counted, "a fault that asks first is counted");
        assert_eq!(active(&asked, FaultId::ConsumerSlow, None, None), None);
        assert_eq!(flags.applied(FaultId::ConsumerSlow), 2);
    }

    /// What `./pitboss verify --sabotage=reads` relies on: one read answers "off", and the others act.
    #[test]
    fn single_read_of_the_hook_can_be_off() {
        let here = Scope::Service("notification".to_owned());
        let stuck: &[testkit::faults::Flag<'_>] = &[(FaultId::ConsumerStuck, here, &[("partition", 3)])];
        let with_off = |place: Place| {
            let flags = Flags::scoped("notification", stuck);
            let mut state = ::faults::State::read(&flags.file()).unwrap();
            let fault = FaultId::ConsumerStuck;
            state.make_ineffective(::faults::ReadSite { fault, place, service: "notification" });
            state.write(&flags.file()).unwrap();
            let hook = RecordFaults(Faults::watch(Options {
                file: flags.file(),
                service: "notification",
                release: String::new(),
                secret: Vec::new(),
            }));
            let stalls = hook.action(&Subject::default(), 3, false).stall;
            (stalls, hook.stalls("t", 3), hook.0.applied())
        };
        let once = vec![(FaultId::ConsumerStuck, 1)];
        assert_eq!(with_off(Place::Effect), (false, true, once.clone()), "counted as usual");
        assert_eq!(with_off(Place::Before), (false, true, Vec::new()));
        assert_eq!(with_off(Place::End), (true, false, once));
    }

    #[test]
    fn invalid_flag_is_logged_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("faults.json");
        std::fs::write(&file, r#"{"flags": {"game.new": {"state": "ON"}, "game.old": 7}}"#).unwrap();
        let flags = ::faults::State::read(&file).unwrap().invalid;
        let names = |known: &[InvalidFlag]| {
            newly_invalid(&flags, known).map(|flag| flag.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["game.new", "game.old"]);
        assert_eq!(names(&flags[..1]), ["game.old"]);
        assert_eq!(names(&flags), Vec::<String>::new());
    }
}

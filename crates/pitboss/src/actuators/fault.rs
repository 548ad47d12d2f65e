//! The faults of the supervisor: the actuator of each, how it acts, and how it is reverted.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use faults::{Acts, Armed, FaultId, Values};

use super::platform::Platform;
use super::worker::{Actuator, Cause, Rhythm};
use super::{broker, outside, processes, records};

/// Interval at which a stopped part is checked, and at which the failure of the receiver is renewed.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Service in the definition of a fault of every consumer.
const EVERY_CONSUMER: &str = "any";

/// Faults that the supervisor applies, and those after which it has to look for consumers that crashed.
pub(super) fn ids() -> impl Iterator<Item = FaultId> {
    FaultId::ALL.into_iter().filter(|id| id.definition().acts == Acts::Supervisor || may_crash(*id))
}

/// Returns true for a fault that consumers apply to themselves. One that crashed too often waits long for its next start.
fn may_crash(id: FaultId) -> bool {
    id.definition().acts == Acts::InService && id.definition().services.contains(&EVERY_CONSUMER)
}

/// One fault of the supervisor on the real platform.
pub(super) struct Fault {
    id: FaultId,
    platform: Rc<Platform>,
}

impl Fault {
    pub(super) fn new(id: FaultId, platform: Rc<Platform>) -> Self {
        Self { id, platform }
    }
}

impl Actuator for Fault {
    async fn apply(&self, armed: &Armed) -> Result<u64> {
        let (platform, Armed { values, scope, .. }) = (&*self.platform, armed);
        if platform.is_ineffective() {
            return Ok(receipts_of(self.id, values));
        }
        match self.id {
            FaultId::ConsumerDead => processes::stop_consumer(platform, scope).await,
            FaultId::ConsumerRebalanceStorm => broker::visit_group(platform, scope, values).await,
            FaultId::NotificationPoison => records::publish_poison(platform, values).await,
            FaultId::TraceHostileHeaders => records::publish_hostile_headers(platform, values).await,
            FaultId::TraceSamplingConflict => records::publish_sampling_conflicts(platform, values).await,
            FaultId::MongoStall => processes::stall_store(platform, values).await,
            FaultId::RedisFlush => outside::flush_cache(platform).await,
            FaultId::SentryDown => outside::fail_ingest(platform, values).await,
            FaultId::KafkaBrokerRestart => processes::restart_broker(platform, values).await,
            FaultId::KafkaAclDenied => broker::deny_topic(platform).await,
            FaultId::KafkaMessageTooLarge => broker::lower_record_limit(platform, values).await,
            FaultId::KafkaRecordsDeleted => broker::delete_unread(platform).await,
            FaultId::KafkaThrottled => broker::throttle_gateway(platform, values).await,
            other if may_crash(other) => Ok(0), // The services do that.
            other => bail!("{other} is not applied by the supervisor"),
        }
    }

    async fn take_back(&self, armed: Option<&Armed>, cause: Cause) -> Result<()> {
        let (platform, is_disarmed) = (&*self.platform, cause == Cause::Disarmed);
        match (self.id, armed) {
            // Parts of an earlier supervisor ended with it, and those of this one end now.
            (FaultId::ConsumerDead, Some(armed)) if is_disarmed => {
                processes::start_consumer(platform, &armed.scope).await
            }
            (id, Some(_)) if is_disarmed && may_crash(id) => processes::restart_given_up(platform).await,
            (FaultId::KafkaBrokerRestart, Some(_)) if is_disarmed => processes::start_broker(platform).await,
            (FaultId::KafkaRecordsDeleted, Some(_)) if is_disarmed => {
                broker::start_notification(platform).await
            }
            (FaultId::MongoStall, Some(_)) => processes::thaw_store(platform).await,
            (FaultId::SentryDown, Some(_)) => outside::restore_ingest(platform).await,
            (FaultId::KafkaAclDenied, _) => broker::permit_topic(platform).await,
            (FaultId::KafkaMessageTooLarge, _) => broker::restore_record_limit(platform).await,
            (FaultId::KafkaThrottled, _) => broker::unthrottle_gateway(platform).await,
            _ => Ok(()), // Nothing lasts.
        }
    }

    fn rhythm(&self, Armed { values, .. }: &Armed) -> Rhythm {
        match self.id {
            FaultId::MongoStall | FaultId::RedisFlush => Rhythm::Every(interval(values)),
            // It stays away as long as it stayed.
            FaultId::ConsumerRebalanceStorm => Rhythm::Every(interval(values).saturating_mul(2)),
            // An operator may have started the part, or the recorder may have been restarted.
            FaultId::ConsumerDead | FaultId::SentryDown => Rhythm::Every(CHECK_INTERVAL),
            FaultId::NotificationPoison
            | FaultId::TraceHostileHeaders
            | FaultId::TraceSamplingConflict
            | FaultId::KafkaBrokerRestart
            | FaultId::KafkaRecordsDeleted => Rhythm::Once,
            _ => Rhythm::Lasting,
        }
    }
}

/// Count of a fault that is applied without effect: that of one application with effect.
fn receipts_of(id: FaultId, values: &Values) -> u64 {
    match id {
        FaultId::NotificationPoison | FaultId::TraceHostileHeaders | FaultId::TraceSamplingConflict => {
            u64::try_from(values.get("count")).unwrap_or_default()
        }
        in_service if may_crash(in_service) => 0, // The services count it.
        _ => 1,
    }
}

fn interval(values: &Values) -> Duration {
    millis(values.get("interval_ms"))
}

/// A parameter in milliseconds. Its bounds exclude negative values.
pub(super) fn millis(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use runtime::Layout;

    use super::*;

    fn fault(id: FaultId) -> Fault {
        let layout = Layout::new(std::path::Path::new("/nonexistent"), None, None);
        Fault::new(id, Rc::new(Platform::new(&layout)))
    }

    fn armed(id: FaultId) -> Armed {
        let scope = id.definition().default_scope.clone();
        Armed { id, scope, values: Values::defaults(id), expires_at_ms: None }
    }

    #[tokio::test]
    async fn every_fault_of_the_supervisor_has_an_actuator() {
        for id in ids() {
            // Without a platform each fails, but none for lack of an actuator.
            if let Err(error) = fault(id).apply(&armed(id)).await {
                assert!(!error.to_string().contains("not applied by the supervisor"), "{error}");
            }
        }
        let error = fault(FaultId::GameCpuSpike).apply(&armed(FaultId::GameCpuSpike)).await.unwrap_err();
        assert!(error.to_string().contains("not applied by the supervisor"), "{error}");
    }

    #[test]
    fn fault_without_effect_has_its_receipts() {
        let receipts = |id| receipts_of(id, &Values::defaults(id));
        assert_eq!(receipts(FaultId::MongoStall), 1);
        assert_eq!(receipts(FaultId::ConsumerCrashLoop), 0, "the service counts it");
        let records = Values::new(FaultId::TraceHostileHeaders, [("count", 7)]).unwrap();
        assert_eq!(receipts_of(FaultId::TraceHostileHeaders, &records), 7);
    }

    #[test]
    fn only_records_and_restarts_act_once() {
        let once: Vec<&str> =
            ids().filter(|id| fault(*id).rhythm(&armed(*id)) == Rhythm::Once).map(FaultId::as_str).collect();
        assert_eq!(
            once,
            [
                "notification.poison",
                "trace.hostile-headers",
                "trace.sampling-conflict",
                "kafka.broker-restart",
                "kafka.records-deleted",
            ]
        );
    }

    #[tokio::test]
    async fn shutdown_leaves_stopped_parts_stopped() {
        for id in [FaultId::ConsumerDead, FaultId::ConsumerCrashLoop, FaultId::KafkaBrokerRestart] {
            fault(id).take_back(Some(&armed(id)), Cause::Shutdown).await.unwrap();
            fault(id).take_back(Some(&armed(id)), Cause::Disarmed).await.unwrap_err();
        }
    }
}

//! Faults of processes: a stopped consumer, a restarted broker, a frozen store.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use contracts::parts::Part;
use contracts::topics::Group;
use faults::{Scope, Values};
use runtime::control::Action;
use runtime::os_process::is_suspended;
use runtime::part::{PartState, PartStatus};

use super::fault::millis;
use super::platform::{POLL_INTERVAL, Platform, wait_until};

/// Time in which a suspended process is seen to be suspended.
const SUSPENDED_DEADLINE: Duration = Duration::from_secs(1);
/// Time for which consumers that crashed are waited for after the end of the fault.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(30);
/// Time after which every service has read the flag file again, so that no service crashes any more.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The consumer group that a fault of one process concerns. Its name is that of the service.
pub(super) fn group_of(scope: &Scope) -> Result<Group> {
    let Scope::Service(name) = scope else {
        bail!("it concerns one service: arm it with --service NAME");
    };
    let group = name.parse::<Group>().ok().filter(|group| group.commits());
    group.with_context(|| format!("{name} has no consumer group"))
}

/// Stops the service of the scope. Counts only if it ran.
pub(super) async fn stop_consumer(platform: &Platform, scope: &Scope) -> Result<u64> {
    Ok(u64::from(platform.stop(group_of(scope)?.as_str()).await?))
}

pub(super) async fn start_consumer(platform: &Platform, scope: &Scope) -> Result<()> {
    // A scope without a group was never applied.
    let Ok(group) = group_of(scope) else { return Ok(()) };
    platform.start(group.as_str()).await
}

/// Starts every consumer that waits for its next restart, because after many crashes that pause is long.
///
/// Each is started once: one that crashes again does so for another reason, and its pauses have to grow.
pub(super) async fn restart_given_up(platform: &Platform) -> Result<()> {
    tokio::time::sleep(READ_AGAIN_AFTER).await;
    let until = Instant::now() + RECOVERY_DEADLINE;
    let mut started = BTreeSet::new();
    loop {
        let status = platform.client.status().await?;
        let consumers = || status.parts.iter().filter(|part| is_consumer(part));
        let is_settled =
            |state: PartState| matches!(state, PartState::Ready | PartState::Stopped | PartState::Frozen);
        if consumers().all(|part| is_settled(part.state)) {
            return Ok(());
        }
        let waiting =
            consumers().filter(|part| matches!(part.state, PartState::Restarting | PartState::CrashLooping));
        for part in waiting {
            if started.insert(part.name.clone()) {
                platform.client.act(Action::Start, &part.name).await?;
            }
        }
        if Instant::now() > until {
            tracing::warn!("a consumer is not ready {} s after the fault", RECOVERY_DEADLINE.as_secs());
            return Ok(()); // The fault is over: the services do not read it as armed any more.
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn is_consumer(part: &PartStatus) -> bool {
    part.name.parse::<Group>().is_ok_and(Group::commits)
}

/// Stops the broker, waits, and starts it again.
pub(super) async fn restart_broker(platform: &Platform, values: &Values) -> Result<u64> {
    platform.stop(Part::Kafka.as_str()).await?;
    tokio::time::sleep(millis(values.get("down_ms"))).await;
    start_broker(platform).await?;
    Ok(1)
}

pub(super) async fn start_broker(platform: &Platform) -> Result<()> {
    platform.start(Part::Kafka.as_str()).await
}

/// Suspends the store's process once, and lets it continue.
pub(super) async fn stall_store(platform: &Platform, values: &Values) -> Result<u64> {
    let name = Part::Mongo.as_str();
    platform.client.act(Action::Freeze, name).await?;
    let pid = platform.part(name).await?.pid.context("the store has no process")?;
    let suspended = wait_until("the store's process stops", SUSPENDED_DEADLINE, || is_suspended(pid)).await;
    if suspended.is_ok() {
        tokio::time::sleep(millis(values.get("stall_ms"))).await;
    }
    thaw_store(platform).await?;
    suspended.map(|()| 1)
}

/// Lets the store continue if it is suspended.
pub(super) async fn thaw_store(platform: &Platform) -> Result<()> {
    let name = Part::Mongo.as_str();
    if platform.part(name).await?.state == PartState::Frozen {
        platform.client.act(Action::Thaw, name).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_fault_concerns_service_with_group() {
        let service = |name: &str| group_of(&Scope::Service(name.to_owned()));
        assert_eq!(service("notification").unwrap(), Group::Notification);
        for without_group in ["gateway", "recorder", "kafka", "no such"] {
            let error = service(without_group).unwrap_err().to_string();
            assert!(error.contains("has no consumer group"), "{error}");
        }
        assert!(group_of(&Scope::All).unwrap_err().to_string().contains("--service"));
    }
}

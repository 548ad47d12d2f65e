//! The running platform as the actuators see it: its parts, its broker, its gateway and its recorder. Benchmarks act on the same.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bus::disturb::Disturbance;
use contracts::parts::{Part, Ports};
use runtime::Layout;
use runtime::control::{Action, Client};
use runtime::infra::InfraPorts;
use runtime::part::{PartState, PartStatus};
use runtime::secrets::Secrets;

use super::ineffective;
use crate::checkout::Running;
use crate::player::Gateway;

/// Deadline for a part to end. Each is killed after its own deadline, which is shorter.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// Deadline for a started part to be ready.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Interval between two checks of a condition.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Client id of everything that the supervisor sends to the broker.
const CLIENT_ID: &str = "pitboss-actuators";
/// Time after which the broker's answer to a record is given up.
const PUBLISH_TIMEOUT_MS: u32 = 10_000;

/// The platform of this supervisor.
pub(crate) struct Platform {
    layout: Layout,
    pub(crate) client: Client,
}

impl Platform {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self { layout: layout.clone(), client: Client::new(layout) }
    }

    /// Returns true if faults of this platform are counted and have no effect.
    pub(super) fn is_ineffective(&self) -> bool {
        ineffective::is_any(&self.layout)
    }

    pub(super) fn ports(&self) -> Result<Ports> {
        let running = Running::of(&self.layout).context("the platform does not run")?;
        Ok(Ports::new(running.port_base)?)
    }

    pub(super) fn secrets(&self) -> Result<Secrets> {
        Secrets::load(&self.layout).context("the platform has no secrets")
    }

    /// Settings of a client of the broker.
    pub(crate) fn kafka(&self) -> Result<bus::Config> {
        Ok(bus::Config {
            bootstrap_servers: InfraPorts::from(self.ports()?).kafka_bootstrap(),
            client_id: CLIENT_ID.to_owned(),
            message_timeout_ms: PUBLISH_TIMEOUT_MS,
            ..bus::Config::default()
        })
    }

    /// The broker, as something to disturb.
    pub(super) fn broker(&self) -> Result<Disturbance> {
        Ok(Disturbance::new(self.kafka()?))
    }

    /// The gateway, for a player of our own.
    pub(super) fn gateway(&self) -> Result<Gateway> {
        let url = format!("http://127.0.0.1:{}", self.ports()?.http(Part::Gateway));
        Gateway::new(url, Some(self.secrets()?.operator_token))
    }

    pub(super) async fn part(&self, name: &str) -> Result<PartStatus> {
        let status = self.client.status().await?;
        status.part(name).cloned().with_context(|| format!("{name} is not a part of this platform"))
    }

    /// Stops a part and waits for its end. Returns false if it was stopped already.
    pub(crate) async fn stop(&self, name: &str) -> Result<bool> {
        if self.part(name).await?.state == PartState::Stopped {
            return Ok(false);
        }
        self.client.act(Action::Stop, name).await?;
        self.client.wait_state(name, &[PartState::Stopped], STOP_DEADLINE).await?;
        Ok(true)
    }

    /// Starts a part unless it runs, and waits until it is ready.
    pub(crate) async fn start(&self, name: &str) -> Result<()> {
        if self.part(name).await?.state == PartState::Ready {
            return Ok(());
        }
        self.client.act(Action::Start, name).await?;
        self.client.wait_state(name, &[PartState::Ready], READY_DEADLINE).await?;
        Ok(())
    }
}

/// Waits until a condition holds. The error names what was waited for.
pub(super) async fn wait_until(
    what: &str,
    deadline: Duration,
    mut holds: impl FnMut() -> bool,
) -> Result<()> {
    let until = Instant::now() + deadline;
    while !holds() {
        if Instant::now() > until {
            bail!("{what}: not within {} ms", deadline.as_millis());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

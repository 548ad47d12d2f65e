//! Deploys, promotes and rolls back releases on the platform of this checkout.
//!
//! What is deployed is stored before the parts change, so that an interrupted command is completed by its repetition, or by the next
//! `up`. A release whose instances do not become ready is taken back at once.

use std::time::Duration;

use anyhow::{Context as _, Result};
use contracts::Part;
use runtime::control::Client;
use runtime::pids::Lock;
use runtime::releases::{Deployments, RolledBack, further_names, shelf};
use runtime::secrets::Secrets;
use runtime::services::{self, Platform};
use runtime::{PartSpec, PartState, PartStatus, RuntimeError};

use crate::checkout::{Checkout, Running};
use crate::commands::up::READY_DEADLINE;

/// Time for an instance to finish its records and end. It is killed before, at its own limit.
const REMOVE_DEADLINE: Duration = Duration::from_secs(30);

/// The running platform of a checkout.
#[derive(Debug)]
pub struct Operator<'a> {
    checkout: &'a Checkout,
    running: Running,
    client: Client,
}

impl<'a> Operator<'a> {
    /// Finds the platform, which `./pitboss up` has started.
    ///
    /// # Errors
    /// When it does not run (exit code 69).
    pub async fn of(checkout: &'a Checkout) -> Result<Self> {
        let client = Client::new(&checkout.layout);
        client.status().await?;
        let running = checkout.running().ok_or(RuntimeError::NotRunning)?;
        Ok(Self { checkout, running, client })
    }

    /// The platform's own release.
    #[must_use]
    pub fn own_release(&self) -> &str {
        &self.running.release
    }

    /// What is deployed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn deployments(&self) -> Result<Deployments> {
        Ok(Deployments::load(&self.checkout.layout)?)
    }

    /// Lets a release run in one of so many instances, or in all of them (`None`). Returns false if it does already.
    ///
    /// # Errors
    /// When the release is unknown or does not become ready, or when something else is deployed.
    pub async fn deploy(&self, part: Part, release: &str, instances: Option<u16>) -> Result<bool> {
        let _lock = Lock::of_command(&self.checkout.layout)?;
        let before = self.deployments()?;
        let mut after = before.clone();
        let changed = match instances {
            Some(instances) => after.deploy_canary(part, release, instances, self.own_release())?,
            None => after.deploy(part, release, self.own_release())?,
        };
        if changed {
            shelf::program(&self.checkout.layout, release, part)?;
        }
        self.change(part, &before, &after).await?;
        Ok(changed)
    }

    /// Lets the release of the canary run in all instances, and returns it.
    ///
    /// # Errors
    /// When there is no canary, or the release does not become ready.
    pub async fn promote(&self, part: Part) -> Result<String> {
        let _lock = Lock::of_command(&self.checkout.layout)?;
        let before = self.deployments()?;
        let mut after = before.clone();
        let release = after.promote(part)?;
        self.change(part, &before, &after).await?;
        Ok(release)
    }

    /// Takes the canary back, or else the release that runs in all instances.
    ///
    /// # Errors
    /// When nothing is deployed, or the release before does not become ready.
    pub async fn roll_back(&self, part: Part) -> Result<RolledBack> {
        let _lock = Lock::of_command(&self.checkout.layout)?;
        let mut after = self.deployments()?;
        let rolled_back = after.roll_back(part)?;
        let specs = self.specs(part, &after)?;
        after.save(&self.checkout.layout)?;
        // Whatever fails, the release that was to go does not come back.
        self.reach(part, specs).await.context("the rollback is not complete: ./pitboss up completes it")?;
        Ok(rolled_back)
    }

    /// Brings the instances of a service to what is deployed, after a change was interrupted.
    ///
    /// # Errors
    /// When an instance does not become ready or does not end.
    pub async fn settle(&self, part: Part) -> Result<()> {
        let _lock = Lock::of_command(&self.checkout.layout)?;
        let specs = self.specs(part, &self.deployments()?)?;
        self.reach(part, specs).await.context("the instances are not those that are deployed")
    }

    /// Changes what is deployed, and takes that back if the instances do not become ready.
    async fn change(&self, part: Part, before: &Deployments, after: &Deployments) -> Result<()> {
        // A missing program is an error before anything changes.
        let specs = self.specs(part, after)?;
        after.save(&self.checkout.layout)?;
        let Err(error) = self.reach(part, specs).await else { return Ok(()) };
        let error = anyhow::Error::new(error);
        if before == after {
            // A repetition. What was deployed before is not this command's to take back.
            let advice =
                format!("the release stays deployed: ./pitboss release rollback {part} takes it back");
            return Err(error.context(advice));
        }
        before.save(&self.checkout.layout)?;
        let old = self.specs(part, before)?;
        match self.reach(part, old).await {
            Ok(()) => Err(error.context("the release was taken back")),
            Err(again) => {
                let text =
                    format!("the release is taken back, but the one before is not complete either: {again}");
                Err(error.context(text))
            }
        }
    }

    fn specs(&self, part: Part, deployments: &Deployments) -> Result<Vec<PartSpec>> {
        let Checkout { layout, receiver, .. } = self.checkout;
        let secrets = Secrets::load(layout).context("the platform's secrets are missing")?;
        let platform = Platform {
            layout,
            ports: self.checkout.ports()?,
            secrets: &secrets,
            release: &self.running.release,
            user_variables: &self.checkout.service_variables(),
            receiver: *receiver,
            spotlight: self.running.spotlight,
        };
        Ok(services::prepare_all(part, &platform, deployments)?)
    }

    /// Starts what is missing, and then removes what is too much.
    async fn reach(&self, part: Part, specs: Vec<PartSpec>) -> Result<(), RuntimeError> {
        let planned: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let status = self.client.status().await?;
        // The first instance restarts only for another release. Another setting of this terminal is no reason.
        let must_start = |spec: &PartSpec| {
            let first = status.part(&spec.name).filter(|_| spec.name == part.as_str());
            first.is_none_or(|first| !stays(first, &spec.version))
        };
        let specs: Vec<PartSpec> = specs.into_iter().filter(must_start).collect();
        if !specs.is_empty() {
            let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
            self.client.apply(specs, true).await?;
            self.client.wait_ready(&names, READY_DEADLINE, |_| {}).await?;
        }
        for name in further_names(part).into_iter().filter(|name| !planned.contains(name)) {
            self.client.remove(&name, REMOVE_DEADLINE).await?;
        }
        Ok(())
    }
}

/// Returns true if a part is of this version and remains so. One that stops or waits has the version of its last process, and may
/// start as another one.
fn stays(part: &PartStatus, version: &str) -> bool {
    part.version == version && !matches!(part.state, PartState::Stopping | PartState::Waiting)
}

#[cfg(test)]
mod tests {
    use runtime::Kind;

    use super::*;

    #[test]
    fn part_that_may_start_as_another_release_does_not_stay() {
        let part = |state| PartStatus {
            name: "analytics".to_owned(),
            kind: Kind::Service,
            address: String::new(),
            pid: None,
            version: "0.1.0".to_owned(),
            state,
            memory_bytes: 0,
            restarts: 0,
            last_exit: None,
        };
        for state in [PartState::Ready, PartState::Unready, PartState::Frozen, PartState::Stopped] {
            assert!(stays(&part(state), "0.1.0"), "{state:?}");
            assert!(!stays(&part(state), "0.2.0"), "{state:?}");
        }
        for state in [PartState::Stopping, PartState::Waiting] {
            assert!(
                !stays(&part(state), "0.1.0"),
                "{state:?}: the next process may be of a release that failed"
            );
        }
    }
}

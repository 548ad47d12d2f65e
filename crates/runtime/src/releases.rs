//! Releases of single services: which of them run in place of the platform's own programs, and which beside them.
//!
//! [`Deployments`] is the memory of `./pitboss release`: a file in the state folder, so that the next `up` starts what was deployed.
//! Its changes are pure. [`shelf`] keeps the programs. [`crate::services::prepare_all`] makes parts of both.

pub mod shelf;

use std::collections::BTreeMap;
use std::path::PathBuf;

use contracts::parts::{FURTHER_INSTANCES_MAX, Part, Ports};
use serde::{Deserialize, Serialize};

use crate::layout::{private_folder, write_private};
use crate::{Layout, RuntimeError};

/// The fewest instances with a canary: one of each release.
pub const INSTANCES_MIN: u16 = 2;
/// The most instances with a canary.
pub const INSTANCES_MAX: u16 = FURTHER_INSTANCES_MAX + 1;
/// Number of releases of one service that are remembered for a rollback.
const PROMOTED_MAX: usize = 10;

/// What was deployed, of all services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployments {
    /// By the name of the service. A service that is missing runs the platform's own release.
    #[serde(default)]
    services: BTreeMap<String, Deployment>,
}

/// What was deployed, of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// Releases that replaced the platform's own one, each in place of the one before. The last one runs. Empty: the platform's.
    #[serde(default)]
    pub promoted: Vec<String>,
    /// Release that runs beside it.
    #[serde(default)]
    pub canary: Option<Canary>,
}

/// A release in one of several instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// The release.
    pub release: String,
    /// Instances of the service with the canary, from [`INSTANCES_MIN`] to [`INSTANCES_MAX`]. The others run the release before.
    pub instances: u16,
}

/// A rollback: the release that runs no more, and the one that runs instead. `None` is the platform's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack {
    /// The release that was taken back.
    pub from: String,
    /// The release that runs in all instances now.
    pub to: Option<String>,
    /// It was a canary.
    pub was_canary: bool,
}

/// Reason why a deployment does not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeployError {
    /// The service cannot run more than once here.
    #[error("{0} runs once only: releases are for {known}", known = deployable_names())]
    NotDeployable(Part),
    /// The release runs in all instances.
    #[error("{release} already runs in all instances of {service}")]
    Runs {
        /// The service.
        service: Part,
        /// The release.
        release: String,
    },
    /// Another release is being tried out.
    #[error(
        "{service} already has the canary {release}: first ./pitboss release promote {service}, or ./pitboss release rollback {service}"
    )]
    OtherCanary {
        /// The service.
        service: Part,
        /// The release of its canary.
        release: String,
    },
    /// The canary has another share already.
    #[error(
        "the canary of {service} is one of {instances} instances already: roll it back before you give it another share"
    )]
    OtherShare {
        /// The service.
        service: Part,
        /// Its instances.
        instances: u16,
    },
    /// There is no canary.
    #[error(
        "{0} has no canary, so there is nothing to promote: ./pitboss release deploy {0} --release R --canary 50"
    )]
    NothingToPromote(Part),
    /// The platform's own release runs.
    #[error("{0} runs the platform's own release, so there is nothing to roll back")]
    NothingToRollBack(Part),
}

/// Services of which another release can run.
#[must_use]
pub fn deployable() -> Vec<Part> {
    let can = |part: &Part| Ports::default().further(*part, 0).is_some();
    Part::SERVICES.iter().copied().filter(can).collect()
}

fn deployable_names() -> String {
    deployable().iter().map(|part| part.as_str()).collect::<Vec<_>>().join(", ")
}

/// Names of the parts that can run beside the first instance of a service, by their slot. The first one is the canary's.
#[must_use]
pub fn further_names(part: Part) -> Vec<String> {
    let beside = (2..=FURTHER_INSTANCES_MAX).map(|number| format!("{part}-{number}"));
    std::iter::once(format!("{part}-canary")).chain(beside).collect()
}

impl Deployment {
    /// Release that replaced the platform's own one.
    #[must_use]
    pub fn current(&self) -> Option<&str> {
        self.promoted.last().map(String::as_str)
    }

    fn is_nothing(&self) -> bool {
        self.promoted.is_empty() && self.canary.is_none()
    }
}

impl Deployments {
    /// Reads what was deployed. Nothing was if there is no file.
    ///
    /// # Errors
    /// When the file cannot be read. To guess would start other programs than those that were deployed.
    pub fn load(layout: &Layout) -> Result<Self, RuntimeError> {
        let path = deployments_file(layout);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(RuntimeError::file("read", &path)(error)),
        };
        serde_json::from_slice(&text).map_err(|error| {
            let path = path.display();
            RuntimeError::Refused(format!(
                "{path} is damaged: delete it to run the platform's own releases ({error})"
            ))
        })
    }

    /// Stores what was deployed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, layout: &Layout) -> Result<(), RuntimeError> {
        private_folder(&layout.releases())?;
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| RuntimeError::Refused(format!("the deployments are no JSON: {error}")))?;
        write_private(&deployments_file(layout), &text)
    }

    /// What was deployed of a service.
    #[must_use]
    pub fn of(&self, part: Part) -> Deployment {
        self.services.get(part.as_str()).cloned().unwrap_or_default()
    }

    /// All releases that run, or to which a rollback leads.
    pub fn releases(&self) -> impl Iterator<Item = &str> {
        self.services.values().flat_map(|deployment| {
            let canary = deployment.canary.iter().map(|canary| canary.release.as_str());
            deployment.promoted.iter().map(String::as_str).chain(canary)
        })
    }

    /// Lets a release run in one of `instances` instances. Returns false if it does already.
    ///
    /// # Errors
    /// When the service runs once only, the release runs everywhere, or another canary runs.
    pub fn deploy_canary(
        &mut self,
        part: Part,
        release: &str,
        instances: u16,
        own_release: &str,
    ) -> Result<bool, DeployError> {
        let deployment = self.checked(part)?;
        if deployment.current().unwrap_or(own_release) == release {
            return Err(DeployError::Runs { service: part, release: release.to_owned() });
        }
        let instances = instances.clamp(INSTANCES_MIN, INSTANCES_MAX);
        match &deployment.canary {
            Some(canary) if canary.release != release => {
                return Err(DeployError::OtherCanary { service: part, release: canary.release.clone() });
            }
            Some(canary) if canary.instances != instances => {
                return Err(DeployError::OtherShare { service: part, instances: canary.instances });
            }
            Some(_) => return Ok(false),
            None => {}
        }
        self.change(part, |deployment| {
            deployment.canary = Some(Canary { release: release.to_owned(), instances });
        });
        Ok(true)
    }

    /// Lets a release run in all instances. Returns false if it does already.
    ///
    /// # Errors
    /// When the service runs once only, or a canary of another release runs.
    pub fn deploy(&mut self, part: Part, release: &str, own_release: &str) -> Result<bool, DeployError> {
        let deployment = self.checked(part)?;
        match &deployment.canary {
            Some(canary) if canary.release != release => {
                return Err(DeployError::OtherCanary { service: part, release: canary.release.clone() });
            }
            None if deployment.current().unwrap_or(own_release) == release => return Ok(false),
            _ => {}
        }
        self.change(part, |deployment| replace(deployment, release));
        Ok(true)
    }

    /// Lets the release of the canary run in all instances, and returns it.
    ///
    /// # Errors
    /// When there is no canary.
    pub fn promote(&mut self, part: Part) -> Result<String, DeployError> {
        let Some(Canary { release, .. }) = self.checked(part)?.canary else {
            return Err(DeployError::NothingToPromote(part));
        };
        self.change(part, |deployment| replace(deployment, &release));
        Ok(release)
    }

    /// Takes the last step back: the canary if there is one, otherwise the release that runs everywhere.
    ///
    /// # Errors
    /// When the platform's own release runs, and no other.
    pub fn roll_back(&mut self, part: Part) -> Result<RolledBack, DeployError> {
        let mut deployment = self.checked(part)?;
        let canary = deployment.canary.take();
        let was_canary = canary.is_some();
        let from = canary.map(|canary| canary.release).or_else(|| deployment.promoted.pop());
        let Some(from) = from else { return Err(DeployError::NothingToRollBack(part)) };
        let to = deployment.current().map(str::to_owned);
        self.change(part, |changed| *changed = deployment);
        Ok(RolledBack { from, to, was_canary })
    }

    fn checked(&self, part: Part) -> Result<Deployment, DeployError> {
        if deployable().contains(&part) { Ok(self.of(part)) } else { Err(DeployError::NotDeployable(part)) }
    }

    fn change(&mut self, part: Part, change: impl FnOnce(&mut Deployment)) {
        let deployment = self.services.entry(part.as_str().to_owned()).or_default();
        change(deployment);
        if deployment.is_nothing() {
            self.services.remove(part.as_str());
        }
    }
}

/// Makes a release the one of all instances. The oldest of too many is forgotten.
fn replace(deployment: &mut Deployment, release: &str) {
    deployment.canary = None;
    deployment.promoted.push(release.to_owned());
    if deployment.promoted.len() > PROMOTED_MAX {
        deployment.promoted.remove(0);
    }
}

/// File of what was deployed.
pub(crate) fn deployments_file(layout: &Layout) -> PathBuf {
    layout.releases().join("deployments.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "pitboss@0.1.0";
    const NEW: &str = "pitboss@0.2.0";
    const PART: Part = Part::Analytics;

    fn deployed(canary: u16) -> Deployments {
        let mut deployments = Deployments::default();
        assert_eq!(deployments.deploy_canary(PART, NEW, canary, OWN), Ok(true));
        deployments
    }

    #[test]
    fn canary_is_promoted_and_rolled_back_step_by_step() {
        let mut deployments = deployed(3);
        assert_eq!(deployments.of(PART).canary, Some(Canary { release: NEW.to_owned(), instances: 3 }));
        assert_eq!(deployments.of(PART).current(), None, "the others run the platform's own release");
        assert_eq!(deployments.promote(PART), Ok(NEW.to_owned()));
        assert_eq!((deployments.of(PART).current(), deployments.of(PART).canary), (Some(NEW), None));
        assert_eq!(deployments.deploy_canary(PART, "pitboss@0.3.0", 2, OWN), Ok(true));
        let back = |to: Option<&str>, from: &str, was_canary| RolledBack {
            from: from.to_owned(),
            to: to.map(str::to_owned),
            was_canary,
        };
        assert_eq!(deployments.roll_back(PART), Ok(back(Some(NEW), "pitboss@0.3.0", true)));
        assert_eq!(deployments.roll_back(PART), Ok(back(None, NEW, false)));
        assert_eq!(deployments, Deployments::default());
        assert_eq!(deployments.roll_back(PART), Err(DeployError::NothingToRollBack(PART)));
    }

    #[test]
    fn repetition_changes_nothing() {
        let mut deployments = deployed(2);
        let before = deployments.clone();
        assert_eq!(deployments.deploy_canary(PART, NEW, 2, OWN), Ok(false));
        assert_eq!(deployments.deploy_canary(PART, NEW, 0, OWN), Ok(false), "there are at least two");
        assert_eq!(deployments, before);
        assert_eq!(deployments.deploy(PART, NEW, OWN), Ok(true), "the canary becomes the release of all");
        assert_eq!(deployments.deploy(PART, NEW, OWN), Ok(false));
        assert_eq!(Deployments::default().deploy(PART, OWN, OWN), Ok(false));
    }

    #[test]
    fn contradictions_are_refused_with_the_next_command() {
        let mut deployments = deployed(2);
        let before = deployments.clone();
        let refused = |error: DeployError| error.to_string();
        let other = deployments.deploy_canary(PART, "pitboss@0.3.0", 2, OWN).unwrap_err();
        assert!(refused(other).contains("./pitboss release promote analytics"));
        let other = deployments.deploy(PART, "pitboss@0.3.0", OWN).unwrap_err();
        assert_eq!(other, DeployError::OtherCanary { service: PART, release: NEW.to_owned() });
        let share = deployments.deploy_canary(PART, NEW, 4, OWN).unwrap_err();
        assert_eq!(share, DeployError::OtherShare { service: PART, instances: 2 });
        let runs = Deployments::default().deploy_canary(PART, OWN, 2, OWN).unwrap_err();
        assert_eq!(runs, DeployError::Runs { service: PART, release: OWN.to_owned() });
        let nothing = Deployments::default().promote(PART).unwrap_err();
        assert!(refused(nothing).contains("nothing to promote"));
        let once = deployments.deploy(Part::Recorder, NEW, OWN).unwrap_err();
        assert_eq!(
            refused(once),
            "recorder runs once only: releases are for user, game, payment, analytics, notification"
        );
        assert_eq!(deployments, before, "a refusal changes nothing");
    }

    #[test]
    fn history_is_bounded() {
        let mut deployments = Deployments::default();
        for number in 0..100 {
            assert_eq!(deployments.deploy(PART, &format!("pitboss@1.{number}.0"), OWN), Ok(true));
        }
        let promoted = deployments.of(PART).promoted;
        assert_eq!((promoted.len(), promoted.last().unwrap().as_str()), (PROMOTED_MAX, "pitboss@1.99.0"));
    }

    #[test]
    fn deployments_survive_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        assert_eq!(Deployments::load(&layout).unwrap(), Deployments::default());
        let deployments = deployed(4);
        deployments.save(&layout).unwrap();
        assert_eq!(Deployments::load(&layout).unwrap(), deployments);
        assert_eq!(deployments.releases().collect::<Vec<_>>(), [NEW]);
        std::fs::write(deployments_file(&layout), "{\"services\": 1}").unwrap();
        let damaged = Deployments::load(&layout).unwrap_err().to_string();
        assert!(damaged.contains("is damaged"), "{damaged}");
    }

    #[test]
    fn every_instance_has_ports() {
        for part in deployable() {
            for (slot, name) in (0..).zip(further_names(part)) {
                assert!(Ports::default().further(part, slot).is_some(), "{name}");
            }
        }
        let names = further_names(PART);
        assert_eq!(names, ["analytics-canary", "analytics-2", "analytics-3"]);
        assert_eq!(names.len(), usize::from(INSTANCES_MAX) - 1);
    }
}

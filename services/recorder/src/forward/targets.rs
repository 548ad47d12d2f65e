//! Reads the targets of copies from the configuration and from `PITBOSS_FORWARD_DSN_<SERVICE>`.

use std::{collections::BTreeMap, ffi::OsString};

use chassis::config::Secret;

use crate::{projects::Projects, protocol::auth::Dsn};

/// Prefix of the environment variables. The project's name follows in capitals, with `_` for `-`.
const VARIABLE: &str = "PITBOSS_FORWARD_DSN_";

/// Destination of the copies of one project.
#[derive(Clone, Debug)]
pub struct Target {
    /// Numeric id of the project in the recorder.
    pub project: u32,
    /// Name of the project.
    pub name: String,
    /// DSN of the project in the target Sentry.
    pub dsn: Dsn,
}

/// Setting that cannot be used. The error does not contain the DSN, because it may be a secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The setting names an unknown project.
    #[error("{0}: no project has this name")]
    Project(String),
    /// The value is not a DSN.
    #[error("{0}: the value is not a DSN")]
    Dsn(String),
}

/// Returns the targets from the configuration and from the environment, which takes precedence.
pub fn targets(
    configured: &BTreeMap<String, Secret>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    projects: &Projects,
) -> Result<Vec<Target>, TargetError> {
    let mut dsns: BTreeMap<u32, (String, String)> = BTreeMap::new();
    for (name, dsn) in configured.iter().filter(|(_, dsn)| !dsn.is_empty()) {
        let id = projects.find(name).ok_or_else(|| TargetError::Project(format!("forward.{name}")))?;
        dsns.insert(id, (format!("forward.{name}"), dsn.expose().to_owned()));
    }
    for (variable, dsn) in environment {
        let (Ok(variable), Ok(dsn)) = (variable.into_string(), dsn.into_string()) else { continue };
        let Some(service) = variable.strip_prefix(VARIABLE) else { continue };
        if dsn.is_empty() {
            continue;
        }
        let project = projects.all().find(|project| project.name.to_uppercase().replace('-', "_") == service);
        let id = project.map(|project| project.id).ok_or_else(|| TargetError::Project(variable.clone()))?;
        dsns.insert(id, (variable, dsn));
    }
    dsns.into_iter()
        .map(|(project, (setting, dsn))| {
            let dsn = Dsn::parse(&dsn).ok_or(TargetError::Dsn(setting))?;
            Ok(Target { project, name: projects.name(project), dsn })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projects::Project;

    #[test]
    fn environment_wins_and_errors_name_setting() {
        let project = Project { id: 10, name: "player-web".into(), public_key: "aa".into() };
        let projects = Projects::new(vec![project]).expect("projects");
        let environment = |value: &str| {
            vec![(OsString::from("PITBOSS_FORWARD_DSN_PLAYER_WEB"), OsString::from(value))].into_iter()
        };
        let configured =
            BTreeMap::from([("player-web".to_owned(), Secret::from("https://k1@one.example/1"))]);
        let found =
            targets(&configured, environment("https://k2@two.example/2"), &projects).expect("a target");
        assert_eq!((found.len(), found[0].dsn.key.as_str(), found[0].project), (1, "k2", 10));
        let found = targets(&configured, environment(""), &projects).expect("a target");
        assert_eq!(found[0].dsn.key, "k1");

        let variable = "PITBOSS_FORWARD_DSN_PLAYER_WEB".to_owned();
        let wrong = targets(&BTreeMap::new(), environment("nonsense"), &projects);
        assert_eq!(wrong.expect_err("no DSN"), TargetError::Dsn(variable));
        let unknown = BTreeMap::from([("unknown".to_owned(), Secret::from("https://k1@one.example/1"))]);
        assert!(matches!(targets(&unknown, environment(""), &projects), Err(TargetError::Project(_))));
    }
}

//! Projects that may send: numeric id, name and public key, from one JSON file.

use std::{collections::HashMap, fs, path::Path};

use serde::Deserialize;

use crate::protocol::NO_PROJECT;

/// Longest accepted key. Our DSNs have 32 hexadecimal digits, but other alphanumeric keys are accepted too.
const KEY_BYTES_MAX: usize = 64;

/// One project.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The number at the end of its DSN.
    pub id: u32,
    /// The service's name.
    pub name: String,
    /// The user part of its DSN.
    pub public_key: String,
}

/// Error of loading the projects.
#[derive(Debug, thiserror::Error)]
pub enum ProjectsError {
    /// The file cannot be read.
    #[error("cannot read the projects file: {0}")]
    Read(#[from] std::io::Error),
    /// The file is not a list of projects.
    #[error("the projects file is not a list of {{id, name, public_key}}: {0}")]
    Parse(#[from] serde_json::Error),
    /// Two projects share an id, name or key, or a field is unusable.
    #[error("the projects file is invalid: {0}")]
    Content(String),
}

/// All projects, by id and by key.
#[derive(Clone, Debug)]
pub struct Projects {
    by_id: HashMap<u32, Project>,
    by_key: HashMap<String, u32>,
}

impl Projects {
    /// Reads and checks the file.
    pub fn load(path: &Path) -> Result<Self, ProjectsError> {
        Self::new(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// Checks a list of projects.
    pub fn new(projects: Vec<Project>) -> Result<Self, ProjectsError> {
        let (mut by_id, mut by_key, mut names) = (HashMap::new(), HashMap::new(), HashMap::new());
        for project in projects {
            let Project { id, name, public_key } = &project;
            let key_is_sane = (1..=KEY_BYTES_MAX).contains(&public_key.len())
                && public_key.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if name.is_empty() || !key_is_sane {
                return Err(ProjectsError::Content(format!("project {id} has an invalid name or key")));
            }
            if *id == NO_PROJECT {
                return Err(ProjectsError::Content(format!(
                    "project {name} has the id {NO_PROJECT}, which is the recorder's own"
                )));
            }
            let doubled = by_key.insert(public_key.clone(), *id).is_some()
                || names.insert(name.clone(), *id).is_some()
                || by_id.contains_key(id);
            if doubled {
                return Err(ProjectsError::Content(format!(
                    "project {id} shares its id, name or key with another project"
                )));
            }
            by_id.insert(*id, project);
        }
        Ok(Self { by_id, by_key })
    }

    /// Returns the project of a key.
    #[must_use]
    pub fn find_by_key(&self, key: &str) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// Returns the project's name, or its number when the file does not contain it any more.
    #[must_use]
    pub fn name(&self, id: u32) -> String {
        self.by_id.get(&id).map_or_else(|| id.to_string(), |project| project.name.clone())
    }

    /// Returns the project that a query names, by name or by number.
    #[must_use]
    pub fn find(&self, name_or_id: &str) -> Option<u32> {
        let named = self.by_id.values().find(|project| project.name == name_or_id).map(|project| project.id);
        named.or_else(|| name_or_id.parse().ok().filter(|id| self.by_id.contains_key(id)))
    }

    /// Returns all projects.
    pub fn all(&self) -> impl Iterator<Item = &Project> {
        self.by_id.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_found_and_conflicts_refused() {
        let project =
            |id: u32, name: &str, key: &str| Project { id, name: name.into(), public_key: key.into() };
        let projects =
            Projects::new(vec![project(1, "gateway", "aa"), project(4, "payment", "bb")]).expect("fine");
        assert_eq!(projects.find_by_key("bb"), Some(4));
        assert_eq!(projects.find_by_key("cc"), None);
        assert_eq!((projects.name(4), projects.name(9)), ("payment".to_owned(), "9".to_owned()));
        assert_eq!(
            (projects.find("payment"), projects.find("1"), projects.find("9")),
            (Some(4), Some(1), None)
        );
        for broken in [
            vec![project(1, "a", "aa"), project(1, "b", "bb")],
            vec![project(1, "a", "aa"), project(2, "a", "bb")],
            vec![project(1, "a", "aa"), project(2, "b", "aa")],
            vec![project(1, "", "aa")],
            vec![project(0, "a", "aa")],
            vec![project(1, "a", "a a")],
        ] {
            assert!(Projects::new(broken).is_err());
        }
    }
}

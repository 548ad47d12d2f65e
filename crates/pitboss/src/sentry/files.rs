//! Reads `deploy/sentry/`.

use std::path::{Path, PathBuf};

use rules::{FoldsFile, RulesFile};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::model::{Alert, CronMonitor, Dashboard, Definitions, JobMonitor, Projects};

/// Folder of the files in a checkout.
pub const FOLDER: &str = "deploy/sentry";
/// Folder of the dashboards in it.
const DASHBOARDS: &str = "dashboards";
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Largest number of dashboards.
const DASHBOARDS_MAX: usize = 50;

/// A file that cannot be used. The text names the file, what is wrong in it, and what is allowed there.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("{} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no TOML, or has an unknown key or value.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Line, key, and what is allowed.
        problem: String,
    },
    /// There are too many dashboards.
    #[error("{} has more than {DASHBOARDS_MAX} dashboards", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Monitors {
    #[serde(rename = "monitor")]
    list: Vec<CronMonitor>,
    #[serde(rename = "job")]
    jobs: Vec<JobMonitor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alerts {
    #[serde(rename = "alert")]
    list: Vec<Alert>,
}

/// Reads all files of the folder. Dashboards are in the order of their files' names.
///
/// # Errors
/// The first file that cannot be used.
pub fn load(folder: &Path) -> Result<Definitions, FilesError> {
    let Monitors { list: monitors, jobs } = read(&folder.join("monitors.toml"))?;
    Ok(Definitions {
        projects: read::<Projects>(&folder.join("projects.toml"))?,
        monitors,
        jobs,
        rules: read::<RulesFile>(&folder.join("rules.toml"))?.list,
        alerts: read::<Alerts>(&folder.join("alerts.toml"))?.list,
        folds: read::<FoldsFile>(&folder.join("folds.toml"))?.list,
        dashboards: dashboards(&folder.join(DASHBOARDS))?,
    })
}

fn dashboards(folder: &Path) -> Result<Vec<Dashboard>, FilesError> {
    let unreadable = |source| FilesError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
        if files.len() > DASHBOARDS_MAX {
            return Err(FilesError::TooMany { path: folder.to_owned() });
        }
    }
    files.sort_unstable();
    files.iter().map(|path| read(path)).collect()
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, FilesError> {
    let unreadable = |source| FilesError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(FilesError::TooLarge { path: path.to_owned() });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    toml::from_str(&text)
        .map_err(|error| FilesError::Content { path: path.to_owned(), problem: error.to_string() })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The declarations of this checkout.
    pub(crate) fn declared() -> Definitions {
        load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(FOLDER)).unwrap()
    }

    /// A copy of this checkout's files, in which one text of one file is replaced.
    fn with_change(file: &str, from: &str, to: &str) -> Result<Definitions, FilesError> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(FOLDER);
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join(DASHBOARDS)).unwrap();
        for folder in ["", DASHBOARDS] {
            for entry in std::fs::read_dir(source.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let name = path.file_name().unwrap();
                    std::fs::copy(&path, copy.path().join(folder).join(name)).unwrap();
                }
            }
        }
        let changed = copy.path().join(file);
        let text = std::fs::read_to_string(&changed).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(&changed, text.replacen(from, to, 1)).unwrap();
        load(copy.path())
    }

    #[test]
    fn files_of_this_checkout_are_read() {
        let definitions = declared();
        assert_eq!((definitions.monitors.len(), definitions.jobs.len()), (5, 10));
        assert!(definitions.rules.len() >= 7 && definitions.dashboards.len() >= 5);
        assert_eq!(&definitions.rules, &rules::declared().rules, "the embedded rules are those of the file");
        assert_eq!(&definitions.folds, &rules::declared().folds);
        assert!(!definitions.alerts.is_empty() && !definitions.projects.fingerprints.is_empty());
        assert_eq!(with_change("rules.toml", "severity", "severity").unwrap(), definitions);
    }

    #[test]
    fn unknown_key_names_file_key_and_allowed_keys() {
        for (file, from, to, expected) in [
            (
                "rules.toml",
                "window_s",
                "window_ms",
                vec!["rules.toml", "window_ms", "`window_s`", "`firing`"],
            ),
            ("folds.toml", "period_min = ", "period_s = ", vec!["folds.toml", "period_s", "`period_min`"]),
            ("alerts.toml", "check_ins", "detectors", vec!["alerts.toml", "detectors", "`check_ins`"]),
            ("monitors.toml", "margin_min", "margin", vec!["monitors.toml", "margin", "`margin_min`"]),
            ("projects.toml", "platform", "plattform", vec!["projects.toml", "plattform", "`platform`"]),
            ("dashboards/lag.toml", "size", "width", vec!["lag.toml", "width", "`size`"]),
        ] {
            let error = with_change(file, from, to).unwrap_err().to_string();
            for text in expected {
                assert!(error.contains(text), "{text} is missing: {error}");
            }
        }
    }

    #[test]
    fn unknown_value_names_the_allowed_ones() {
        for (file, from, to, expected) in [
            ("rules.toml", "\"payments.ended\"", "\"payments.end\"", "there is no metric `payments.end`"),
            ("rules.toml", "p95-duration-ms", "p99-duration-ms", "`failure-rate`"),
            ("rules.toml", "{ above = 0.05 }", "{ over = 0.05 }", "`above`"),
            ("monitors.toml", "\"game\"", "\"games\"", "expected one of game, payment"),
            ("alerts.toml", "active-members", "everybody", "`all-members`"),
        ] {
            let error = with_change(file, from, to).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected} is missing: {error}");
        }
    }
}

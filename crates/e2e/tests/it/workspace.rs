//! Shape of the workspace: dependencies between crates, imports of a `domain/`, length of files, profiles.

mod alert_rules;
mod bare_chain;
mod compose;
mod counted_events;
mod deadlines;
mod dependency_rule;
mod domain_is_pure;
mod fault_ids;
mod fetches;
mod log_fields;
pub(crate) mod names;
mod ports;
mod profiles;
mod promtool;
mod regression_feature;
mod sizes;
mod statements;

use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace's root")
}

/// Every `.rs` file under `folder`, at any depth.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

//! The declared names of Pitboss' telemetry, `schemas/names.json`, as they were when this program was built.

use std::collections::BTreeSet;

use serde::Deserialize;

/// The file: a list of names for each kind.
pub(crate) const FILE: &str = include_str!("../../../schemas/names.json");

/// The names that queries use, by kind.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct DeclaredNames {
    /// Ops of spans.
    pub(crate) span_ops: BTreeSet<String>,
    /// Attributes of spans.
    pub(crate) span_attributes: BTreeSet<String>,
    /// Metrics that reach Sentry.
    pub(crate) metrics: BTreeSet<String>,
    /// Their labels.
    pub(crate) metric_labels: BTreeSet<String>,
}

impl DeclaredNames {
    /// Reads the file.
    ///
    /// # Errors
    /// When the file that this program was built with is no catalogue.
    pub(crate) fn read() -> serde_json::Result<Self> {
        serde_json::from_str(FILE)
    }
}

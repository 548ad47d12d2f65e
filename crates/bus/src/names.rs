//! Translation between catalogue names and the broker's names of topics and groups.
//!
//! A namespace lets many tests share one broker. Identities (`record_id`) use the catalogue name, so they do not depend on it.

use std::sync::Arc;

/// Translates topic and group names at the edge. All other code uses catalogue names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    prefix: Option<Arc<str>>,
}

impl Names {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { prefix: (!namespace.is_empty()).then(|| format!("{namespace}.").into()) }
    }

    /// Returns the broker's name for a catalogue name.
    pub(crate) fn physical(&self, logical: &str) -> String {
        match &self.prefix {
            Some(prefix) => format!("{prefix}{logical}"),
            None => logical.to_owned(),
        }
    }

    /// Returns the catalogue name for a broker's name.
    pub(crate) fn logical<'a>(&self, physical: &'a str) -> &'a str {
        match &self.prefix {
            Some(prefix) => physical.strip_prefix(prefix.as_ref()).unwrap_or(physical),
            None => physical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn physical_name_translates_back() {
        for namespace in ["", "test-1"] {
            let names = Names::new(namespace);
            assert_eq!(names.logical(&names.physical("casino.bets.commands.v1")), "casino.bets.commands.v1");
        }
        assert_eq!(Names::new("t").physical("x"), "t.x");
    }
}

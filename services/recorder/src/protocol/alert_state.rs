//! States of alerts. The recorder stores each change in its own journal, as an envelope with one item, so that an index that is rebuilt
//! has the same alerts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::alerting::{Alert, Condition};

/// Item type of stored states.
pub const ALERT_STATE: &str = "alert_state";

/// What an evaluation changed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct StoredAlerts {
    /// Everything up to this `seq` was evaluated.
    pub upto: u64,
    /// All conditions that are not good, by their keys.
    pub conditions: BTreeMap<String, Condition>,
    /// The alerts that changed.
    pub alerts: Vec<Alert>,
}

impl StoredAlerts {
    /// Reads stored states. `None` for those of another version of the recorder.
    pub(super) fn parse(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        body,
        domain::alerting::Phase,
        journal::{Body, BodyKind, Encoding},
        protocol::{NO_PROJECT, digest::digest, envelope::Envelope},
    };

    #[test]
    fn only_the_recorder_itself_stores_alerts() {
        let condition = Condition { phase: Phase::Firing, since: 1.5, value: Some(2.0) };
        let conditions = BTreeMap::from([("lag-seconds in lagwatch".to_owned(), condition)]);
        let stored = StoredAlerts { upto: 7, conditions, alerts: Vec::new() };
        let json = serde_json::to_string(&stored).expect("JSON");
        let body = format!("{{}}\n{{\"type\":\"{ALERT_STATE}\"}}\n{json}\n");
        let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
        assert_eq!(digest(NO_PROJECT, 1.0, &envelope).alerts, [stored]);
        assert!(digest(3, 1.0, &envelope).alerts.is_empty(), "a sender has no alerts");
    }

    #[test]
    fn large_state_is_read_again_from_the_journal() {
        let condition = |number: u32| (format!("check-in job-{number} in game"), Condition::default());
        let stored =
            StoredAlerts { upto: 7, conditions: (0..5_000).map(condition).collect(), alerts: Vec::new() };
        let json = serde_json::to_string(&stored).expect("JSON");
        let text = format!("{{}}\n{{\"type\":\"{ALERT_STATE}\"}}\n{json}\n").into_bytes();
        assert!(text.len() > 2 * body::SMALL_BYTES, "a small one is always read");
        let stored_body: Body = text.into();
        let limits = body::Limits { envelope_bytes_max: 1 << 22, memory_bytes_max: 1 << 22 };
        let opened =
            body::open(BodyKind::Envelope, Encoding::Identity, &stored_body, limits).expect("a body");
        let envelope = opened.envelope().expect("an envelope");
        assert_eq!(digest(NO_PROJECT, 1.0, &envelope).alerts, [stored]);
    }
}

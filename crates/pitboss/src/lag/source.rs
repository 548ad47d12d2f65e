//! Source of lag readings: lagwatch of a running platform, or a broker.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use bus::lag::{GroupStatus, PartitionLag, Reader};
use contracts::Group;
use contracts::parts::Part;
use runtime::RuntimeError;
use serde::{Deserialize, Serialize};

use crate::broker;
use crate::target::Target;

/// One reading, in the form of lagwatch's answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct LagReading {
    /// Lag of each group on each of its partitions.
    pub groups: Vec<PartitionLag>,
    /// State of each group.
    pub states: Vec<GroupStatus>,
    /// Number of the reading since its reader started.
    pub number: u64,
    /// Time from the reader's first reading to this one.
    pub watched_s: u64,
    /// Age of the reading.
    pub age_ms: u64,
}

impl LagReading {
    /// Leaves only one group, and only topics whose name contains `topic`.
    pub fn retain(&mut self, group: Option<Group>, topic: Option<&str>) {
        let is_wanted = |name: &str| group.is_none_or(|group| group.as_str() == name);
        self.states.retain(|status| is_wanted(&status.group));
        self.groups
            .retain(|lag| is_wanted(&lag.group) && topic.is_none_or(|topic| lag.topic.contains(topic)));
    }
}

/// A reader of lag.
pub enum Source {
    /// The service lagwatch, which remembers when it first saw each record.
    Lagwatch {
        /// URL of its answer.
        url: String,
        /// Client that asks it.
        http: reqwest::Client,
    },
    /// A broker, read by this process.
    Broker {
        /// Its reader.
        reader: Arc<Reader>,
        /// Its configuration.
        kafka: Box<bus::Config>,
        /// Time of the first reading.
        first_at: Option<Instant>,
        /// Number of the last reading.
        number: u64,
    },
}

impl Source {
    /// Returns the source for a running platform.
    ///
    /// # Errors
    /// When the address of lagwatch cannot be derived.
    pub fn lagwatch(target: &Target) -> Result<Self> {
        let Some(base) = target.service_url(Part::Lagwatch) else {
            bail!(
                "lagwatch's address cannot be derived from the gateway's: add --bootstrap-servers HOST:PORT"
            );
        };
        Ok(Self::Lagwatch { url: format!("{base}/api/v1/lag"), http: target.http().clone() })
    }

    /// Returns the source for a broker.
    ///
    /// # Errors
    /// When the configuration is invalid.
    pub fn broker(kafka: bus::Config) -> Result<Self> {
        let reader = Arc::new(Reader::new(&kafka, Group::ALL)?);
        Ok(Self::Broker { reader, kafka: Box::new(kafka), first_at: None, number: 0 })
    }

    /// Says who has watched the partitions.
    #[must_use]
    pub const fn watcher(&self) -> &'static str {
        match self {
            Self::Lagwatch { .. } => "lagwatch",
            Self::Broker { .. } => "this command (an age without the broker's time counts from its start)",
        }
    }

    /// Reads the present lag.
    ///
    /// # Errors
    /// When lagwatch or the broker does not answer (exit code 69), or lagwatch has no recent reading.
    pub async fn read(&mut self) -> Result<LagReading> {
        match self {
            Self::Lagwatch { url, http } => ask_lagwatch(http, url).await,
            Self::Broker { reader, kafka, first_at, number } => {
                let reading = reader.reading().await.map_err(|error| broker::failed(kafka, error))?;
                let first_at = *first_at.get_or_insert_with(Instant::now);
                *number += 1;
                Ok(LagReading {
                    groups: reading.partitions,
                    states: reading.groups,
                    number: *number,
                    watched_s: first_at.elapsed().as_secs(),
                    age_ms: 0,
                })
            }
        }
    }
}

async fn ask_lagwatch(http: &reqwest::Client, url: &str) -> Result<LagReading> {
    let answer = match http.get(url).send().await {
        Ok(answer) => answer,
        Err(error) => {
            let what = format!("lagwatch does not answer: {error}");
            let advice = "start it with ./pitboss start lagwatch, or read the broker with --bootstrap-servers HOST:PORT";
            return Err(RuntimeError::Missing { what, advice: advice.to_owned() }.into());
        }
    };
    let status = answer.status();
    if !status.is_success() {
        bail!(
            "lagwatch has no recent reading of the lag (status {status}), probably because the broker is away"
        );
    }
    answer.json().await.context("the answer of lagwatch is not a reading of the lag")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lagwatch_answer_is_read_and_filtered() {
        let row = |group: &str, topic: &str| {
            serde_json::json!({
                "group": group, "topic": topic, "partition": 0, "lag_messages": 7, "held_messages": 2,
                "lag_seconds": null, "committed": null, "end": 9, "stable_end": 7, "members": 0,
            })
        };
        let answer = serde_json::json!({
            "groups": [row("game", "casino.bets.commands.v1"), row("user", "casino.bets.events.v1")],
            "states": [
                { "group": "game", "state": "empty", "members": 0, "joins": 3 },
                { "group": "user", "state": "stable", "members": 1, "joins": 0 },
            ],
            "number": 12, "watched_s": 36, "age_ms": 250,
        });
        let reading: LagReading = serde_json::from_value(answer).unwrap();
        let left = |group, topic| {
            let mut reading = reading.clone();
            reading.retain(group, topic);
            (reading.groups.len(), reading.states.len())
        };
        assert_eq!(left(None, None), (2, 2));
        assert_eq!(left(Some(Group::Game), None), (1, 1));
        assert_eq!(left(None, Some("events")), (1, 2));
        assert_eq!(left(Some(Group::Game), Some("events")), (0, 1));
    }
}

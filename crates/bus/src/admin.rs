//! Topic administration: creates missing topics and corrects settings that differ from the catalogue.
//!
//! It is idempotent and returns its changes. It never changes the number of partitions of a topic, because that moves keys. A topic
//! with more partitions than in the catalogue is reported and used, and one with fewer is refused.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::TopicSpec;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, NewTopic, OwnedResourceSpecifier,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::error::RDKafkaErrorCode;

use crate::clients::{self, Logged};
use crate::config::Config;
use crate::error::ClientError;
use crate::names::Names;
use crate::retry::Backoff;

/// Time-out of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Deadline for all partitions of a new topic to get a leader.
const LEADERS_DEADLINE: Duration = Duration::from_secs(20);

/// A change to one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicChange {
    /// The topic was missing.
    Created {
        /// Catalogue name.
        topic: String,
        /// Its number of partitions.
        partitions: i32,
    },
    /// A setting differed.
    ConfigChanged {
        /// Catalogue name.
        topic: String,
        /// Name of the setting.
        name: String,
        /// Previous value. None when it was never set.
        from: Option<String>,
        /// New value.
        to: String,
    },
}

/// What [`ensure_topics`] did and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ensured {
    /// Changes that were made. Empty if every topic and setting was there.
    pub changes: Vec<TopicChange>,
    /// Topics with more partitions than in the catalogue. They stay as they are.
    pub larger: Vec<LargerTopic>,
}

/// A topic with more partitions than in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargerTopic {
    /// Catalogue name.
    pub topic: String,
    /// Number on the broker.
    pub found: usize,
    /// Number in the catalogue.
    pub wanted: i32,
}

impl fmt::Display for LargerTopic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, found, wanted } = self;
        write!(
            formatter,
            "{topic} has {found} partitions, the catalogue {wanted}: new records of a player can be in another partition than \
             earlier ones, so their order holds only once all earlier ones are handled"
        )
    }
}

/// Reason why the topics do not match the catalogue.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A request to the broker failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The broker rejected a request for one topic.
    #[error("{doing} of topic {topic} failed: {code}")]
    Refused {
        /// Catalogue name.
        topic: String,
        /// Operation that failed.
        doing: &'static str,
        /// Error code of the broker.
        code: RDKafkaErrorCode,
    },
    /// A topic has fewer partitions than in the catalogue. More of them would move keys, so all records have to be handled first.
    #[error(
        "{topic} has {found} partitions, but the catalogue has {wanted}; add the missing ones once all its records are handled"
    )]
    TooFewPartitions {
        /// Catalogue name.
        topic: String,
        /// Number on the broker.
        found: usize,
        /// Number in the catalogue.
        wanted: i32,
    },
    /// A topic has no leader for some partition.
    #[error("{topic} has a partition without a leader after {waited_ms} ms")]
    NoLeader {
        /// Catalogue name.
        topic: String,
        /// Time waited.
        waited_ms: u64,
    },
}

/// Creates missing topics and corrects settings that differ. Returns the changes, and the topics with additional partitions.
pub async fn ensure_topics(config: &Config, specs: &[TopicSpec]) -> Result<Ensured, AdminError> {
    let problems = config.problems();
    if !problems.is_empty() {
        return Err(ClientError::Config(problems).into());
    }
    let client: AdminClient<Logged> = clients::admin(config)
        .create_with_context(Logged)
        .map_err(ClientError::kafka("creating the administration client"))?;
    let admin =
        Admin { client: Arc::new(client), names: config.names(), replication: config.replication_factor };
    let mut changes = admin.create(specs).await?;
    let larger = admin.await_leaders(specs).await?;
    changes.extend(admin.correct(specs).await?);
    Ok(Ensured { changes, larger })
}

struct Admin {
    client: Arc<AdminClient<Logged>>,
    names: Names,
    replication: i32,
}

impl Admin {
    fn options() -> AdminOptions {
        AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
    }

    async fn create(&self, specs: &[TopicSpec]) -> Result<Vec<TopicChange>, AdminError> {
        let existing = self.partition_counts().await?;
        let missing: Vec<&TopicSpec> =
            specs.iter().filter(|spec| !existing.contains_key(&self.names.physical(&spec.name))).collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let physical: Vec<String> = missing.iter().map(|spec| self.names.physical(&spec.name)).collect();
        let new: Vec<NewTopic<'_>> = missing
            .iter()
            .zip(&physical)
            .map(|(spec, name)| new_topic(spec, name, self.replication))
            .collect();
        let answers = self
            .client
            .create_topics(&new, &Self::options())
            .await
            .map_err(ClientError::kafka("creating topics"))?;
        let mut changes = Vec::new();
        for (spec, answer) in missing.iter().zip(answers) {
            match answer {
                Ok(_) => {
                    changes
                        .push(TopicChange::Created { topic: spec.name.clone(), partitions: spec.partitions });
                }
                // Another instance created it at the same moment
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => {
                    return Err(AdminError::Refused { topic: spec.name.clone(), doing: "creation", code });
                }
            }
        }
        Ok(changes)
    }

    /// Waits for the leaders, because creation is acknowledged before every partition can be written to. Also checks the counts, and
    /// returns the topics with more partitions.
    async fn await_leaders(&self, specs: &[TopicSpec]) -> Result<Vec<LargerTopic>, AdminError> {
        let began = Instant::now();
        let mut backoff = Backoff::new(10, 500);
        loop {
            let counts = self.partition_counts().await?;
            let waiting = specs.iter().find(|spec| {
                counts.get(&self.names.physical(&spec.name)).is_none_or(|partitions| !partitions.have_leaders)
            });
            let Some(spec) = waiting else { break };
            if began.elapsed() > LEADERS_DEADLINE {
                let waited_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Err(AdminError::NoLeader { topic: spec.name.clone(), waited_ms });
            }
            tokio::time::sleep(backoff.next(1.0)).await;
        }
        let counts = self.partition_counts().await?;
        let mut larger = Vec::new();
        for spec in specs {
            let found = counts.get(&self.names.physical(&spec.name)).map_or(0, |partitions| partitions.count);
            let (topic, wanted) = (spec.name.clone(), spec.partitions);
            match i32::try_from(found).unwrap_or(i32::MAX).cmp(&wanted) {
                Ordering::Less => return Err(AdminError::TooFewPartitions { topic, found, wanted }),
                Ordering::Equal => {}
                Ordering::Greater => larger.push(LargerTopic { topic, found, wanted }),
            }
        }
        Ok(larger)
    }

    /// Corrects settings that differ. In a corrected topic, other settings return to the broker's default.
    async fn correct(&self, specs: &[TopicSpec]) -> Result<Vec<TopicChange>, AdminError> {
        let physical: Vec<String> = specs.iter().map(|spec| self.names.physical(&spec.name)).collect();
        let topics: Vec<ResourceSpecifier<'_>> =
            physical.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let answers = self
            .client
            .describe_configs(&topics, &Self::options())
            .await
            .map_err(ClientError::kafka("reading the topics' settings"))?;
        let mut changes = Vec::new();
        for (spec, answer) in specs.iter().zip(answers) {
            let found = answer.map_err(|code| AdminError::Refused {
                topic: spec.name.clone(),
                doing: "reading the settings",
                code,
            })?;
            changes.extend(differences(spec, &found));
        }
        self.alter(specs, &changes).await?;
        Ok(changes)
    }

    async fn alter(&self, specs: &[TopicSpec], changes: &[TopicChange]) -> Result<(), AdminError> {
        let is_changed = |spec: &&TopicSpec| {
            changes.iter().any(
                |change| matches!(change, TopicChange::ConfigChanged { topic, .. } if *topic == spec.name),
            )
        };
        let changed: Vec<&TopicSpec> = specs.iter().filter(is_changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let physical: Vec<String> = changed.iter().map(|spec| self.names.physical(&spec.name)).collect();
        let altered: Vec<AlterConfig<'_>> = changed
            .iter()
            .zip(&physical)
            .map(|(spec, name)| {
                let begin = AlterConfig::new(ResourceSpecifier::Topic(name));
                spec.configs.iter().fold(begin, |config, (key, value)| config.set(key, value))
            })
            .collect();
        let answers = self
            .client
            .alter_configs(&altered, &Self::options())
            .await
            .map_err(ClientError::kafka("changing the topics' settings"))?;
        for answer in answers {
            if let Err((specifier, code)) = answer {
                let topic = match specifier {
                    OwnedResourceSpecifier::Topic(name) => self.names.logical(&name).to_owned(),
                    other => format!("{other:?}"),
                };
                return Err(AdminError::Refused { topic, doing: "changing the settings", code });
            }
        }
        Ok(())
    }

    /// Returns the broker's topics by their physical names.
    async fn partition_counts(&self) -> Result<BTreeMap<String, Partitions>, ClientError> {
        const DOING: &str = "reading the topics";
        let client = Arc::clone(&self.client);
        let requested =
            telemetry::spawn_blocking(move || client.inner().fetch_metadata(None, REQUEST_TIMEOUT));
        let metadata = requested
            .await
            .map_err(|_| ClientError::Cancelled { doing: DOING })?
            .map_err(ClientError::kafka(DOING))?;
        let partitions = |topic: &rdkafka::metadata::MetadataTopic| Partitions {
            count: topic.partitions().len(),
            have_leaders: !topic.partitions().is_empty()
                && topic.partitions().iter().all(|partition| partition.leader() >= 0),
        };
        Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), partitions(topic))).collect())
    }
}

struct Partitions {
    count: usize,
    have_leaders: bool,
}

fn new_topic<'a>(spec: &'a TopicSpec, physical: &'a str, replication: i32) -> NewTopic<'a> {
    let begin = NewTopic::new(physical, spec.partitions, TopicReplication::Fixed(replication));
    spec.configs.iter().fold(begin, |topic, (key, value)| topic.set(key, value))
}

fn differences(spec: &TopicSpec, found: &ConfigResource) -> Vec<TopicChange> {
    let differs = |(name, to): &(String, String)| {
        let from = found.get(name).and_then(|entry| entry.value.clone());
        (from.as_ref() != Some(to)).then(|| TopicChange::ConfigChanged {
            topic: spec.name.clone(),
            name: name.clone(),
            from,
            to: to.clone(),
        })
    };
    spec.configs.iter().filter_map(differs).collect()
}

//! The two topics of a run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use crate::{ChainError, Settings, clients};

/// Number of partitions of each topic, as the platform's topics have.
pub(crate) const PARTITIONS: i32 = 6;
/// Settings of each topic, as the platform's topics have. The time for which records are kept is shorter, in case the program
/// is killed.
const CONFIGS: [(&str, &str); 4] = [
    ("cleanup.policy", "delete"),
    ("max.message.bytes", "524288"),
    ("message.timestamp.type", "LogAppendTime"),
    ("retention.ms", "86400000"),
];
/// Replication factor that is the broker's default.
const DEFAULT_REPLICATION: i32 = -1;
/// Time-out of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which all partitions get a leader.
const LEADERS_DEADLINE: Duration = Duration::from_secs(20);
/// Pause between two questions about the leaders.
const LEADERS_PAUSE: Duration = Duration::from_millis(20);

/// Creates and deletes the topics.
pub(crate) struct Topics {
    admin: Arc<AdminClient<DefaultClientContext>>,
    names: [String; 2],
}

impl Topics {
    /// Connects in the background.
    pub(crate) fn new(settings: &Settings) -> Result<Self, ChainError> {
        let names = [settings.commands_topic(), settings.outcomes_topic()];
        Ok(Self { admin: Arc::new(clients::admin(settings)?), names })
    }

    /// Creates both topics. Returns when every partition can be written to.
    pub(crate) async fn create(&self) -> Result<(), ChainError> {
        let new = self.names.each_ref().map(|name| {
            let begin = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(DEFAULT_REPLICATION));
            CONFIGS.iter().fold(begin, |topic, (key, value)| topic.set(key, value))
        });
        let answers = self.admin.create_topics(&new, &options()).await;
        check("creation", answers.map_err(ChainError::kafka("creating the topics"))?, None)?;
        let until = Instant::now() + LEADERS_DEADLINE;
        while !self.have_leaders().await? {
            if Instant::now() > until {
                return Err(ChainError::TimedOut { doing: "electing the leaders of the topics" });
            }
            tokio::time::sleep(LEADERS_PAUSE).await;
        }
        Ok(())
    }

    /// Deletes both topics. One that does not exist is deleted.
    pub(crate) async fn delete(&self) -> Result<(), ChainError> {
        let names = self.names.each_ref().map(String::as_str);
        let answers = self.admin.delete_topics(&names, &options()).await;
        let answers = answers.map_err(ChainError::kafka("deleting the topics"))?;
        check("deletion", answers, Some(RDKafkaErrorCode::UnknownTopicOrPartition))
    }

    async fn have_leaders(&self) -> Result<bool, ChainError> {
        let (admin, names) = (Arc::clone(&self.admin), self.names.clone());
        let asked = tokio::task::spawn_blocking(move || have_leaders(&admin, &names)).await;
        asked.map_err(ChainError::Task)?.map_err(ChainError::kafka("reading the topics"))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
}

fn have_leaders(admin: &AdminClient<DefaultClientContext>, names: &[String]) -> KafkaResult<bool> {
    let metadata = admin.inner().fetch_metadata(None, REQUEST_TIMEOUT)?;
    let is_ready = |name: &String| {
        metadata.topics().iter().any(|topic| {
            let partitions = topic.partitions();
            topic.name() == name
                && i32::try_from(partitions.len()) == Ok(PARTITIONS)
                && partitions.iter().all(|partition| partition.leader() >= 0)
        })
    };
    Ok(names.iter().all(is_ready))
}

/// Fails with the first answer that is an error, unless it has the expected code.
fn check(
    doing: &'static str,
    answers: Vec<TopicResult>,
    expected: Option<RDKafkaErrorCode>,
) -> Result<(), ChainError> {
    for answer in answers {
        if let Err((topic, code)) = answer
            && Some(code) != expected
        {
            return Err(ChainError::Topic { doing, topic, code });
        }
    }
    Ok(())
}

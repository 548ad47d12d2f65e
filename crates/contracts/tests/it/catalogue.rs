//! Topics, groups and types are consistent.

use std::collections::HashSet;

use contracts::topics::{DLQ_ACTIONS, catalogue};
use contracts::{EventType, Group, Topic};

#[test]
fn names_round_trip() {
    for topic in Topic::ALL {
        assert_eq!(topic.name().parse(), Ok(*topic));
        assert_eq!(Topic::of_record(topic.name()), Some(*topic));
        for group in Group::ALL {
            assert_eq!(group.as_str().parse(), Ok(*group));
            assert_eq!(Topic::of_record(&topic.retry(*group)), Some(*topic));
            assert_eq!(Topic::of_record(&topic.dlq(*group)), Some(*topic));
            assert!(Topic::is_retry(&topic.retry(*group)));
            assert!(!Topic::is_retry(&topic.dlq(*group)) && !Topic::is_retry(topic.name()));
        }
    }
    for event_type in EventType::ALL {
        assert_eq!(event_type.as_str().parse(), Ok(*event_type));
        assert!(EventType::ALL.contains(event_type));
    }
    assert_eq!(Topic::of_record("casino.bets.commands.v12"), None);
    assert!("casino.bets.commands.v1.dlq.game".parse::<Topic>().is_err());
}

#[test]
fn every_topic_has_types_writers_readers() {
    for topic in Topic::ALL {
        assert!(EventType::ALL.iter().any(|event_type| event_type.topic() == *topic), "{topic} has no types");
        assert!(Group::ALL.iter().any(|group| group.reads().contains(topic)), "{topic} has no reader");
        assert!(!topic.writers().is_empty(), "{topic} has no writer");
    }
}

#[test]
fn catalogue_has_each_topic_and_dlq_once() {
    let specs = catalogue();
    let names: HashSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names.len(), specs.len(), "a name twice");
    let brokers_time = ("message.timestamp.type".to_owned(), "LogAppendTime".to_owned());
    assert!(
        specs.iter().all(|spec| spec.configs.contains(&brokers_time)),
        "a producer's time decides retention"
    );
    assert!(specs.iter().all(|spec| spec.configs.is_sorted()), "settings in the order of their names");
    for topic in Topic::ALL {
        let spec = specs.iter().find(|spec| spec.name == topic.name()).unwrap();
        assert_eq!(spec.partitions, 6);
        let retention = ("retention.ms".to_owned(), topic.retention_ms().to_string());
        assert!(spec.configs.contains(&retention));
    }
    for group in Group::ALL {
        for topic in group.reads() {
            let spec = specs.iter().find(|spec| spec.name == topic.dlq(*group)).unwrap();
            assert_eq!(spec.partitions, 1);
        }
        for name in group.retry_topics() {
            assert!(names.contains(name.as_str()), "{name}");
        }
    }
    assert!(names.contains(DLQ_ACTIONS) && Topic::of_record(DLQ_ACTIONS).is_none());
    assert_eq!(specs.len(), 6 + 15 + 7 + 1);
}

#[test]
fn money_groups_have_no_retry_topic() {
    for group in [Group::Game, Group::Payment, Group::User, Group::Gateway] {
        assert_eq!(group.retry_topics(), Vec::<String>::new(), "{group}");
    }
    let retry = "casino.bets.events.v1.retry.notification".to_owned();
    assert!(Group::Notification.retry_topics().contains(&retry));
}

//! Topic administration against a real broker.

use bus::admin::{AdminError, Ensured, LargerTopic, TopicChange, ensure_topics};
use contracts::{Group, TopicSpec};

use crate::support::{DEADLINE, namespace, specs_for};

#[tokio::test]
async fn topics_are_created_once_and_corrected() {
    let config = namespace();
    let mut specs = specs_for(Group::Game);
    let created = ensure_topics(&config, &specs).await.expect("created");
    let expected: Vec<TopicChange> = specs
        .iter()
        .map(|spec| TopicChange::Created { topic: spec.name.clone(), partitions: spec.partitions })
        .collect();
    assert_eq!(created, Ensured { changes: expected, larger: Vec::new() });
    assert_eq!(ensure_topics(&config, &specs).await.expect("nothing to do"), Ensured::default());

    let name = specs[0].name.clone();
    set(&mut specs[0], "retention.ms", "3600000");
    let changed = ensure_topics(&config, &specs).await.expect("corrected");
    match &changed.changes[..] {
        [TopicChange::ConfigChanged { topic, name: setting, to, from: Some(_) }] => {
            assert_eq!((topic, setting.as_str(), to.as_str()), (&name, "retention.ms", "3600000"));
        }
        other => panic!("{other:?}"),
    }
    // A broker may briefly return the previous value of a changed setting.
    testkit::eventually("nothing to do", DEADLINE, || async {
        ensure_topics(&config, &specs).await.ok().filter(|ensured| ensured.changes.is_empty()).map(drop)
    })
    .await;
}

#[tokio::test]
async fn fewer_partitions_are_refused_and_more_are_reported() {
    let config = namespace();
    let mut specs = specs_for(Group::Game);
    specs.truncate(1);
    ensure_topics(&config, &specs).await.expect("created");
    let (topic, created) = (specs[0].name.clone(), specs[0].partitions);
    specs[0].partitions -= 1;
    let found = usize::try_from(created).expect("few");
    let larger = vec![LargerTopic { topic, found, wanted: created - 1 }];
    let ensured = ensure_topics(&config, &specs).await.expect("a larger topic is used");
    assert_eq!(ensured, Ensured { changes: Vec::new(), larger });
    specs[0].partitions += 2;
    match ensure_topics(&config, &specs).await {
        Err(AdminError::TooFewPartitions { topic, found, wanted }) => {
            assert_eq!(topic, specs[0].name);
            assert_eq!(i32::try_from(found).expect("few") + 1, wanted);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn missing_broker_is_a_client_error() {
    let config = bus::Config { bootstrap_servers: "127.0.0.1:1".to_owned(), ..bus::Config::default() };
    assert!(matches!(ensure_topics(&config, &specs_for(Group::Game)).await, Err(AdminError::Client(_))));
}

fn set(spec: &mut TopicSpec, name: &str, value: &str) {
    let entry = spec.configs.iter_mut().find(|(key, _)| key == name).expect("the catalogue sets it");
    value.clone_into(&mut entry.1);
}

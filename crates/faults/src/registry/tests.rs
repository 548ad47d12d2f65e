use std::collections::BTreeSet;

use crate::{Acts, FaultId, MoneyVerdict, Scope, Values};

const SERVICES: [&str; 10] = [
    "gateway",
    "user",
    "game",
    "payment",
    "analytics",
    "notification",
    "recorder",
    "lagwatch",
    "partners",
    "wire",
];
/// First parts of the names that are not a service.
const AREAS: [&str; 7] = ["consumer", "clock", "trace", "kafka", "mongo", "redis", "sentry"];

#[test]
fn definition_belongs_to_its_fault() {
    for id in FaultId::ALL {
        assert_eq!(id.definition().id, id);
    }
}

#[test]
fn name_starts_with_place_that_breaks() {
    for id in FaultId::ALL {
        let (area, name) = id.as_str().split_once('.').unwrap();
        assert!(SERVICES.contains(&area) || AREAS.contains(&area), "{id}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{id}");
    }
}

#[test]
fn services_exist() {
    for id in FaultId::ALL {
        let definition = id.definition();
        match definition.acts {
            Acts::Supervisor => assert_eq!(definition.services, ["supervisor"], "{id}"),
            Acts::InService => {
                assert!(!definition.services.is_empty(), "{id}");
                for service in definition.services {
                    assert!(SERVICES.contains(service) || *service == "any", "{id}: {service}");
                }
            }
        }
    }
}

#[test]
fn parameters_are_bounded_and_named_once() {
    for id in FaultId::ALL {
        let mut names = BTreeSet::new();
        for spec in id.definition().params {
            assert!(names.insert(spec.name), "{id}: {} occurs twice", spec.name);
            assert!(spec.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{id}: {}", spec.name);
            assert!(spec.min < spec.max, "{id}: {}", spec.name);
            let may_be_negative = id == FaultId::ClockSkew;
            assert!(0 <= spec.min || may_be_negative, "{id}: {}", spec.name);
            assert!((spec.min..=spec.max).contains(&spec.default), "{id}: {}", spec.name);
            assert_eq!(Values::defaults(id).get(spec.name), spec.default);
        }
    }
}

#[test]
fn texts_are_complete_sentences() {
    for id in FaultId::ALL {
        let definition = id.definition();
        assert!(!definition.title.is_empty() && !definition.title.ends_with('.'), "{id}");
        let docs = definition.params.iter().map(|spec| spec.doc);
        let texts = [definition.breaks, definition.safety, definition.runbook];
        for text in texts.into_iter().chain(docs).chain(definition.evidence.iter().copied()) {
            assert!(text.ends_with('.') && !text.contains("  "), "{id}: {text}");
            assert!(!text.contains('\n') && !text.contains('|'), "{id}: breaks the reference page: {text}");
        }
        assert!(!definition.evidence.is_empty(), "{id}");
    }
}

#[test]
fn runbook_says_what_where_why_and_what_to_do() {
    for id in FaultId::ALL {
        let runbook = id.definition().runbook;
        let places: Vec<Option<usize>> =
            ["Seen: ", " Where: ", " Meaning: ", " Do: "].iter().map(|part| runbook.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{id}: {runbook}");
        assert!(runbook.contains(&format!("`./pitboss fault off {id}`")), "{id}: {runbook}");
    }
}

#[test]
fn audit_finds_only_wrong_payouts() {
    let found: Vec<FaultId> =
        FaultId::ALL.into_iter().filter(|id| id.definition().money == MoneyVerdict::Found).collect();
    assert_eq!(found, [FaultId::GameRtpDrift, FaultId::GamePayoutScale]);
}

#[test]
fn default_scope_names_no_player_or_release() {
    for id in FaultId::ALL {
        let definition = id.definition();
        assert!(!matches!(definition.default_scope, Scope::Player(_) | Scope::Release(_)), "{id}");
        assert_eq!(definition.check_scope(&definition.default_scope), Ok(()), "{id}");
    }
}

#[test]
fn scope_is_one_in_which_the_fault_can_act() {
    let (player, service) = (Scope::Player("p-1".to_owned()), Scope::Service("notification".to_owned()));
    let dead = FaultId::ConsumerDead.definition();
    assert_eq!(dead.check_scope(&service), Ok(()));
    for scope in [&player, &Scope::All, &Scope::SharePercent(10), &Scope::Release("pitboss@1.0.0".to_owned())]
    {
        assert!(dead.check_scope(scope).unwrap_err().ends_with("but for: one service"), "{scope}");
    }
    let stall = FaultId::MongoStall.definition();
    assert_eq!(
        stall.check_scope(&service).unwrap_err(),
        "it cannot be armed for one service, but for: all traffic"
    );
    let slow_query = FaultId::UserSlowQuery.definition();
    assert_eq!(slow_query.check_scope(&Scope::Service("user".to_owned())), Ok(()));
    assert_eq!(
        slow_query.check_scope(&service).unwrap_err(),
        "notification does not apply this fault, which is applied by user"
    );
    let delayed = FaultId::ConsumerDelayedOnPurpose.definition();
    assert_eq!(delayed.check_scope(&service), Ok(()));
    for without_retry_topics in ["game", "payment", "user"] {
        let error = delayed.check_scope(&Scope::Service(without_retry_topics.to_owned())).unwrap_err();
        assert_eq!(
            error,
            format!(
                "{without_retry_topics} does not apply this fault, which is applied by notification, analytics"
            )
        );
    }
    for scope in [Scope::Service(String::new()), Scope::Player(String::new()), Scope::SharePercent(0)] {
        assert!(FaultId::ConsumerSlow.definition().check_scope(&scope).is_err(), "{scope:?}");
    }
}

/// These are evaluated without a player and without a key, so a narrower scope would never match.
#[test]
fn fault_of_a_process_has_no_player_and_no_share() {
    for id in [
        FaultId::PaymentProviderDown,
        FaultId::AnalyticsSlowAggregation,
        FaultId::ConsumerStuck,
        FaultId::KafkaReplyLost,
        FaultId::KafkaHalfOpen,
    ] {
        let definition = id.definition();
        for scope in [Scope::Player("p-1".to_owned()), Scope::SharePercent(50)] {
            let error = definition.check_scope(&scope).unwrap_err();
            assert!(error.ends_with("but for: all traffic, one release, one service"), "{id}: {error}");
        }
        assert_eq!(definition.check_scope(&Scope::All), Ok(()), "{id}");
        assert_eq!(definition.check_scope(&Scope::Release("pitboss@1.0.0".to_owned())), Ok(()), "{id}");
        assert!(!definition.may_be_in_request(), "{id}");
    }
}

#[test]
fn scopes_are_unique_and_known_where_applied() {
    for id in FaultId::ALL {
        let definition = id.definition();
        let names: BTreeSet<&str> = definition.scopes.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), definition.scopes.len(), "{id}: {names:?}");
        if definition.acts == Acts::Supervisor {
            assert!(names.is_subset(&BTreeSet::from(["all", "service"])), "{id}: {names:?}");
        }
        let text = definition.armed_scopes_text();
        assert!(!text.is_empty() && !text.contains("request"), "{id}: {text}");
    }
}

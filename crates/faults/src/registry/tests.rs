use std::collections::BTreeSet;

use crate::{FaultId, MoneyVerdict, Scope, Values};

const SERVICES: [&str; 9] =
    ["gateway", "user", "game", "payment", "analytics", "notification", "recorder", "lagwatch", "partners"];

#[test]
fn definition_belongs_to_its_fault() {
    for id in FaultId::ALL {
        assert_eq!(id.definition().id, id);
    }
}

#[test]
fn name_starts_with_service_that_breaks() {
    for id in FaultId::ALL {
        let (area, name) = id.as_str().split_once('.').unwrap();
        assert!(SERVICES.contains(&area) || area == "consumer", "{id}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{id}");
    }
}

#[test]
fn services_exist() {
    for id in FaultId::ALL {
        let services = id.definition().services;
        assert!(!services.is_empty(), "{id}");
        for service in services {
            assert!(SERVICES.contains(service) || *service == "any", "{id}: {service}");
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
            assert!(0 <= spec.min && spec.min < spec.max, "{id}: {}", spec.name);
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
        assert!(matches!(id.definition().default_scope, Scope::All | Scope::SharePercent(1..=100)), "{id}");
    }
}

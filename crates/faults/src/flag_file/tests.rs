use proptest::prelude::*;

use super::*;
use crate::{Acts, ScopeKind};

fn one(flag: &Value) -> State {
    named("consumer.slow", flag)
}

fn named(name: &str, flag: &Value) -> State {
    parse(&json!({ "flags": { name: flag } }).to_string()).unwrap()
}

fn state(armed: Vec<Armed>) -> State {
    State { armed, ..State::default() }
}

/// Returns the reason why the only flag of a state is invalid.
fn reason(state: &State) -> &str {
    assert!(state.armed.is_empty() && state.invalid.len() == 1, "{state:?}");
    &state.invalid[0].reason
}

fn slow(scope: Scope) -> Armed {
    let id = FaultId::ConsumerSlow;
    Armed { id, scope, values: Values::defaults(id), expires_at_ms: None }
}

/// A flag of the file with one armed fault.
fn written(armed: Armed) -> Value {
    let name = armed.id.to_string();
    let text = render(&state(vec![armed])).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    file["flags"][name.as_str()].clone()
}

#[test]
fn new_file_lists_all_faults_and_arms_none() {
    let text = render(&State::default()).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let flags = file["flags"].as_object().unwrap();
    assert_eq!(flags.len(), FaultId::ALL.len());
    for (name, flag) in flags {
        assert_eq!(flag["state"], "DISABLED", "{name}");
    }
    assert_eq!(parse(&text).unwrap(), State::default());
}

#[test]
fn armed_fault_has_flagds_form() {
    let armed = Armed { expires_at_ms: Some(1_700_000_000_000), ..slow(Scope::SharePercent(10)) };
    assert_eq!(
        written(armed),
        json!({
            "state": "ENABLED",
            "variants": { "on": { "delay_ms": 500 }, "off": {} },
            "defaultVariant": "off",
            "targeting": { "fractional": [["on", 10], ["off", 90]] },
            "metadata": { "title": "A consumer takes longer for each record", "expires_at_ms": 1_700_000_000_000_i64 }
        })
    );
    let player = written(slow(Scope::Player("p-1".to_owned())));
    assert_eq!(player["targeting"], json!({ "if": [{ "==": [{ "var": "player" }, "p-1"] }, "on", "off"] }));
    assert_eq!(player["defaultVariant"], "off");
    let service = written(slow(Scope::Service("game".to_owned())));
    assert_eq!(
        service["targeting"],
        json!({ "if": [{ "==": [{ "var": "service" }, "game"] }, "on", "off"] })
    );
    let all = written(slow(Scope::All));
    assert_eq!((&all["defaultVariant"], all.get("targeting")), (&json!("on"), None));
}

/// An operator who edits the file only writes `ENABLED`.
#[test]
fn enabling_a_flag_by_hand_arms_its_defaults() {
    let text = render(&State::default()).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    file["flags"]["payment.random-failure"]["state"] = json!("ENABLED");
    let state = parse(&file.to_string()).unwrap();
    let id = FaultId::PaymentRandomFailure;
    let wanted =
        Armed { id, scope: Scope::SharePercent(10), values: Values::defaults(id), expires_at_ms: None };
    assert_eq!(state.armed, [wanted]);
}

#[test]
fn flag_that_always_answers_off_arms_nothing() {
    let variants = json!({ "on": {}, "off": {} });
    for flag in [
        json!({ "state": "ENABLED", "variants": variants, "defaultVariant": "off" }),
        json!({ "state": "ENABLED", "variants": variants, "defaultVariant": "off", "targeting": {} }),
        json!({ "state": "ENABLED", "variants": variants, "defaultVariant": "off", "targeting": null }),
        json!({ "state": "DISABLED", "variants": variants, "defaultVariant": "on" }),
    ] {
        let state = one(&flag);
        assert_eq!((&state.armed, &state.invalid), (&vec![], &vec![]), "{flag}");
    }
    // A fault of a newer build is an error only when it is armed.
    let unknown = |state: &str| {
        named("game.new", &json!({ "state": state, "variants": variants, "defaultVariant": "on" }))
    };
    let disabled = unknown("DISABLED");
    assert!(disabled.armed.is_empty() && disabled.invalid.is_empty(), "{disabled:?}");
    let armed = unknown("ENABLED");
    assert!(reason(&armed).starts_with("there is no fault"), "{armed:?}");
    assert!(armed.invalid[0].to_string().starts_with("flag `game.new`: there is no fault"));
}

/// Of three flags one is invalid and one is unknown. The third one works, and a change keeps all of them.
#[test]
fn invalid_flag_is_off_and_blocks_no_other() {
    let text = render(&state(vec![slow(Scope::All)])).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    let enabled = file["flags"]["consumer.slow"].clone();
    file["flags"]["game.rtp-drift"] = json!({ "state": "ON" });
    file["flags"]["game.new"] = enabled;
    let mut found = parse(&file.to_string()).unwrap();
    assert_eq!(found.armed, [slow(Scope::All)]);
    let names = |state: &State| state.invalid.iter().map(|flag| flag.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), ["game.new", "game.rtp-drift"]);
    assert_eq!(parse(&render(&found).unwrap()).unwrap(), found, "written as it was");

    assert!(found.disarm(FaultId::GameRtpDrift), "its flag was invalid");
    assert_eq!(names(&parse(&render(&found).unwrap()).unwrap()), ["game.new"]);
    let long = named(&"x".repeat(10_000), &json!({ "state": "y".repeat(10_000) }));
    assert_eq!(long.invalid[0].name.len(), NAME_CHARS_MAX);
    assert!(reason(&long).len() <= REASON_CHARS_MAX);
}

/// An operator prepares faults in the file without arming them.
#[test]
fn flag_without_effect_is_kept_until_armed() {
    let mut drift = written(Armed {
        id: FaultId::GameRtpDrift,
        scope: Scope::SharePercent(5),
        values: Values::defaults(FaultId::GameRtpDrift),
        expires_at_ms: None,
    });
    drift["state"] = json!("DISABLED");
    let always_off = json!({ "state": "ENABLED", "variants": { "off": {} }, "defaultVariant": "off" });
    let unknown = json!({ "state": "DISABLED", "variants": {}, "owner": "another program" });
    let mut file: Value = serde_json::from_str(&render(&State::default()).unwrap()).unwrap();
    file["flags"]["game.rtp-drift"] = drift.clone();
    file["flags"]["redis.flush"] = always_off.clone();
    file["flags"]["my.flag"] = unknown.clone();
    let flags = |state: &State| {
        let mut file: Value = serde_json::from_str(&render(state).unwrap()).unwrap();
        file["flags"].take()
    };
    let mut found = parse(&file.to_string()).unwrap();
    assert!(found.armed.is_empty() && found.invalid.is_empty());
    found.arm(slow(Scope::All));
    assert!(found.disarm(FaultId::ConsumerSlow) && !found.disarm(FaultId::GameRtpDrift));
    assert_eq!(flags(&found), file["flags"], "all others are as they were");

    let armed = Armed {
        id: FaultId::GameRtpDrift,
        values: Values::defaults(FaultId::GameRtpDrift),
        ..slow(Scope::All)
    };
    found.arm(armed);
    assert_eq!(flags(&found)["game.rtp-drift"]["state"], "ENABLED");
    assert!(found.disarm(FaultId::GameRtpDrift));
    assert_eq!(flags(&found)["game.rtp-drift"], flags(&State::default())["game.rtp-drift"]);
    assert_eq!((&flags(&found)["redis.flush"], &flags(&found)["my.flag"]), (&always_off, &unknown));
}

#[test]
fn arming_replaces_an_invalid_flag() {
    let mut state = one(&json!({ "state": "ON" }));
    assert_eq!(state.invalid.len(), 1);
    state.arm(slow(Scope::All));
    assert_eq!((state.armed.len(), state.invalid.len()), (1, 0));
    assert_eq!(parse(&render(&state).unwrap()), Ok(state));
}

#[test]
fn flag_without_a_meaning_here_is_refused() {
    let flag = |default: &str, on: Value, targeting: Value| {
        let variants = json!({ "on": on, "off": {} });
        json!({ "state": "ENABLED", "variants": variants, "defaultVariant": default, "targeting": targeting })
    };
    for (flag, expected) in [
        (json!({ "state": "ON" }), "unknown variant `ON`"),
        (json!([]), "invalid"),
        (flag("maybe", json!({}), json!(null)), "`defaultVariant` must be"),
        (flag("on", json!(true), json!(null)), "the variant `on` must be an object"),
        (flag("on", json!({ "delay_ms": 0 }), json!(null)), "must be from 1 to 10000"),
        (flag("on", json!({ "delay_ms": 1.5 }), json!(null)), "not a whole number"),
        (flag("on", json!({ "delay_s": 1 }), json!(null)), "has no parameter"),
        (flag("on", json!({}), json!({ "fractional": [["on", 10], ["off", 90]] })), "must be `off`"),
        (flag("off", json!({}), json!({ "fractional": [["on", 10], ["off", 80]] })), "the targeting must be"),
        (flag("off", json!({}), json!({ "fractional": [["on", 0], ["off", 100]] })), "a share must be"),
        (flag("off", json!({}), json!({ "fractional": [["on", 300], ["off", 0]] })), "the targeting must be"),
        (flag("off", json!({}), json!({ "in": ["p", { "var": "player" }] })), "the targeting must be"),
        (
            flag("off", json!({}), json!({ "if": [{ "==": [{ "var": "email" }, "p"] }, "on", "off"] })),
            "the targeting must be",
        ),
        (
            flag("off", json!({}), json!({ "if": [{ "==": [{ "var": "player" }, "p"] }, "off", "on"] })),
            "the targeting must be",
        ),
        (
            flag("off", json!({}), json!({ "if": [{ "==": [{ "var": "player" }, ""] }, "on", "off"] })),
            "scope is empty",
        ),
    ] {
        let found = one(&flag);
        assert!(reason(&found).contains(expected), "{expected}: {found:?}");
    }
    for text in ["", "{", "[]", "{}", r#"{"flags":[]}"#] {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn state_that_cannot_be_evaluated_is_not_written() {
    for scope in [Scope::SharePercent(0), Scope::SharePercent(101), Scope::Player(String::new())] {
        assert!(render(&state(vec![slow(scope)])).is_err());
    }
    let player = Scope::Player("p-1".to_owned());
    let dead =
        Armed { id: FaultId::ConsumerDead, values: Values::defaults(FaultId::ConsumerDead), ..slow(player) };
    let error = render(&state(vec![dead])).unwrap_err();
    assert_eq!(error, "fault `consumer.dead`: it cannot be armed for one player, but for: one service");
    let twice = state(vec![slow(Scope::All), slow(Scope::All)]);
    assert_eq!(render(&twice).unwrap_err(), "fault `consumer.slow`: it is armed twice");
}

fn any_scope(id: FaultId) -> BoxedStrategy<Scope> {
    let definition = id.definition();
    let is_of_any = definition.acts == Acts::Supervisor || definition.services == ["any"];
    let scopes: Vec<BoxedStrategy<Scope>> = definition
        .armed_scopes()
        .map(|kind| match kind {
            ScopeKind::All | ScopeKind::Request => Just(Scope::All).boxed(),
            ScopeKind::Share => (1..=100_u8).prop_map(Scope::SharePercent).boxed(),
            ScopeKind::Release => ".{1,20}".prop_map(Scope::Release).boxed(),
            ScopeKind::Player => ".{1,20}".prop_map(Scope::Player).boxed(),
            ScopeKind::Service if is_of_any => ".{1,20}".prop_map(Scope::Service).boxed(),
            ScopeKind::Service => Just(Scope::Service(definition.services[0].to_owned())).boxed(),
        })
        .collect();
    proptest::strategy::Union::new(scopes).boxed()
}

#[test]
fn ineffective_read_is_in_the_metadata() {
    let mut all = state(vec![slow(Scope::All)]);
    let site: ReadSite = "consumer.slow:effect@game".parse().unwrap();
    all.make_ineffective(site);
    let text = render(&all).unwrap();
    assert_eq!(parse(&text).unwrap(), all);
    let mut file: Value = serde_json::from_str(&text).unwrap();
    let flag = &mut file["flags"]["consumer.slow"];
    assert_eq!(flag["metadata"]["ineffective_read"], "consumer.slow:effect@game");
    for unknown in ["consumer.duplicate:effect@game", "consumer.slow:effect@wire", "effect"] {
        flag["metadata"]["ineffective_read"] = unknown.into();
        assert_eq!(reason(&one(flag)), "`ineffective_read` names no read of this fault", "{unknown}");
    }
}

fn any_armed(id: FaultId) -> impl Strategy<Value = Armed> {
    let values: Vec<_> =
        id.definition().params.iter().map(|spec| (Just(spec.name), spec.min..=spec.max)).collect();
    (any_scope(id), values, any::<Option<i64>>()).prop_map(move |(scope, values, expires_at_ms)| Armed {
        id,
        scope,
        values: Values::new(id, values).unwrap(),
        expires_at_ms,
    })
}

/// For each fault whether it is armed, and how.
fn any_states() -> impl Strategy<Value = Vec<Option<Armed>>> {
    FaultId::ALL.into_iter().map(|id| proptest::option::of(any_armed(id))).collect::<Vec<_>>()
}

proptest! {
    #[test]
    fn every_state_is_read_back(all in any_states()) {
        let state = state(all.into_iter().flatten().collect());
        prop_assert_eq!(parse(&render(&state).unwrap()), Ok(state));
    }
}

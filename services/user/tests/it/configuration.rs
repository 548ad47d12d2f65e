//! Start-up rejects a token that is short enough to guess, and limits that contradict each other.

use std::collections::HashMap;

/// Errors for the defaults with this token and these settings.
fn load_errors_with(token: &str, settings: &[(&str, &str)]) -> String {
    let token = ("PITBOSS__SECURITY__INTERNAL_TOKEN", token);
    let environment: HashMap<_, _> = std::iter::once(&token)
        .chain(settings)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let defaults = include_str!("../../src/defaults.toml");
    let loaded = chassis::config::load::<user::config::Config>(defaults, None, environment);
    loaded.err().map(|errors| errors.to_string()).unwrap_or_default()
}

/// Errors for the defaults with this token.
fn load_errors(token: &str) -> String {
    load_errors_with(token, &[])
}

#[test]
fn short_internal_token_is_rejected() {
    assert_eq!(load_errors(&"x".repeat(32)), "");
    for bytes in [0, 31] {
        let errors = load_errors(&"x".repeat(bytes));
        assert!(errors.contains("security.internal_token"), "{bytes} bytes: {errors:?}");
    }
}

#[test]
fn contradicting_limits_are_rejected() {
    let errors = |name, value| load_errors_with(&"x".repeat(32), &[(name, value)]);
    assert_eq!(errors("PITBOSS__ATTEMPTS__WAIT_S_MIN", "300"), "");
    for (name, value, expected) in [
        ("PITBOSS__ATTEMPTS__WAIT_S_MIN", "301", "wait_s_min is larger than wait_s_max"),
        ("PITBOSS__ATTEMPTS__FAILURES_MAX", "101", "failures_max is larger than account_failures_max"),
        ("PITBOSS__SESSIONS__LIFETIME_S", "59", "cache_ttl_s is larger than lifetime_s"),
    ] {
        assert!(errors(name, value).contains(expected), "{name}: {}", errors(name, value));
    }
}

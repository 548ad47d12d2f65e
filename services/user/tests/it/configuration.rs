//! Start-up rejects a token that is short enough to guess.

use std::collections::HashMap;

/// Errors for the defaults with this token.
fn complaints(token: &str) -> String {
    let environment = HashMap::from([("PITBOSS__SECURITY__INTERNAL_TOKEN".to_owned(), token.to_owned())]);
    let defaults = include_str!("../../src/defaults.toml");
    let loaded = chassis::config::load::<user::config::Config>(defaults, None, environment);
    loaded.err().map(|errors| errors.to_string()).unwrap_or_default()
}

#[test]
fn an_internal_token_that_is_too_short_is_refused() {
    assert_eq!(complaints(&"x".repeat(32)), "");
    for bytes in [0, 31] {
        let said = complaints(&"x".repeat(bytes));
        assert!(said.contains("security.internal_token"), "{bytes} bytes: {said:?}");
    }
}

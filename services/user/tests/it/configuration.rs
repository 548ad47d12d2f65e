//! Start-up rejects a token that is short enough to guess.

use std::collections::HashMap;

/// Errors for the defaults with this token.
fn load_errors(token: &str) -> String {
    let environment = HashMap::from([("PITBOSS__SECURITY__INTERNAL_TOKEN".to_owned(), token.to_owned())]);
    let defaults = include_str!("../../src/defaults.toml");
    let loaded = chassis::config::load::<user::config::Config>(defaults, None, environment);
    loaded.err().map(|errors| errors.to_string()).unwrap_or_default()
}

#[test]
fn short_internal_token_is_rejected() {
    assert_eq!(load_errors(&"x".repeat(32)), "");
    for bytes in [0, 31] {
        let errors = load_errors(&"x".repeat(bytes));
        assert!(errors.contains("security.internal_token"), "{bytes} bytes: {errors:?}");
    }
}

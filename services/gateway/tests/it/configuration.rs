//! Start-up rejects secrets that are short enough to guess.

use std::collections::HashMap;

/// Errors for the defaults with good secrets, where `variable` has this secret instead.
fn errors_for(variable: &str, secret: &str) -> String {
    let good = "x".repeat(32);
    let secrets = ["JWT_SECRET", "INTERNAL_TOKEN", "OPERATOR_TOKEN"];
    let environment: HashMap<String, String> = secrets
        .into_iter()
        .map(|name| (name, if name == variable { secret } else { good.as_str() }))
        .map(|(name, secret)| (format!("PITBOSS__SECURITY__{name}"), secret.to_owned()))
        .collect();
    let defaults = include_str!("../../src/defaults.toml");
    let loaded = chassis::config::load::<gateway::Config>(defaults, None, environment);
    loaded.err().map(|errors| errors.to_string()).unwrap_or_default()
}

#[test]
fn short_secrets_are_refused() {
    for (variable, setting, bytes_min) in [
        ("JWT_SECRET", "security.jwt_secret", 32),
        ("INTERNAL_TOKEN", "security.internal_token", 32),
        ("OPERATOR_TOKEN", "security.operator_token", 16),
    ] {
        assert_eq!(errors_for(variable, &"x".repeat(bytes_min)), "", "{setting} of {bytes_min} bytes");
        let errors = errors_for(variable, &"x".repeat(bytes_min - 1));
        assert!(errors.contains(setting), "{setting} of {} bytes: {errors:?}", bytes_min - 1);
    }
    for (variable, is_needed) in [("JWT_SECRET", true), ("INTERNAL_TOKEN", true), ("OPERATOR_TOKEN", false)] {
        assert_eq!(errors_for(variable, "").is_empty(), !is_needed, "{variable} is left out");
    }
}

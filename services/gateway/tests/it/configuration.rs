//! Start-up rejects secrets that are short enough to guess, addresses that no server can have, and settings that contradict each
//! other.

use std::collections::HashMap;

/// Errors for the defaults with good secrets, where `variable` has this secret instead.
fn errors_for(variable: &str, secret: &str) -> String {
    errors_with(&format!("SECURITY__{variable}"), secret)
}

/// Errors for the defaults with good secrets, where `variable` has this value.
fn errors_with(variable: &str, value: &str) -> String {
    let secrets = ["JWT_SECRET", "INTERNAL_TOKEN", "OPERATOR_TOKEN"];
    let mut environment: HashMap<String, String> =
        secrets.map(|name| (format!("PITBOSS__SECURITY__{name}"), "x".repeat(32))).into();
    environment.insert(format!("PITBOSS__{variable}"), value.to_owned());
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

#[test]
fn invalid_addresses_are_refused() {
    let secrets =
        ["JWT_SECRET", "INTERNAL_TOKEN"].map(|name| (format!("PITBOSS__SECURITY__{name}"), "x".repeat(32)));
    let errors = |name: &str, value: &str| {
        let mut environment = HashMap::from(secrets.clone());
        environment.insert(name.to_owned(), value.to_owned());
        let defaults = include_str!("../../src/defaults.toml");
        chassis::config::load::<gateway::Config>(defaults, None, environment).err()
    };
    assert_eq!(errors("PITBOSS__PEERS__USER", "https://user.example"), None);
    for (name, value, setting) in [
        ("PITBOSS__REDIS__URL", "127.0.0.1:8123", "redis.url"),
        ("PITBOSS__KAFKA__BOOTSTRAP_SERVERS", "kafka:port", "kafka.bootstrap_servers"),
        ("PITBOSS__PEERS__USER", "user:8102", "peers.user"),
        ("PITBOSS__PEERS__GAME", "ftp://game", "peers.game"),
        ("PITBOSS__PEERS__PAYMENT", "payment", "peers.payment"),
        ("PITBOSS__PEERS__ANALYTICS", "analytics", "peers.analytics"),
        ("PITBOSS__PEERS__NOTIFICATION", "ftp://notification", "peers.notification"),
        ("PITBOSS__PEERS__RECORDER", "file:///pages", "peers.recorder"),
    ] {
        let refused = errors(name, value).expect(name);
        let [line] = refused.lines() else { panic!("{refused}") };
        assert!(line.starts_with(&format!("{setting}: ")), "{line}");
    }
}

#[test]
fn an_overload_is_noticed_before_waiters_run_out() {
    assert_eq!(errors_with("BETS__IN_FLIGHT_MIN", "10000"), "", "as many as waiters_max");
    let errors = errors_with("BETS__IN_FLIGHT_MIN", "10001");
    assert!(errors.contains("bets.in_flight_min") && errors.contains("bets.waiters_max"), "{errors:?}");
}

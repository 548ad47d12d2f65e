//! Configuration layers, reporting of all errors together, and redaction of secrets.

use std::{collections::HashMap, path::Path};

use chassis::config::{ConfigErrors, Loaded, Secret, Sources, load, load_from, redacted};
use serde::{Deserialize, Serialize};
use telemetry::TraceLifecycle;
use validator::Validate;

#[derive(Debug, Deserialize, Serialize, Validate)]
struct Config {
    #[validate(nested)]
    machine: Machine,
}

#[derive(Debug, Deserialize, Serialize, Validate)]
struct Machine {
    #[validate(range(min = 1, max = 10))]
    reels: u32,
    name: String,
    #[validate(length(min = 8))]
    token: Secret,
    note: Option<String>,
    pause_ms: Option<u64>,
    share: Option<f64>,
}

const DEFAULTS: &str = r#"
    [http]
    address = "127.0.0.1:8100"
    [ops]
    address = "127.0.0.1:8130"
    [machine]
    reels = 3
    name = "default"
    token = "long enough"
"#;

fn environment(variables: &[(&str, &str)]) -> HashMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(file: Option<&Path>, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    load(DEFAULTS, file, environment(variables))
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), content).expect("writes");
    file
}

#[test]
fn environment_beats_file_beats_defaults() {
    let file = file("[machine]\nname = \"file\"\nreels = 4\n");
    let config = loaded(Some(file.path()), &[("PITBOSS__MACHINE__REELS", "5")]).expect("good");
    assert_eq!((config.machine.reels, config.machine.name.as_str()), (5, "file"));
    assert_eq!(config.machine.token.expose(), "long enough");
    assert_eq!(config.machine.note, None);
}

#[test]
fn common_sections_are_read_from_the_same_layers() {
    let file = file("[http]\nconnections_max = 7\n");
    let sources = Sources {
        defaults: DEFAULTS.to_owned(),
        file: Some(file.path().to_owned()),
        environment: environment(&[
            ("PITBOSS__DRAIN__DEADLINE_MS", "900"),
            ("PITBOSS__START__DEADLINE_MS", "800"),
        ]),
    };
    let Loaded { common, own } = load_from::<Config>(&sources).expect("good");
    assert_eq!((common.http.address.port(), common.ops.address.port()), (8100, 8130));
    assert_eq!((common.http.connections_max, common.drain.deadline_ms), (7, 900));
    assert_eq!(common.start.deadline_ms, 800);
    assert_eq!(own.machine.name, "default");
}

#[test]
fn faults_default_to_off_and_need_a_long_key() {
    let faults = |variables: &[(&str, &str)]| {
        let sources =
            Sources { defaults: DEFAULTS.to_owned(), file: None, environment: environment(variables) };
        load_from::<Config>(&sources).map(|loaded| loaded.common.faults)
    };
    let off = faults(&[]).expect("good");
    assert!(off.file.is_none() && off.secret.is_empty() && !off.ineffective);
    let key = "x".repeat(32);
    let on = faults(&[("PITBOSS__FAULTS__FILE", "/run/f.json"), ("PITBOSS__FAULTS__SECRET", &key)]);
    let on = on.expect("good");
    assert_eq!((on.file.as_deref(), on.secret.expose()), (Some(Path::new("/run/f.json")), key.as_str()));
    assert!(
        !on.ineffective && faults(&[("PITBOSS__FAULTS__INEFFECTIVE", "true")]).expect("good").ineffective
    );
    let errors = faults(&[("PITBOSS__FAULTS__INEFFECTIVE", "perhaps")]).expect_err("refused").to_string();
    assert!(errors.contains("ineffective"), "{errors}");
    let errors = faults(&[("PITBOSS__FAULTS__SECRET", "short")]).expect_err("refused").to_string();
    assert!(errors.contains("faults.secret") && !errors.contains("short"), "{errors}");
}

#[test]
fn check_ins_default_to_once_a_minute() {
    let interval_s = |variables: &[(&str, &str)]| {
        let sources =
            Sources { defaults: DEFAULTS.to_owned(), file: None, environment: environment(variables) };
        load_from::<Config>(&sources).map(|loaded| loaded.common.telemetry.check_in_interval_s)
    };
    let variable = "PITBOSS__TELEMETRY__CHECK_IN_INTERVAL_S";
    assert_eq!((interval_s(&[]), interval_s(&[(variable, "10")])), (Ok(60), Ok(10)));
    let errors = interval_s(&[(variable, "9")]).expect_err("refused").to_string();
    assert!(errors.contains("telemetry.check_in_interval_s"), "{errors}");
}

#[test]
fn spans_are_transactions_unless_they_are_streamed() {
    let lifecycle = |variables: &[(&str, &str)]| {
        let sources =
            Sources { defaults: DEFAULTS.to_owned(), file: None, environment: environment(variables) };
        load_from::<Config>(&sources).map(|loaded| loaded.common.telemetry.trace_lifecycle)
    };
    let variable = "PITBOSS__TELEMETRY__TRACE_LIFECYCLE";
    assert_eq!(lifecycle(&[]), Ok(TraceLifecycle::Static));
    assert_eq!(lifecycle(&[(variable, "static")]), Ok(TraceLifecycle::Static));
    assert_eq!(lifecycle(&[(variable, "stream")]), Ok(TraceLifecycle::Stream));
    let errors = lifecycle(&[(variable, "streams")]).expect_err("refused").to_string();
    assert!(errors.contains("telemetry.trace_lifecycle: it is not static or stream"), "{errors}");
}

#[test]
fn sessions_are_sent_unless_switched_off() {
    let sessions = |variables: &[(&str, &str)]| {
        let sources =
            Sources { defaults: DEFAULTS.to_owned(), file: None, environment: environment(variables) };
        load_from::<Config>(&sources).map(|loaded| loaded.common.telemetry.sessions)
    };
    let off = sessions(&[("PITBOSS__TELEMETRY__SESSIONS", "false")]);
    assert_eq!((sessions(&[]), off), (Ok(true), Ok(false)));
}

#[test]
fn digits_in_text_setting_stay_text() {
    let config = loaded(None, &[("PITBOSS__MACHINE__TOKEN", "0012345678")]).expect("good");
    assert_eq!(config.machine.token.expose(), "0012345678");
}

#[test]
fn number_is_not_given_as_a_word_or_a_fraction() {
    let refused = |file: Option<&Path>, variables: &[(&str, &str)], key: &str| {
        let errors = loaded(file, variables).expect_err("refused");
        let [line] = errors.lines() else { panic!("{errors}") };
        assert!(line.starts_with(&format!("{key}: ")), "{line}");
        let variable = format!("PITBOSS__{}", key.to_ascii_uppercase().replace('.', "__"));
        assert!(line.contains(&variable), "it names the variable to set: {line}");
    };
    for word in ["on", "Yes", "true", "off", "no", "FALSE", "2.7", "many"] {
        refused(None, &[("PITBOSS__MACHINE__REELS", word)], "machine.reels");
        // Its default is in the code, or there is none.
        refused(None, &[("PITBOSS__HTTP__BODY_BYTES_MAX", word)], "http.body_bytes_max");
        refused(None, &[("PITBOSS__MACHINE__PAUSE_MS", word)], "machine.pause_ms");
    }
    refused(None, &[("PITBOSS__MACHINE__SHARE", "on")], "machine.share");
    for value in ["2.7", "true", "\"on\""] {
        let file = file(&format!("[machine]\nreels = {value}\n"));
        refused(Some(file.path()), &[], "machine.reels");
    }
    let file = file("[machine]\nshare = 1\npause_ms = 5\n");
    let variables = [("PITBOSS__MACHINE__REELS", "7"), ("PITBOSS__HTTP__BODY_BYTES_MAX", "4096")];
    let config = loaded(Some(file.path()), &variables).expect("good");
    assert_eq!(
        (config.machine.reels, config.machine.pause_ms, config.machine.share),
        (7, Some(5), Some(1.0))
    );
    let config = loaded(None, &[("PITBOSS__MACHINE__SHARE", "0.25")]).expect("good");
    assert_eq!(config.machine.share, Some(0.25));
}

#[test]
fn foreign_and_empty_variables_are_ignored() {
    let variables = [
        ("PITBOSS__MONGO__URI", "mongodb://127.0.0.1"),
        ("PITBOSS__MACHINE__SMTP", "x"),
        ("PITBOSS__MACHINE__NAME", ""),
        ("PITBOSS_CONFIG", "elsewhere"),
    ];
    assert_eq!(loaded(None, &variables).expect("good").machine.name, "default");
}

#[test]
fn all_errors_are_reported() {
    let file = file("[machine]\nrels = 4\n[machin]\nname = \"x\"\n");
    let variables = [
        ("PITBOSS__HTTP__ADDRESS", "nowhere"),
        ("PITBOSS__OPS__ADDRESS", "127.0.0.1"),
        ("PITBOSS__HTTP__BODY_BYTES_MAX", "many"),
        ("PITBOSS__MACHINE__REELS", "11"),
        ("PITBOSS__MACHINE__TOKEN", "secret!"),
    ];
    let errors = loaded(Some(file.path()), &variables).expect_err("refused");
    let text = errors.to_string();
    for key in [
        "http.address",
        "ops.address",
        "http.body_bytes_max",
        "machine.reels",
        "machine.token",
        "machine.rels",
        "machin:",
    ] {
        assert!(errors.lines().iter().any(|line| line.starts_with(key)), "{key} is not in\n{text}");
    }
    assert!(text.contains("PITBOSS__HTTP__ADDRESS"), "it names the variable to set:\n{text}");
    assert!(!text.contains("secret!"), "a secret is quoted:\n{text}");
}

#[test]
fn missing_required_setting_is_reported() {
    let errors =
        load::<Config>("[http]\naddress = \"127.0.0.1:1\"\n", None, HashMap::new()).expect_err("refused");
    assert!(errors.to_string().contains("ops"), "{errors}");
}

#[test]
fn unreadable_file_is_refused() {
    let errors = loaded(Some(Path::new("/no/such/file.toml")), &[]).expect_err("refused");
    assert!(errors.to_string().contains("/no/such/file.toml"), "{errors}");
    assert!(loaded(Some(file("[machine").path()), &[]).is_err(), "not TOML");
}

#[test]
fn redacted_config_shows_settings_but_no_secret() {
    let config = loaded(None, &[("PITBOSS__MACHINE__TOKEN", "hunter2-hunter2")]).expect("good");
    let dump = redacted(&config).to_string();
    assert!(dump.contains("default") && dump.contains("[redacted]"), "{dump}");
    assert!(!dump.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
}

//! Configuration layers, reporting of all errors together, and redaction of secrets.

use std::{collections::HashMap, path::Path};

use chassis::config::{ConfigErrors, Drain, Http, Ops, Secret, load, redacted};
use serde::{Deserialize, Serialize};
use validator::Validate;

#[derive(Debug, Deserialize, Serialize, Validate)]
struct Config {
    #[validate(nested)]
    http: Http,
    ops: Ops,
    #[serde(default)]
    #[validate(nested)]
    drain: Drain,
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
fn the_environment_lies_over_the_file_and_the_file_over_the_defaults() {
    let file = file("[machine]\nname = \"file\"\nreels = 4\n");
    let config = loaded(Some(file.path()), &[("PITBOSS__MACHINE__REELS", "5")]).expect("good");
    assert_eq!((config.machine.reels, config.machine.name.as_str()), (5, "file"));
    assert_eq!(config.machine.token.expose(), "long enough");
    assert_eq!(config.machine.note, None);
    assert_eq!(config.http.address.port(), 8100);
}

#[test]
fn text_of_digits_stays_text() {
    let config = loaded(None, &[("PITBOSS__MACHINE__TOKEN", "0012345678")]).expect("good");
    assert_eq!(config.machine.token.expose(), "0012345678");
}

#[test]
fn what_other_parts_read_is_no_error_and_an_empty_variable_is_none() {
    let variables = [
        ("PITBOSS__MONGO__URI", "mongodb://127.0.0.1"),
        ("PITBOSS__MACHINE__SMTP", "x"),
        ("PITBOSS__MACHINE__NAME", ""),
        ("PITBOSS_CONFIG", "elsewhere"),
    ];
    assert_eq!(loaded(None, &variables).expect("good").machine.name, "default");
}

#[test]
fn every_error_is_listed_not_only_the_first() {
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
    assert!(text.contains("PITBOSS__HTTP__ADDRESS"), "it says what to set:\n{text}");
    assert!(!text.contains("secret!"), "a secret is never quoted:\n{text}");
}

#[test]
fn what_is_required_and_missing_is_named() {
    let errors =
        load::<Config>("[http]\naddress = \"127.0.0.1:1\"\n", None, HashMap::new()).expect_err("refused");
    assert!(errors.to_string().contains("ops"), "{errors}");
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let errors = loaded(Some(Path::new("/no/such/file.toml")), &[]).expect_err("refused");
    assert!(errors.to_string().contains("/no/such/file.toml"), "{errors}");
    assert!(loaded(Some(file("[machine").path()), &[]).is_err(), "not TOML");
}

#[test]
fn the_dump_shows_the_settings_and_no_secret() {
    let config = loaded(None, &[("PITBOSS__MACHINE__TOKEN", "hunter2-hunter2")]).expect("good");
    let dump = redacted(&config).to_string();
    assert!(dump.contains("127.0.0.1:8100") && dump.contains("[redacted]"), "{dump}");
    assert!(!dump.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
}

//! Merges the configuration layers, deserialises them and collects all errors.
//!
//! Deserialisation stops at the first error. The loader therefore records the error, replaces the refused value with its default
//! and tries again: a default is known to be valid. Each round finds one more error, so the number of rounds is bounded.

use config::{
    Config, ConfigBuilder, ConfigError, Environment, File, FileFormat, Source, ValueKind,
    builder::DefaultState,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

use super::{Common, ConfigErrors, Loaded, Sources, numbers};

/// Limit of reported errors. A longer list is not worth reading.
const ERRORS_MAX: usize = 50;

/// Settings of one layer or of all merged layers, by name.
pub(super) type Table = config::Map<String, config::Value>;

pub(super) fn load<C>(sources: &Sources) -> Result<Loaded<C>, ConfigErrors>
where
    C: DeserializeOwned + Serialize + Validate,
{
    let base = || Config::builder().add_source(File::from_str(&sources.defaults, FileFormat::Toml));
    let defaults = settings(base())
        .map_err(|error| ConfigErrors(vec![format!("cannot read the embedded defaults: {error}")]))?;
    let mut builder = base();
    let mut file_settings = None;
    if let Some(path) = &sources.file {
        let file = File::from(path.as_path()).format(FileFormat::Toml).required(true);
        let file_only = settings(Config::builder().add_source(file.clone()))
            .map_err(|error| ConfigErrors(vec![format!("cannot read {}: {error}", path.display())]))?;
        file_settings = Some((path, file_only));
        builder = builder.add_source(file);
    }
    let merged = settings(builder.add_source(environment(sources)))
        .map_err(|error| ConfigErrors(vec![format!("cannot read the environment: {error}")]))?;

    let (common, mut errors) = deserialise::<Common>(merged.clone(), &defaults);
    let (own, own_errors) = deserialise::<C>(merged.clone(), &defaults);
    errors.extend(own_errors);
    let (Some(common), Some(own)) = (common, own) else { return Err(ConfigErrors(errors)) };
    let known = known_settings(&common, &own);
    numbers::add_misread(&merged, &known, "", &mut errors);
    if let Some((path, given)) = &file_settings {
        report_unknown(given, &known, "", &mut |key| {
            errors.push(format!("{key}: no such setting (in {})", path.display()));
        });
    }
    let mut violations = Vec::new();
    for violated in [common.validate(), own.validate()].into_iter().filter_map(Result::err) {
        add_violations(&violated, "", &mut violations);
    }
    // A word that was read as a number may violate a rule, too. One line says enough.
    violations.retain(|line| errors.iter().all(|known| setting_of(known) != setting_of(line)));
    errors.extend(violations);
    if errors.is_empty() { Ok(Loaded { common, own }) } else { Err(ConfigErrors(errors)) }
}

/// All settings of both configurations, as one JSON object.
fn known_settings(common: &Common, own: &impl Serialize) -> Value {
    let object = |value: Option<Value>| match value {
        Some(Value::Object(settings)) => settings,
        _ => Default::default(),
    };
    let mut known = object(serde_json::to_value(own).ok());
    known.extend(object(serde_json::to_value(common).ok()));
    Value::Object(known)
}

fn settings(builder: ConfigBuilder<DefaultState>) -> Result<Table, ConfigError> {
    builder.build()?.collect()
}

/// Values stay text, so that a token of digits does not become a number. Number fields parse their text.
fn environment(sources: &Sources) -> Environment {
    Environment::with_prefix("PITBOSS")
        .prefix_separator("__")
        .separator("__")
        .ignore_empty(true)
        .source(Some(sources.environment.clone()))
}

/// Returns the errors, and the configuration if replacing the refused values made one possible.
fn deserialise<C: DeserializeOwned>(mut settings: Table, defaults: &Table) -> (Option<C>, Vec<String>) {
    let mut errors = Vec::new();
    while errors.len() < ERRORS_MAX {
        let error = match C::deserialize(config::Value::new(None, settings.clone())) {
            Ok(config) => return (Some(config), errors),
            Err(error) => error,
        };
        let key = key_of(&error);
        let error_line = error_line(&key, &error);
        // A default that is refused as well would be reported forever.
        if errors.contains(&error_line) {
            break;
        }
        errors.push(error_line);
        if !repair(&mut settings, defaults, &key) {
            break;
        }
    }
    (None, errors)
}

/// Replaces a refused value with its default, or removes it if there is no default. Returns `false` if there was no value.
fn repair(settings: &mut Table, defaults: &Table, key: &str) -> bool {
    let Some((section, rest)) = key.split_once('.') else {
        let default = defaults.get(key).cloned();
        let refused = settings.remove(key);
        settings.extend(default.map(|default| (key.to_owned(), default)));
        return refused.is_some();
    };
    let Some(ValueKind::Table(inner)) = settings.get_mut(section).map(|value| &mut value.kind) else {
        return false;
    };
    match defaults.get(section).map(|value| &value.kind) {
        Some(ValueKind::Table(inner_defaults)) => repair(inner, inner_defaults, rest),
        _ => repair(inner, &Table::default(), rest),
    }
}

/// Setting that an error is about. For an element of a list, the list.
fn key_of(error: &ConfigError) -> String {
    let key = match error {
        ConfigError::Type { key: Some(key), .. }
        | ConfigError::At { key: Some(key), .. }
        | ConfigError::NotFound(key) => key.as_str(),
        _ => "",
    };
    key.split('[').next().unwrap_or_default().trim_end_matches('.').to_owned()
}

/// Environment variable of a setting.
pub(super) fn variable_of(key: &str) -> String {
    format!("PITBOSS__{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// Error as one line of the form `key: what is wrong`, without repeating the key.
fn error_line(key: &str, error: &ConfigError) -> String {
    if key.is_empty() {
        return error.to_string();
    }
    let variable = variable_of(key);
    match error {
        ConfigError::NotFound(_) => format!("{key}: required and not set (set {variable})"),
        ConfigError::At { error, .. } => format!("{key}: {error} (set {variable})"),
        ConfigError::Type { unexpected, expected, .. } => {
            format!("{key}: expected {expected}, found {unexpected} (set {variable})")
        }
        other => format!("{key}: {other}"),
    }
}

/// Reports every setting of `given` that is missing in `known`.
fn report_unknown(given: &Table, known: &Value, path: &str, report: &mut impl FnMut(&str)) {
    let Value::Object(known) = known else { return };
    for (name, value) in given {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (known.get(name), &value.kind) {
            (Some(known), ValueKind::Table(given)) => report_unknown(given, known, &key, report),
            (Some(_), _) => {}
            (None, _) => report(&key),
        }
    }
}

/// Setting that an error line is about.
fn setting_of(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

/// Adds each violated rule as `key: message`. The value is never shown, because it may be a secret.
fn add_violations(errors: &ValidationErrors, path: &str, lines: &mut Vec<String>) {
    for (field, kind) in errors.errors() {
        let key = if path.is_empty() { field.to_string() } else { format!("{path}.{field}") };
        match kind {
            ValidationErrorsKind::Struct(inner) => add_violations(inner, &key, lines),
            ValidationErrorsKind::List(items) => {
                for (index, inner) in items {
                    add_violations(inner, &format!("{key}[{index}]"), lines);
                }
            }
            ValidationErrorsKind::Field(rules) => {
                lines.extend(rules.iter().map(|rule| format!("{key}: {}", rule_message(rule))));
            }
        }
    }
    lines.sort();
}

fn rule_message(rule: &validator::ValidationError) -> String {
    if let Some(message) = &rule.message {
        return message.to_string();
    }
    let mut bounds: Vec<String> = rule
        .params
        .iter()
        .filter(|(name, _)| *name != "value")
        .map(|(name, bound)| format!("{name} {bound}"))
        .collect();
    bounds.sort();
    format!("breaks the rule \"{}\" {}", rule.code, bounds.join(", ")).trim_end().to_owned()
}

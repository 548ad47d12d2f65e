//! Reads `.env`, the settings of this checkout, in the file's simplest form: `NAME=value`, `#` comments, optional quotes.

use std::collections::BTreeMap;
use std::path::Path;

use crate::RuntimeError;

/// Variables that are passed on to the services from `.env` and from the terminal (which wins), because a service reads them. The
/// runtime decides everything else that a process gets. So `up` means the same in every terminal, and a token for another tool,
/// such as `SENTRY_AUTH_TOKEN`, is not passed on.
const FOR_SERVICES: [&str; 9] = [
    "PITBOSS_LOG_FORMAT",
    "SENTRY_ENVIRONMENT",
    "SENTRY_RELEASE",
    "SENTRY_TRACES_SAMPLE_RATE",
    "SENTRY_PROFILES_SAMPLE_RATE",
    "SENTRY_PROFILE_SESSION_SAMPLE_RATE",
    "SENTRY_PROFILE_LIFECYCLE",
    "RUST_LOG",
    "RUST_BACKTRACE",
];
/// Prefixes of further such variables: settings of all services, and targets of the recorder's copies.
const FOR_SERVICES_PREFIXES: [&str; 2] = ["PITBOSS__", "PITBOSS_FORWARD_DSN_"];

/// Proxy variables, which the recorder needs to send copies to a real Sentry from a network that has only a proxy.
pub const PROXIES: [&str; 8] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

/// Reads the file. Returns no variables if there is no file.
pub fn read(path: &Path) -> Result<BTreeMap<String, String>, RuntimeError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            parse(&text).map_err(|reason| RuntimeError::Refused(format!("{}: {reason}", path.display())))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(RuntimeError::io(format!("cannot read {}", path.display()), e)),
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) =
            line.split_once('=').ok_or(format!("line {}: expected NAME=value", number + 1))?;
        let name = name.trim_end();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("line {}: \"{name}\" is not a valid variable name", number + 1));
        }
        let value = value.trim();
        let quoted = |quote: char| value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote));
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

/// Returns those variables that are passed on to the services.
#[must_use]
pub fn for_services(variables: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    variables
        .into_iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            FOR_SERVICES.contains(&name)
                || PROXIES.contains(&name)
                || FOR_SERVICES_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_comments_and_quotes_are_parsed() {
        let read =
            parse("# mine\n\nRUST_LOG=info,bus=debug\n export A = \"x y\" \nB='#'\nURL=http://k@h/1?a=b\n")
                .unwrap();
        let expected =
            [("A", "x y"), ("B", "#"), ("RUST_LOG", "info,bus=debug"), ("URL", "http://k@h/1?a=b")];
        assert_eq!(read, expected.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
        assert_eq!(parse("a\n"), Err("line 1: expected NAME=value".to_owned()));
        assert!(parse("A B=1").is_err());
    }

    #[test]
    fn example_file_is_valid_when_uncommented() {
        let example = include_str!("../../../.env.example");
        assert_eq!(parse(example), Ok(BTreeMap::new()), "every setting of the example is a comment");
        let lines: String = example
            .lines()
            .map(|l| l.strip_prefix('#').filter(|l| l.contains('=')).unwrap_or(""))
            .map(|l| format!("{l}\n"))
            .collect();
        let read = parse(&lines).unwrap();
        assert!(
            read.len() >= 10
                && read.keys().all(|name| name.starts_with("PITBOSS_")
                    || for_services([(name.clone(), String::new())]).len() == 1)
        );
    }

    #[test]
    fn only_variables_of_services_are_passed_on() {
        let given = [
            "PATH",
            "http_proxy",
            "SENTRY_TRACES_SAMPLE_RATE",
            "SENTRY_AUTH_TOKEN",
            "SENTRY_DSN",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "RUST_LOG_STYLE",
            "PITBOSS__DRAIN__DEADLINE_MS",
            "PITBOSS_PORT_BASE",
        ];
        let kept = for_services(given.map(|n| (n.to_owned(), String::new())));
        assert_eq!(
            kept.into_keys().collect::<Vec<_>>(),
            ["PITBOSS__DRAIN__DEADLINE_MS", "SENTRY_TRACES_SAMPLE_RATE", "http_proxy"]
        );
    }
}

//! `domain/` imports only `std`, `money`, `contracts` and itself, and has no async, no clock and no randomness of its own.

use std::path::{Path, PathBuf};

/// The roots that a path in `domain/` may begin with.
const ALLOWED_ROOTS: [&str; 7] = ["std", "core", "money", "contracts", "crate", "super", "self"];
/// Words that have no place there, wherever they stand.
const FORBIDDEN: [&str; 7] =
    ["async ", ".await", "SystemTime", "Instant::", "std::net", "std::fs", "std::thread"];

/// What in a source file breaks the rule.
fn impurities(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let words = FORBIDDEN.iter().filter(|word| code.contains(**word)).map(|word| (*word).to_owned());
        let imports =
            code.trim_start().strip_prefix("pub ").unwrap_or(code.trim_start()).strip_prefix("use ");
        let roots = imports.into_iter().filter_map(|path| {
            let root = path.split([':', ';', ' ', '{']).next().unwrap_or_default();
            // An enum of the file itself may be opened up: `use Symbol::{…}`.
            let own = root.starts_with(char::is_uppercase);
            (!own && !ALLOWED_ROOTS.contains(&root)).then(|| format!("use {root}"))
        });
        let outside =
            path_roots(code).filter(|root| FOREIGN_CRATES.contains(root)).map(|root| format!("{root}::"));
        found.extend(words.chain(roots).chain(outside).map(|what| format!("line {}: {what}", number + 1)));
    }
    found
}

/// Crates that could be reached by a full path without an import.
const FOREIGN_CRATES: [&str; 12] = [
    "tokio",
    "rand",
    "rand_chacha",
    "bus",
    "store",
    "telemetry",
    "chassis",
    "axum",
    "serde",
    "tracing",
    "time",
    "uuid",
];

/// The first segment of every path in a line.
fn path_roots(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).filter_map(|path| {
        let (root, _) = path.split_once("::")?;
        (!root.is_empty()).then_some(root)
    })
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn the_domain_is_pure() {
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain"));
    assert!(!files.is_empty(), "nothing was looked at: {files:?}");
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        assert_eq!(impurities(code), Vec::<String>::new(), "{}", file.display());
    }
}

/// The check sees what it is for.
#[test]
fn impurities_are_found() {
    for bad in [
        "use tokio::time;",
        "pub use store::mongo::Mongo;",
        "use std::time::SystemTime;",
        "    let n = rand::random::<u8>();",
        "pub async fn decide() {}",
        "let now = telemetry::trace_id();",
    ] {
        assert!(!impurities(bad).is_empty(), "{bad}");
    }
    for good in
        ["use money::Money;", "use super::machine::Machine;", "// use tokio::time;", "Self::new(Kind::X)"]
    {
        assert!(impurities(good).is_empty(), "{good}");
    }
}

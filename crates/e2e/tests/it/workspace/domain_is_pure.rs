//! Checks that a service's `domain/` imports only pure crates, is never async and reads no clock. This allows property tests and
//! the simulator to drive it.

use std::fs;
use std::path::Path;

use super::{root, rust_files};

/// First segments of paths that a domain may import. `serde`, `thiserror` and `utoipa` only derive code, and `bytes` is a plain
/// container. `rules` has the declared alert rules. `rand` and its generators are pure functions of a seed.
const ALLOWED: [&str; 14] = [
    "std",
    "core",
    "money",
    "contracts",
    "crate",
    "self",
    "super",
    "serde",
    "thiserror",
    "utoipa",
    "bytes",
    "rand",
    "rand_chacha",
    "rules",
];
/// Text that must not occur at all.
const FORBIDDEN: [&str; 13] = [
    "async fn",
    ".await",
    "SystemTime::now",
    "Instant::now",
    "tokio::",
    "rand::rng(",
    "OffsetDateTime::now_utc",
    "std::net",
    "std::fs",
    "std::thread",
    "telemetry::",
    "store::",
    "bus::",
];

fn impurities(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // Everything after `#[cfg(test)]` is a test and is not restricted.
    let production = text.split("#[cfg(test)]").next().unwrap_or_default();
    for (number, line) in production.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let trimmed = code.trim_start();
        if let Some(path) = trimmed.strip_prefix("use ").or_else(|| trimmed.strip_prefix("pub use ")) {
            let first = path.split([':', ';', ' ', '{']).next().unwrap_or_default();
            // A sibling module that the file declares with `mod` is imported without `self::`.
            let sibling = production.contains(&format!("mod {first};"));
            // `use Symbol::*` imports from a type of the file itself.
            let own_type = first.starts_with(char::is_uppercase);
            if !first.is_empty() && !ALLOWED.contains(&first) && !sibling && !own_type {
                found.push(format!("{name}:{}: imports {first}", number + 1));
            }
        }
        for text in FORBIDDEN.iter().filter(|text| code.contains(**text)) {
            found.push(format!("{name}:{}: {text}", number + 1));
        }
    }
    found
}

fn domain_files() -> Vec<std::path::PathBuf> {
    let services = root().join("services");
    let mut files = Vec::new();
    for entry in fs::read_dir(&services).expect("services/") {
        let source = entry.expect("an entry").path().join("src");
        files.extend(rust_files(&source.join("domain")));
        files.extend(Some(source.join("domain.rs")).filter(|f| f.is_file()));
    }
    files
}

#[test]
fn domains_are_pure() {
    let files = domain_files();
    assert!(files.len() >= 4, "only {} files under services/*/src/domain", files.len());
    let mut found = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a readable file");
        let name = file.strip_prefix(root()).unwrap_or(Path::new("?")).display().to_string();
        found.extend(impurities(&name, &text));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn impure_code_is_found() {
    let impure = "use tokio::sync::Mutex;\npub async fn decide() { let now = std::time::Instant::now(); }\n";
    assert_eq!(impurities("x.rs", impure).len(), 4);
    assert!(impurities("x.rs", "use std::fmt;\nuse money::Money;\n").is_empty());
}

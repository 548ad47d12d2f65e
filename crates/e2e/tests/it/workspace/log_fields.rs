//! Checks that the dotted fields of log lines are those that `docs/LOGGING.md` lists, so that one query finds them in every service.

use std::collections::BTreeSet;
use std::fs;

use regex::Regex;

use super::{root, rust_files};

/// Names in the first column of the table.
fn documented(text: &str) -> BTreeSet<String> {
    let name = Regex::new("`([a-z_.]+)`").expect("a pattern");
    let cells = text.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| name.captures_iter(cell).map(|found| found[1].to_owned())).collect()
}

/// Dotted names before a `=` in the arguments of `tracing`'s macros.
fn logged(source: &str) -> BTreeSet<String> {
    let production = source.split("#[cfg(test)]").next().unwrap_or_default();
    let call = Regex::new(r"(?s)tracing::(?:debug|info|warn|error)!\((.*?)\)[;,\n]").expect("a pattern");
    let field = Regex::new(r"\b([a-z_]+(?:\.[a-z_]+)+) = ").expect("a pattern");
    let fields =
        |arguments: &str| field.captures_iter(arguments).map(|found| found[1].to_owned()).collect::<Vec<_>>();
    call.captures_iter(production).flat_map(|found| fields(&found[1])).collect()
}

#[test]
fn logged_and_documented_fields_are_equal() {
    let documented = documented(&fs::read_to_string(root().join("docs/LOGGING.md")).expect("the page"));
    let (mut all, mut sources) = (BTreeSet::new(), String::new());
    for folder in ["crates", "services"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder of members") {
            for file in rust_files(&entry.expect("an entry").path().join("src")) {
                let source = fs::read_to_string(file).expect("a readable file");
                all.extend(logged(&source));
                sources.push_str(&source);
            }
        }
    }
    assert!(all.len() > 10, "only {all:?}: the test does not find the log lines");
    let missing: Vec<_> = all.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/LOGGING.md: {missing:?}");
    let unused: Vec<_> = documented.iter().filter(|name| !sources.contains(name.as_str())).collect();
    assert!(unused.is_empty(), "in docs/LOGGING.md and nowhere in the code: {unused:?}");
}

#[test]
fn fields_of_a_log_line_are_found() {
    let found = logged(
        "tracing::warn!(player.id = %id, left, \"text (with a.b = c)\");\n tracing::info!(\n  a_b.c = 1,\n);",
    );
    assert!(found.contains("player.id") && found.contains("a_b.c"), "{found:?}");
    assert!(logged("let a.b = 1;").is_empty());
}

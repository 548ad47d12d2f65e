//! docs/STATEMENTS.md names tests that exist.

use std::fs;

use regex::Regex;

use super::root;

/// The tests that the page names, with the files that it says they are in.
fn tests_named(page: &str) -> Vec<(String, String)> {
    let place = Regex::new(r"((?:`\w+`(?:, )?)+) \(((?:crates|services)/[\w/.-]+\.rs)").expect("a pattern");
    let name = Regex::new(r"`(\w+)`").expect("a pattern");
    let places = place.captures_iter(page).map(|found| (found[1].to_owned(), found[2].to_owned()));
    places
        .flat_map(|(names, file)| {
            let names: Vec<String> = name.captures_iter(&names).map(|found| found[1].to_owned()).collect();
            names.into_iter().map(move |name| (name, file.clone()))
        })
        .collect()
}

#[test]
fn named_tests_exist() {
    let page = fs::read_to_string(root().join("docs/STATEMENTS.md")).unwrap();
    let tests = tests_named(&page);
    assert!(tests.len() > 40, "only {} tests are named", tests.len());
    let is_missing = |(name, file): &(String, String)| {
        let source = fs::read_to_string(root().join(file)).unwrap_or_default();
        !source.contains(&format!("fn {name}("))
    };
    let missing: Vec<(String, String)> = tests.into_iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "docs/STATEMENTS.md names tests that are not there: {missing:?}");
}

#[test]
fn names_are_read_with_their_file() {
    let page = "| `a_test`, `another` (crates/bus/tests/it/x.rs: why), row `consumer.dead`, `third` (services/user/src/y.rs) |";
    let expected = [
        ("a_test", "crates/bus/tests/it/x.rs"),
        ("another", "crates/bus/tests/it/x.rs"),
        ("third", "services/user/src/y.rs"),
    ];
    let expected = expected.map(|(name, file)| (name.to_owned(), file.to_owned()));
    assert_eq!(tests_named(page), expected);
}

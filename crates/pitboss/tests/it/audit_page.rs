//! The page of the audit has a row for every check, in the order of the report, with the promise that the report names.

use std::path::Path;

use pitboss::audit::CheckId;

/// Returns name and promise of each row of the table of checks.
fn rows(page: &str) -> Vec<(&str, &str)> {
    page.lines()
        .skip_while(|line| !line.starts_with("| check |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let name = cells.next()?.trim_matches('`');
            Some((name, cells.next_back()?))
        })
        .collect()
}

/// Returns the name and the number of the promise of each check.
fn checks() -> Vec<(&'static str, &'static str)> {
    let number = |check: &CheckId| check.promise().split_once(':').map_or("", |(number, _)| number);
    CheckId::ALL.iter().map(|check| (check.name(), number(check))).collect()
}

#[test]
fn page_lists_every_check_with_its_promise() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/AUDIT.md");
    let page = std::fs::read_to_string(path).unwrap();
    assert_eq!(rows(&page), checks());
}

#[test]
fn rows_are_read_without_the_text_around_them() {
    let page = "text | text\n\n| check | what | promise |\n|---|---|---|\n| `a-b` | One `x`. | I1 |\n| `c` | Two. | I12 |\n\n| `d` | | I3 |\n";
    assert_eq!(rows(page), [("a-b", "I1"), ("c", "I12")]);
}

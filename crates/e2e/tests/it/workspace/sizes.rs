//! Checks that no file has more than 500 lines without its tests. Clippy limits functions to 70 lines (`clippy.toml`).

use std::fs;
use std::path::Path;

use super::{root, rust_files};

const FILE_LINES_MAX: usize = 500;

/// Lines up to the first unit test module that is in the file. A module in another file, or an item for tests, ends nothing.
fn production_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_module = |line: &&str| line.starts_with("mod ") && line.ends_with('{');
    let is_end = |number: &usize| {
        let of_item = lines[*number..].iter().find(|line| !line.starts_with("#["));
        lines[*number].starts_with("#[cfg(test)]") && of_item.is_some_and(is_module)
    };
    (0..lines.len()).find(is_end).unwrap_or(lines.len())
}

#[test]
fn files_are_short() {
    let mut files = Vec::new();
    for folder in ["crates", "services"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder of members") {
            files.extend(rust_files(&entry.expect("an entry").path().join("src")));
        }
    }
    assert!(files.len() > 50, "only {} files: the test reads the wrong folder", files.len());
    let mut lengths: Vec<(usize, String)> = files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).expect("a readable file");
            let name = file.strip_prefix(root()).unwrap_or(Path::new("?")).display().to_string();
            (production_lines(&text), name)
        })
        .collect();
    lengths.sort();
    let too_long: Vec<_> = lengths.iter().filter(|(lines, _)| *lines > FILE_LINES_MAX).collect();
    assert!(too_long.is_empty(), "{too_long:?}");
}

#[test]
fn tests_are_not_counted() {
    assert_eq!(production_lines("fn a() {}\n#[cfg(test)]\nmod tests {\n}\n"), 1);
    assert_eq!(production_lines("fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n}\n"), 1);
}

#[test]
fn lines_behind_an_item_for_tests_are_counted() {
    assert_eq!(production_lines("#[cfg(test)]\nmod tests;\n\nfn a() {}\n"), 4);
    assert_eq!(production_lines("#[cfg(test)]\nfn a() {}\nfn b() {}\n#[cfg(test)]\nmod tests {\n}\n"), 3);
}

//! Checks that code names a fault as `faults::FaultId` and never by its text, so that the compiler knows each place that reads it.
//! `crates/faults/tests/it/readers.rs` checks that there is one for each fault.

use std::fs;

use faults::FaultId;

use super::{root, rust_files};

/// Members whose code may name a fault. The registry itself and the command line are not among them.
const FOLDERS: [&str; 4] = ["services", "crates/bus", "crates/chassis", "crates/telemetry"];

/// Faults that the code names by their text. Comments and tests at the end of the file are left out.
fn named_by_text(source: &str) -> Vec<FaultId> {
    let production = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code: String = production.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    FaultId::ALL.into_iter().filter(|id| code.contains(&format!("\"{id}"))).collect()
}

#[test]
fn no_code_names_a_fault_by_text() {
    let (mut found, mut files) = (Vec::new(), 0);
    for folder in FOLDERS {
        for file in rust_files(&root().join(folder)) {
            if !file.components().any(|part| part.as_os_str() == "src") {
                continue;
            }
            files += 1;
            let named = named_by_text(&fs::read_to_string(&file).expect("a readable file"));
            found.extend(named.into_iter().map(|id| format!("{}: {id}", file.display())));
        }
    }
    assert!(files > 100, "only {files} files: the test reads the wrong folder");
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn fault_named_by_text_is_found() {
    let id = FaultId::UserUnauthorized;
    assert_eq!(named_by_text(&format!("let id = \"{id}\";")), [id]);
    assert_eq!(named_by_text(&format!("let header = \"{id};x=1\";")), [id]);
    for allowed in [format!("/// `{id}` or \"{id}\""), format!("#[cfg(test)]\nlet id = \"{id}\";")] {
        assert!(named_by_text(&allowed).is_empty(), "{allowed}");
    }
}

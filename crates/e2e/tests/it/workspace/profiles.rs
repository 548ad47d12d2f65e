//! Checks the profiles of the workspace's manifest. A mistake there breaks no build: it makes each build take minutes longer.

use std::collections::BTreeSet;
use std::fs;

use super::root;

/// The command line. Its tests are compiled at the level of the program.
const COMMAND_LINE: &str = "pitboss";

fn manifest() -> String {
    fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest")
}

/// Lines of a table of the manifest.
fn table<'a>(manifest: &'a str, header: &str) -> Vec<&'a str> {
    let rest = manifest.lines().skip_while(|line| *line != header).skip(1);
    rest.take_while(|line| !line.starts_with('[')).collect()
}

/// Names of our crates, which are those of their folders.
fn members() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["crates", "services"] {
        for entry in fs::read_dir(root().join(folder)).expect("a folder of members") {
            names.insert(entry.expect("an entry").file_name().to_string_lossy().into_owned());
        }
    }
    names
}

#[test]
fn tests_are_compiled_without_the_optimiser() {
    let manifest = manifest();
    let lines = table(&manifest, "[profile.test.package]");
    let named: BTreeSet<String> = lines
        .iter()
        .filter_map(|line| line.strip_suffix(" = { opt-level = 0 }"))
        .map(str::to_owned)
        .collect();
    let mut expected = members();
    assert!(expected.remove(COMMAND_LINE), "there is no {COMMAND_LINE}");
    assert_eq!(named, expected);
}

/// A level there would also be that of procedural macros and of everything that they depend on.
#[test]
fn all_dependencies_have_no_level_of_their_own() {
    let manifest = manifest();
    let lines = table(&manifest, "[profile.dev.package.\"*\"]");
    assert!(lines.contains(&"codegen-units = 1"), "the test does not read the table: {lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("opt-level")), "{lines:?}");
    assert!(!manifest.contains("[profile.test.package.\"*\"]"));
}

/// Line tables in tests would be compiled for nothing. In the gate, programs and tests share what is compiled only if both have none.
#[test]
fn only_programs_have_line_tables() {
    let manifest = manifest();
    assert!(table(&manifest, "[profile.dev]").contains(&"debug = \"line-tables-only\""));
    assert_eq!(table(&manifest, "[profile.test]").first(), Some(&"debug = false"));
    let of_dependencies = table(&manifest, "[profile.dev.package.\"*\"]");
    assert!(of_dependencies.iter().any(|line| line.starts_with("debug = false")), "{of_dependencies:?}");
    let gate = fs::read_to_string(root().join(".ci/run")).expect("the gate");
    assert!(gate.contains("export CARGO_PROFILE_DEV_DEBUG=none"));
}

/// With the level of `dev`, a build after the gate would use what the gate's C compiler (`.ci/cc`) made.
#[test]
fn c_code_of_the_gate_has_a_level_of_its_own() {
    let manifest = manifest();
    assert!(table(&manifest, "[profile.dev]").contains(&"opt-level = 2"));
    let gate = fs::read_to_string(root().join(".ci/cargo.toml")).expect("the settings of the gate");
    let levels = table(&gate, "[profile.dev.package]");
    for package in ["rdkafka-sys", "ring", "zstd-sys"] {
        let line = format!("{package} = {{ opt-level = 1 }}");
        assert!(levels.contains(&line.as_str()), "{line} is not in {levels:?}");
        let own = format!("{package} = {{ opt-level");
        assert!(!manifest.lines().any(|line| line.starts_with(&own)), "{package} has its own level");
    }
}

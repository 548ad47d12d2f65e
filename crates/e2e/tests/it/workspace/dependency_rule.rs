//! Checks with `cargo metadata` that each crate depends only on crates below it (`docs/ARCHITECTURE.md`).

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

use super::root;

const SERVICES: [&str; 10] = [
    "gateway",
    "user",
    "game",
    "payment",
    "analytics",
    "notification",
    "recorder",
    "lagwatch",
    "partners",
    "wire",
];
const LIBRARIES: [&str; 8] =
    ["money", "contracts", "faults", "telemetry", "rules", "bus", "store", "chassis"];
/// Dependencies that only some crates may link: (dependency, these crates). `e2e` has only tests, and plays other producers.
/// `barechain` is what the platform is compared with, and uses none of our crates (ADR 15).
const ONLY: [(&str, &[&str]); 6] = [
    ("rdkafka", &["barechain", "bus", "e2e"]),
    ("mongodb", &["barechain", "store"]),
    ("deadpool-redis", &["store"]),
    ("sentry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("rusqlite", &["recorder"]),
];

/// Allowed dependencies of each of our crates. A crate that is missing here fails the test.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut rule: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::from([
        ("barechain", BTreeSet::new()),
        ("money", BTreeSet::new()),
        ("telemetry", BTreeSet::new()),
        ("contracts", BTreeSet::from(["money"])),
        ("faults", BTreeSet::from(["contracts"])),
        ("rules", BTreeSet::from(["telemetry"])),
        ("bus", BTreeSet::from(["contracts", "telemetry"])),
        ("store", BTreeSet::from(["money", "contracts", "telemetry"])),
        ("chassis", BTreeSet::from(["bus", "store", "contracts", "faults", "telemetry"])),
        ("runtime", BTreeSet::from(["contracts"])),
    ]);
    for service in SERVICES {
        rule.insert(service, LIBRARIES.into());
    }
    let all_crates: BTreeSet<&str> = LIBRARIES.into_iter().chain(["runtime", "testkit", "pitboss"]).collect();
    for top in ["pitboss", "testkit", "e2e"] {
        rule.insert(top, all_crates.clone());
    }
    rule
}

/// Checks edges (from, to): dependencies between members, and dependencies on a guarded library.
fn violations(edges: &[(String, String)]) -> Vec<String> {
    let rule = allowed();
    let mut found = Vec::new();
    for (from, to) in edges {
        if let Some((_, owners)) = ONLY.iter().find(|(guarded, _)| guarded == to) {
            if !owners.contains(&from.as_str()) {
                found.push(format!("{from} links {to}, which only {owners:?} may"));
            }
            continue;
        }
        match rule.get(from.as_str()) {
            None => found.push(format!("{from} is not in the rule: add it there")),
            Some(may) if !may.contains(to.as_str()) => found.push(format!("{from} must not depend on {to}")),
            Some(_) => {}
        }
    }
    found
}

fn workspace_edges() -> Vec<(String, String)> {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata");
    let members: BTreeSet<String> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    let mut edges = Vec::new();
    for package in &metadata.packages {
        for dependency in &package.dependencies {
            let ours = members.contains(&dependency.name);
            let guarded = ONLY.iter().any(|(name, _)| *name == dependency.name);
            // Tests may use testkit. Every other dependency counts in tests too.
            let for_tests = dependency.kind == DependencyKind::Development && dependency.name == "testkit";
            if (ours || guarded) && !for_tests {
                edges.push((package.name.to_string(), dependency.name.clone()));
            }
        }
    }
    edges
}

#[test]
fn dependencies_follow_rule() {
    let edges = workspace_edges();
    assert!(edges.len() > 40, "only {} edges found: the test reads the wrong folder", edges.len());
    let found = violations(&edges);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_member_is_in_the_rule() {
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata");
    let rule = allowed();
    for package in &metadata.packages {
        assert!(rule.contains_key(package.name.as_str()), "{} is missing in the rule", package.name);
    }
}

#[test]
fn wrong_dependency_is_found() {
    for (from, to) in [
        ("money", "contracts"),
        ("bus", "chassis"),
        ("faults", "telemetry"),
        ("rules", "bus"),
        ("bus", "faults"),
        ("game", "payment"),
        ("game", "rdkafka"),
        ("game", "mongodb"),
        ("barechain", "bus"),
        ("new", "bus"),
    ] {
        assert_eq!(violations(&[(from.into(), to.into())]).len(), 1, "{from} -> {to}");
    }
}

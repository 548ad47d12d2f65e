//! Releases on a whole platform: a canary beside the release before, its share of the partitions, promotion and rollback.

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use super::{cli, exclusive, output_text, part_of, setting, status};

const VERSION: &str = "0.1.1+e2e";
const RELEASE: &str = "pitboss@0.1.1+e2e";

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", output_text(output)))
}

/// Runs a command that has to succeed.
fn done(args: &[&str]) -> Value {
    let output = cli(args, None);
    assert!(output.status.success(), "{args:?}: {}", output_text(&output));
    json(&output)
}

/// Runs a command that has to be refused, and returns its text.
fn refused(args: &[&str]) -> String {
    let output = cli(args, None);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", output_text(&output));
    output_text(&output)
}

fn has_part(status: &Value, name: &str) -> bool {
    status["parts"].as_array().expect("parts").iter().any(|part| part["name"] == name)
}

#[tokio::test]
async fn canary_is_promoted_and_rolled_back() {
    // A restart of analytics would disturb other tests.
    let _guard = exclusive().await;
    let own = part_of(&status(), "analytics")["version"].clone();
    let program = PathBuf::from(setting("PITBOSS_BIN")).join("analytics").display().to_string();
    let deploy = ["release", "deploy", "analytics", "--program", &program, "--version", VERSION];
    let canary = [&deploy[..], &["--canary", "50", "--json"]].concat();

    let deployed = done(&canary);
    assert_eq!((&deployed["release"], &deployed["changed"]), (&RELEASE.into(), &true.into()), "{deployed}");
    let (partitions, of) = (deployed["share"]["partitions"].as_u64(), deployed["share"]["of"].as_u64());
    assert_eq!(of, Some(24), "six partitions of four topics: {deployed}");
    assert!(partitions.is_some_and(|count| (10..=14).contains(&count)), "{deployed}");
    assert_eq!(deployed["sentry"]["result"], "left-out", "{deployed}");
    assert_eq!(done(&canary)["changed"], false, "a repetition changes nothing");

    let both = status();
    assert_eq!(part_of(&both, "analytics-canary")["version"], VERSION);
    assert_eq!(part_of(&both, "analytics")["version"], own, "it was not restarted");
    let shown = done(&["release", "status", "analytics", "--json"]);
    let instances = shown["services"][0]["instances"].as_array().expect("instances");
    assert_eq!(instances.len(), 2, "{shown}");
    let other = refused(&["release", "deploy", "analytics", "--release", "pitboss@9.9.9"]);
    assert!(other.contains("already has the canary"), "{other}");

    done(&["release", "promote", "analytics", "--json"]);
    let promoted = status();
    assert_eq!(part_of(&promoted, "analytics")["version"], VERSION);
    assert!(!has_part(&promoted, "analytics-canary"), "{promoted}");
    let up = cli(&["up", "--yes", "--no-build", "--no-bet", "--json"], None);
    assert!(up.status.success(), "{}", output_text(&up));
    assert_eq!(part_of(&status(), "analytics")["version"], VERSION, "another up keeps what was deployed");

    let back = done(&["release", "rollback", "analytics", "--json"]);
    assert_eq!((&back["from"], &back["was_canary"]), (&RELEASE.into(), &false.into()), "{back}");
    assert_eq!(part_of(&status(), "analytics")["version"], own);
    let nothing = refused(&["release", "rollback", "analytics"]);
    assert!(nothing.contains("nothing to roll back"), "{nothing}");
    let unknown = refused(&["release", "deploy", "analytics", "--release", "pitboss@9.9.9"]);
    assert!(unknown.contains("there is no release pitboss@9.9.9"), "{unknown}");
}

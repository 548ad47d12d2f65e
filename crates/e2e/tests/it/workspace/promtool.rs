//! Prometheus' own tool reads the rules and plays their tests.
//!
//! Without `promtool` the tests are skipped with a message. With `PITBOSS_TEST_PROMTOOL=1`, as in the gate, they fail.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::root;

const RULES: &str = "pitboss.rules.yml";
const TESTS: &str = "pitboss.rules.test.yml";

/// Runs the tool in a folder. `None` if it is not installed and does not have to be.
fn promtool(folder: &Path, arguments: &[&str]) -> Option<Output> {
    match Command::new("promtool").args(arguments).current_dir(folder).output() {
        Ok(output) => Some(output),
        Err(error) => {
            let is_required = std::env::var("PITBOSS_TEST_PROMTOOL").is_ok_and(|value| value == "1");
            assert!(!is_required, "promtool does not start: {error} (Debian's package prometheus has it)");
            None
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    let folder = root().join("deploy/prometheus");
    for arguments in [["check", "rules", RULES], ["test", "rules", TESTS]] {
        let Some(output) = promtool(&folder, &arguments) else {
            eprintln!(
                "promtool is not installed, so {} was skipped: apt-get install prometheus",
                arguments[0]
            );
            return;
        };
        assert!(output.status.success(), "promtool {arguments:?}: {}", said(&output));
    }
}

/// With another bound the tests of the rules are red.
#[test]
fn promtool_finds_a_wrong_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = root().join("deploy/prometheus");
    let rules = fs::read_to_string(source.join(RULES)).expect("the rules");
    let begin = rules.find("- alert: DeadLetters").expect("the rule");
    let (before, rule) = rules.split_at(begin);
    let wrong = format!("{before}{}", rule.replacen(" > 0'", " > 1'", 1));
    assert_ne!(wrong, rules, "nothing was changed");
    fs::write(folder.path().join(RULES), wrong).expect("a file");
    fs::copy(source.join(TESTS), folder.path().join(TESTS)).expect("a file");
    let Some(output) = promtool(folder.path(), &["test", "rules", TESTS]) else { return };
    assert!(!output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("DeadLetters"), "{}", said(&output));
}

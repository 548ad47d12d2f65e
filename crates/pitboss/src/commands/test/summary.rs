//! How many tests passed, from what `cargo test` says.

use std::sync::LazyLock;

use regex::Regex;

/// The count over all test programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Whether cargo says that all is well.
    pub(super) succeeded: bool,
    programs: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
    failures: Vec<String>,
}

impl Summary {
    /// Takes one line of output into account.
    pub(super) fn hear(&mut self, line: &str) {
        static RESULT: LazyLock<Option<Regex>> = LazyLock::new(|| {
            Regex::new(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;").ok()
        });
        let plain = console::strip_ansi_codes(line);
        if let Some(counts) = RESULT.as_ref().and_then(|r| r.captures(&plain)) {
            let count = |n: usize| counts.get(n).and_then(|m| m.as_str().parse::<u32>().ok()).unwrap_or(0);
            self.programs += 1;
            self.passed += count(1);
            self.failed += count(2);
            self.ignored += count(3);
        } else if let Some(name) =
            plain.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }

    /// Whether all is well. No failure among no tests is not well: somebody asked for tests.
    pub(super) fn holds(&self) -> bool {
        self.succeeded && self.failed == 0 && self.passed > 0
    }

    pub(super) fn text(&self) -> String {
        let Self { programs, passed, failed, ignored, failures, .. } = self;
        let mut text = format!(
            "\n{passed} tests passed, {failed} failed, {ignored} ignored in {programs} test programs\n"
        );
        for failure in failures {
            text.push_str(&format!("  failed: {failure}\n"));
        }
        if self.passed == 0 && self.failed == 0 {
            text.push_str("  no test ran\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_and_failures_named() {
        let mut summary = Summary { succeeded: true, ..Summary::default() };
        assert!(!summary.holds(), "nothing ran");
        summary.hear(
            "test result: ok. 42 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.20s",
        );
        assert!(summary.holds());
        summary.hear("test a::b ... FAILED");
        summary.hear("test result: \u{1b}[31mFAILED\u{1b}[0m. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        assert!(!summary.holds());
        let text = summary.text();
        assert!(text.contains("45 tests passed, 1 failed, 1 ignored in 2 test programs"), "{text}");
        assert!(text.contains("failed: a::b"), "{text}");
    }
}

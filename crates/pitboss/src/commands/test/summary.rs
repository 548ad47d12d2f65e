//! Counts passed and failed tests, and collects the reasons of failures, from the output of test programs.

use std::sync::LazyLock;

use regex::Regex;

/// Limits of the output of one failed test in the summary: its lines, and the characters of each line.
const LINES_MAX: usize = 12;
const LINE_CHARS_MAX: usize = 400;

/// Result of all test programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// `true` if everything was built and ran to its end.
    pub(super) succeeded: bool,
    programs: u32,
    passed: u32,
    failed: u32,
    ignored: u32,
    failures: Vec<Failure>,
    /// Programs that failed, with how they ended.
    failed_programs: Vec<String>,
    /// Index of the failed test whose output is being read.
    reading: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Failure {
    name: String,
    /// Start of its output, up to the backtrace.
    output: Vec<String>,
}

impl Summary {
    /// Reads one line of output.
    pub(super) fn read_line(&mut self, line: &str) {
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
            self.failures.push(Failure { name: name.to_owned(), output: vec![] });
        } else {
            self.read_output(&plain);
        }
    }

    /// Number of results that were read. A test program has one.
    pub(super) fn results(&self) -> u32 {
        self.programs
    }

    /// Records that a program failed, which it does also without a failed test, for example when a signal ended it.
    pub(super) fn program_failed(&mut self, name: &str, how: &str) {
        self.failed_programs.push(format!("{name} ({how})"));
        self.reading = None;
    }

    /// The output of a failed test follows a line `---- its::name stdout ----`, after all tests of its program have ended.
    fn read_output(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            // The last failure of that name, because an earlier program may have a test with the same name.
            self.reading = self.failures.iter().rposition(|failure| failure.name == name);
        } else if ["stack backtrace:", "failures:", "note: run with"].iter().any(|end| line.starts_with(end))
        {
            self.reading = None;
        } else if let Some(failure) = self.reading.and_then(|index| self.failures.get_mut(index))
            && !line.trim().is_empty()
            && failure.output.len() < LINES_MAX
        {
            failure.output.push(line.chars().take(LINE_CHARS_MAX).collect());
        }
    }

    /// Returns `true` if all tests passed. A run without any test does not count as passed.
    pub(super) fn holds(&self) -> bool {
        self.succeeded && self.failed_programs.is_empty() && self.failed == 0 && self.passed > 0
    }

    pub(super) fn text(&self) -> String {
        let Self { programs, passed, failed, ignored, failures, failed_programs, .. } = self;
        let mut text = format!(
            "\n{passed} tests passed, {failed} failed, {ignored} ignored in {programs} test programs\n"
        );
        for Failure { name, output } in failures {
            text.push_str(&format!("  failed: {name}\n"));
            for line in output {
                text.push_str(&format!("    {line}\n"));
            }
        }
        for program in failed_programs {
            text.push_str(&format!("  failed program: {program}\n"));
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
    fn results_add_up_and_failures_are_named() {
        let mut summary = Summary { succeeded: true, ..Summary::default() };
        assert!(!summary.holds(), "no test ran");
        summary.read_line(
            "test result: ok. 42 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.20s",
        );
        assert!(summary.holds());
        summary.read_line("test a::b ... FAILED");
        summary.read_line("test result: \u{1b}[31mFAILED\u{1b}[0m. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        assert!(!summary.holds());
        let text = summary.text();
        assert!(text.contains("45 tests passed, 1 failed, 1 ignored in 2 test programs"), "{text}");
        assert!(text.contains("failed: a::b"), "{text}");
    }

    #[test]
    fn summary_repeats_output_of_failed_tests() {
        let mut summary = Summary::default();
        let output = "test a ... FAILED\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\n\n\
            thread 'b' (1) panicked at tests/it/b.rs:1:2:\nleft: 1\nstack backtrace:\n   0: deep\n\n\
            ---- a stdout ----\nError: broken\nnote: run with `RUST_BACKTRACE=1`\n\nfailures:\n    a\n    b\n";
        output.lines().for_each(|line| summary.read_line(line));
        let text = summary.text();
        let why = "  failed: a\n    Error: broken\n  failed: b\n    thread 'b' (1) panicked at tests/it/b.rs:1:2:\n    left: 1\n";
        assert!(text.contains(why), "{text}");
        assert!(!text.contains("deep"), "{text}");
    }

    #[test]
    fn long_failure_output_is_cut() {
        let mut summary = Summary::default();
        summary.read_line("test a ... FAILED");
        summary.read_line("---- a stdout ----");
        (0..1_000).for_each(|_| summary.read_line(&"é".repeat(1_000)));
        assert!(summary.text().lines().count() < 20, "{}", summary.text());
        assert!(summary.text().lines().all(|line| line.chars().count() <= LINE_CHARS_MAX + 4));
    }
}

//! Progress of a test run, so that an interrupted run still shows its results and what it was waiting for.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use runtime::logfile;

use super::summary::Summary;

/// Number of lines at the end of each output of a process that did not end.
pub(super) const LINES_SHOWN: usize = 100;

/// Results so far, and the processes that have not ended.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) summary: Summary,
    pub(super) running: Running,
}

/// Processes that were started and have not ended.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<Vec<Unfinished>>);

#[derive(Debug)]
struct Unfinished {
    name: String,
    began: Instant,
    outputs: Vec<PathBuf>,
}

impl Running {
    /// Records a process that was started, and the files of its output.
    pub(super) fn add(&self, name: &str, outputs: &[PathBuf]) {
        let unfinished =
            Unfinished { name: name.to_owned(), began: Instant::now(), outputs: outputs.to_vec() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(unfinished);
    }

    /// Records that a process has ended.
    pub(super) fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|unfinished| unfinished.name != name);
    }

    /// Names the processes that did not end, with the end of their output. Empty if all have ended.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Unfinished { name, began, outputs } in
            self.0.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            text.push_str(&format!("  not ended: {name} (after {:.1} s)\n", began.elapsed().as_secs_f64()));
            for path in outputs {
                text.push_str(&format!("    end of {}:\n", path.display()));
                for line in logfile::tail(path, LINES_SHOWN) {
                    text.push_str(&format!("    | {line}\n"));
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_process_is_named_with_last_output() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("x.out");
        let lines: String = (1..=LINES_SHOWN + 1).map(|n| format!("line {n};\n")).collect();
        std::fs::write(&output, lines).unwrap();
        let running = Running::default();
        running.add("bus tests/it/main.rs", std::slice::from_ref(&output));
        running.add("money src/lib.rs", &[]);
        running.remove("money src/lib.rs");
        let text = running.text();
        assert!(text.contains("not ended: bus tests/it/main.rs") && !text.contains("money"), "{text}");
        assert!(text.contains(&output.display().to_string()), "{text}");
        assert!(text.contains("| line 2;") && text.contains("| line 101;"), "{text}");
        assert!(!text.contains("| line 1;"), "{text}");
        running.remove("bus tests/it/main.rs");
        assert_eq!(running.text(), "");
    }
}

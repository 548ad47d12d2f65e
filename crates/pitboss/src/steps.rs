//! Steps of a long command, with progress, timing and a final list.
//!
//! On a terminal one line changes in place. Elsewhere (a log, CI) there is a line when a step begins, one every 20 s, and one
//! when it ends. All of it goes to standard error.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use console::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

const SPIN_INTERVAL: Duration = Duration::from_millis(120);
const PLAIN_INTERVAL: Duration = Duration::from_secs(20);

/// A finished step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FinishedStep {
    /// Name of the step.
    pub name: String,
    /// Duration of the step.
    pub seconds: f64,
}

/// All steps of one command.
#[derive(Debug)]
pub struct Steps {
    terminal: bool,
    began: Instant,
    done: Vec<FinishedStep>,
}

/// A step in progress.
#[derive(Debug)]
pub struct Step {
    name: &'static str,
    began: Instant,
    bar: Option<ProgressBar>,
    last_printed: Mutex<Instant>,
}

impl Default for Steps {
    fn default() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), began: Instant::now(), done: Vec::new() }
    }
}

impl Steps {
    /// Begins a step.
    #[must_use]
    pub fn begin(&self, name: &'static str) -> Step {
        let now = Instant::now();
        let bar = self.terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<22} {wide_msg}  {elapsed}") {
                bar.set_style(style);
            }
            bar.set_prefix(name);
            bar.enable_steady_tick(SPIN_INTERVAL);
            bar
        });
        if bar.is_none() {
            print_line(&format!("… {name}"));
        }
        Step { name, began: now, bar, last_printed: Mutex::new(now) }
    }

    /// Ends a successful step and reports it with `result`.
    pub fn end(&mut self, step: Step, result: &str) {
        let seconds = step.began.elapsed().as_secs_f64();
        if let Some(bar) = &step.bar {
            bar.finish_and_clear();
        }
        let mark = Style::new().green().for_stderr().apply_to("✓");
        print_line(format!("{mark} {:<22} {:>6.1} s  {result}", step.name, seconds).trim_end());
        self.done.push(FinishedStep { name: step.name.to_owned(), seconds });
    }

    /// The finished steps.
    #[must_use]
    pub fn finished(&self) -> &[FinishedStep] {
        &self.done
    }

    /// Time since the first step could begin.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Step {
    /// Reports progress.
    pub fn progress(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            return;
        }
        let Ok(mut last_printed) = self.last_printed.lock() else { return };
        if last_printed.elapsed() >= PLAIN_INTERVAL && !text.is_empty() {
            *last_printed = Instant::now();
            print_line(&format!("  {} ({:.0} s): {text}", self.name, self.began.elapsed().as_secs_f64()));
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Prints a line on standard error. A closed pipe is not an error.
pub fn print_line(text: &str) {
    use std::io::Write as _;
    let _closed_pipe = writeln!(std::io::stderr().lock(), "{text}");
}

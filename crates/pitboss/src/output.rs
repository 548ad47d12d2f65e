//! What the command line prints: lines for people or JSON for machines on standard output, problems and progress on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use console::{Style, Term};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Columns where there is no terminal to ask.
const COLUMNS_DEFAULT: usize = 120;
/// How often a spinner moves.
const SPIN_INTERVAL: Duration = Duration::from_millis(120);

/// Where and how to print.
#[derive(Clone, Debug)]
pub struct Output {
    /// Facts as JSON, one object a line.
    pub json: bool,
    /// Whether standard output takes colours: a terminal, and `NO_COLOR` is not set.
    pub colours: bool,
    /// How wide standard output is.
    pub columns: usize,
}

impl Output {
    /// For this process's standard output.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let terminal = Term::stdout();
        let columns = terminal.size_checked().map_or(COLUMNS_DEFAULT, |(_, columns)| usize::from(columns));
        Self { json, colours: !json && console::colors_enabled() && std::io::stdout().is_terminal(), columns }
    }

    /// One line on standard output. A reader that went away (`| head`) is no error.
    pub fn line(&self, text: &str) {
        let _gone = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Text that ends with its own newline.
    pub fn text(&self, text: &str) {
        let _gone = write!(std::io::stdout().lock(), "{text}");
    }

    /// Something that does not hold, on standard error.
    pub fn problem(&self, text: &str) {
        let mark = Style::new().red().for_stderr().apply_to("✗");
        let _gone = writeln!(std::io::stderr().lock(), "{mark} {text}");
    }

    /// A bar over `length` steps; hidden where standard error is no terminal.
    #[must_use]
    pub fn progress(&self, length: u64, what: &'static str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} ({eta})") {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar
    }

    /// A line that changes while something goes on; hidden where standard error is no terminal.
    #[must_use]
    pub fn spinner(&self, what: &'static str) -> ProgressBar {
        let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        spinner.set_message(what);
        spinner.enable_steady_tick(SPIN_INTERVAL);
        spinner
    }
}

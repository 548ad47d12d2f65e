//! Output of the command line: text or JSON on standard output, problems and progress on standard error.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use console::{Style, Term, truncate_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Width of the output without a terminal.
const COLUMNS_DEFAULT: usize = 120;
/// Interval between two steps of a spinner.
const SPIN_INTERVAL: Duration = Duration::from_millis(120);
/// Smallest width at which a result is printed as a table. On a narrower output each entry has a few lines.
const TABLE_COLUMNS_MIN: usize = 90;

/// A number with its noun, such as `1 dead letter` or `2 dead letters`.
#[must_use]
pub fn counted<N: Copy + fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Replaces control characters, which a terminal would obey. A sender of telemetry chooses its names and texts.
#[must_use]
pub fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// A table without lines, at most `columns` wide.
#[must_use]
pub fn borderless_table(columns: usize, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(columns).unwrap_or(u16::MAX));
    table.set_header(header);
    table
}

/// Form of the output.
#[derive(Clone, Debug)]
pub struct Output {
    /// Print facts as JSON, one object a line.
    pub json: bool,
    /// Use colours: standard output is a terminal, and `NO_COLOR` is not set.
    pub colours: bool,
    /// Width of standard output.
    pub columns: usize,
}

impl Output {
    /// Settings for this process's standard output.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let terminal = Term::stdout();
        let columns = terminal.size_checked().map_or(COLUMNS_DEFAULT, |(_, columns)| usize::from(columns));
        Self { json, colours: !json && console::colors_enabled() && std::io::stdout().is_terminal(), columns }
    }

    /// Returns true if a table would break words.
    #[must_use]
    pub const fn is_narrow(&self) -> bool {
        self.columns < TABLE_COLUMNS_MIN
    }

    /// Joins lines, each cut to the width.
    #[must_use]
    pub fn cut(&self, lines: &[String]) -> String {
        let cut = |line: &String| truncate_str(line, self.columns, "…").into_owned();
        lines.iter().map(cut).collect::<Vec<_>>().join("\n")
    }

    /// Prints a line on standard output. A closed pipe (`| head`) is not an error.
    pub fn line(&self, text: &str) {
        let _closed_pipe = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Prints text that ends with its own newline.
    pub fn text(&self, text: &str) {
        let _closed_pipe = write!(std::io::stdout().lock(), "{text}");
    }

    /// Reports a problem on standard error: text, or one object a line with `--json`. The command exits with `exit_code`.
    pub fn problem(&self, text: &str, exit_code: u8) {
        if self.json {
            let object = serde_json::json!({ "error": text, "exitCode": exit_code });
            let _closed_pipe = writeln!(std::io::stderr().lock(), "{object}");
            return;
        }
        let mark = Style::new().red().for_stderr().apply_to("✗");
        let _closed_pipe = writeln!(std::io::stderr().lock(), "{mark} {text}");
    }

    /// Returns a progress bar over `length` steps. It is hidden if standard error is not a terminal.
    #[must_use]
    pub fn progress(&self, length: u64, what: &'static str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} ({eta})") {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar
    }

    /// Returns a line that changes during an operation. It is hidden if standard error is not a terminal.
    #[must_use]
    pub fn spinner(&self, what: &'static str) -> ProgressBar {
        let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        spinner.set_message(what);
        spinner.enable_steady_tick(SPIN_INTERVAL);
        spinner
    }
}

//! The help at the width of the terminal. clap itself breaks lines only with another crate.

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use console::{Term, measure_text_width, strip_ansi_codes};

/// Exit code for wrong arguments.
const WRONG_USAGE: u8 = 2;
/// Width of a text below which it is continued below its option, and not beside it.
const TEXT_COLUMNS_MIN: usize = 30;
/// Indent of a text that is continued below its option.
const BELOW: usize = 4;

/// Shows what is wrong with the arguments, or the help that they ask for. Returns the exit code.
pub(crate) fn show(error: &clap::Error) -> ExitCode {
    let is_help =
        matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    let (mut terminal, colours) = match error.use_stderr() {
        true => (Term::stderr(), console::colors_enabled_stderr()),
        false => (Term::stdout(), console::colors_enabled()),
    };
    let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USAGE));
    match terminal.size_checked().filter(|_| is_help) {
        Some((_, columns)) => {
            let help = error.render();
            let help = if colours { help.ansi().to_string() } else { help.to_string() };
            let _closed = terminal.write_all(wrapped(&help, usize::from(columns)).as_bytes());
        }
        None => {
            let _closed_pipe = error.print();
        }
    }
    code
}

/// Breaks the lines that are wider than `columns` between words. A continued line begins where the text of its first line does.
fn wrapped(help: &str, columns: usize) -> String {
    let mut out = String::with_capacity(help.len() + help.len() / 8);
    for line in help.split_inclusive('\n') {
        let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
        if measure_text_width(text) <= columns {
            out.push_str(text);
        } else {
            wrap_line(text, columns, &mut out);
        }
        out.push_str(end);
    }
    out
}

fn wrap_line(line: &str, columns: usize, out: &mut String) {
    let indent = indent(&strip_ansi_codes(line), columns);
    let mut width = 0;
    for word in line.split_inclusive(' ') {
        if width > indent && width + measure_text_width(word.trim_end()) > columns {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            width = indent;
        }
        out.push_str(word);
        width += measure_text_width(word);
    }
}

/// Indent of the continued lines: the column of the text beside an option or a command, otherwise the indent of the line itself.
fn indent(line: &str, columns: usize) -> usize {
    let own = line.len() - line.trim_start_matches(' ').len();
    let Some((option, text)) = line.trim_start_matches(' ').split_once("  ") else {
        return own;
    };
    let gap = "  ".len() + text.len() - text.trim_start_matches(' ').len();
    let beside = own + measure_text_width(option) + gap;
    if beside + TEXT_COLUMNS_MIN <= columns { beside } else { own + BELOW }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn text_is_continued_below_its_beginning() {
        let help = "Usage: pitboss\n\n      --json  Print results and errors as JSON\n  up          Start\n";
        let narrow = help.replace("errors as JSON", "errors as\n              JSON");
        assert_eq!(wrapped(help, 44), narrow);
        assert_eq!(wrapped(help, 80), help);
        assert_eq!(wrapped("          a few words", 16), "          a few\n          words");
        assert_eq!(
            wrapped("    --a-long-option  a few words", 30),
            "    --a-long-option  a few\n        words"
        );
        assert_eq!(wrapped("unbreakable", 5), "unbreakable");
    }

    #[test]
    fn colours_have_no_width() {
        let bold = "\u{1b}[1m--json\u{1b}[0m  two words";
        assert_eq!(wrapped(bold, 17), bold);
        assert_eq!(wrapped(&format!("{bold} more"), 17), format!("{bold}\n    more"));
    }

    fn check(command: &Command, columns: usize) {
        let (mut short, mut long) = (command.clone(), command.clone());
        for help in [short.render_help(), long.render_long_help()] {
            let help = help.to_string();
            let fitted = wrapped(&help, columns);
            assert!(fitted.split_whitespace().eq(help.split_whitespace()), "words are lost: {fitted}");
            for line in fitted.lines() {
                let fits = measure_text_width(line) <= columns || !line.trim().contains(' ');
                assert!(fits, "{} at {columns}: {line}", command.get_name());
            }
        }
        for subcommand in command.get_subcommands() {
            check(subcommand, columns);
        }
    }

    #[test]
    fn help_of_every_command_fits() {
        for columns in [80, 100, 120] {
            check(&Cli::command(), columns);
        }
    }
}

//! What is different on a terminal: secrets are not shown, and the help fits.

use std::process::{Command, Stdio};

use runtime::secrets::Secrets;
use runtime::tools;

use crate::stage::{Stage, checkout, expect_exit};

/// Runs its arguments on a new terminal and passes on their output and exit code.
const ON_A_TERMINAL: &str = "import os, pty, sys; sys.exit(os.WEXITSTATUS(pty.spawn(sys.argv[1:])))";

#[test]
fn secrets_are_not_shown_on_terminal() {
    let stage = Stage::empty();
    stage.run(&["secrets", "--env"], 0);
    let secrets = Secrets::load(&stage.layout).unwrap();
    let python = tools::on_path("python3").expect("python3 is needed: see ./pitboss doctor");
    let output = Command::new(python)
        .args(["-c", ON_A_TERMINAL, env!("CARGO_BIN_EXE_pitboss"), "secrets", "--env", "-"])
        .stdin(Stdio::null())
        .env("PITBOSS_STATE", stage.layout.state())
        .env("PITBOSS_ROOT", checkout())
        .env_remove("PITBOSS_PORT_BASE")
        .output()
        .unwrap();
    let text = expect_exit(&output, 1);
    assert!(text.contains("secrets are not shown on a terminal"), "{text}");
    for secret in [&secrets.jwt_secret, &secrets.operator_token, &secrets.internal_token] {
        assert!(!text.contains(secret.as_str()), "{text}");
    }
}

#[test]
fn help_fits_the_terminal() {
    const COLUMNS: usize = 60;
    let python = tools::on_path("python3").expect("python3 is needed: see ./pitboss doctor");
    let script = format!("stty cols {COLUMNS} rows 24 && exec \"$0\" load --help");
    let output = Command::new(python)
        .args(["-c", ON_A_TERMINAL, "sh", "-c", &script, env!("CARGO_BIN_EXE_pitboss")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = expect_exit(&output, 0);
    let text = console::strip_ansi_codes(&text);
    assert!(text.contains("Usage: pitboss load"), "{text}");
    assert!(text.lines().all(|line| console::measure_text_width(line) <= COLUMNS), "{text}");
}

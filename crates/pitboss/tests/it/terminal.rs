//! Secrets are not shown on a terminal.

use std::process::{Command, Stdio};

use runtime::secrets::Secrets;
use runtime::tools;

use crate::stage::{Stage, checkout, said};

/// Runs its arguments on a new terminal and passes on their output and exit code.
const ON_A_TERMINAL: &str = "import os, pty, sys; sys.exit(os.WEXITSTATUS(pty.spawn(sys.argv[1:])))";

#[test]
fn a_terminal_is_shown_no_secret() {
    let stage = Stage::empty();
    assert_eq!(stage.cli(&["secrets", "--env"]).status.code(), Some(0));
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
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("secrets are not shown on a terminal"), "{told}");
    for secret in [&secrets.jwt_secret, &secrets.operator_token, &secrets.internal_token] {
        assert!(!told.contains(secret.as_str()), "{told}");
    }
}

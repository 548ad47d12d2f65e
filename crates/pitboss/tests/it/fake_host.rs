//! Fake computer with only the programs that a test installs, so that no test depends on what this machine has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use contracts::versions::versions;
use runtime::{infra, ports, tools};

use crate::stage::{Stage, checkout, expect_exit};

/// Number of ports that a platform takes from its base on.
pub(crate) const PLATFORM_PORTS: u16 = 40;

pub(crate) struct FakeHost {
    pub(crate) stage: Stage,
    programs: PathBuf,
    port_base: u16,
}

impl FakeHost {
    /// Creates a host with a Java, and with Kafka and the document store as far as the checks look.
    pub(crate) fn new() -> Self {
        let stage = Stage::empty();
        let programs = stage.folder.path().join("programs");
        let host = Self { stage, programs, port_base: ports::free_row(PLATFORM_PORTS).unwrap() };
        host.install("java", "echo 'openjdk version \"17.0.15\" 2025-04-15'");
        std::fs::create_dir_all(infra::kafka::jars(&host.stage.layout)).unwrap();
        host.install_document_store("exit 0");
        host
    }

    /// Installs a program: a shell script that can use only other installed programs.
    pub(crate) fn install(&self, name: &str, script: &str) {
        write_program(&self.programs.join(name), script);
    }

    /// Installs a program of the real machine.
    pub(crate) fn install_real(&self, name: &str) {
        let program =
            tools::on_path(name).unwrap_or_else(|| panic!("{name} is needed: see ./pitboss doctor"));
        std::os::unix::fs::symlink(program, self.programs.join(name)).unwrap();
    }

    /// Installs the script that is started as the document store.
    pub(crate) fn install_document_store(&self, script: &str) {
        let home = format!("secantus-mdb-{}/bin/secantusd-rs", versions().mongo.secantus_mdb);
        write_program(&self.stage.layout.tools().join(home), script);
    }

    /// The command line on this host.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let layout = &self.stage.layout;
        let mut command = Command::new(env!("CARGO_BIN_EXE_pitboss"));
        command
            .args(args)
            .stdin(Stdio::null())
            .env("PATH", &self.programs)
            .env("PITBOSS_ROOT", checkout())
            .env("PITBOSS_STATE", layout.state())
            .env("PITBOSS_TOOLS", layout.tools())
            .env("PITBOSS_PORT_BASE", self.port_base.to_string())
            .env_remove("CI");
        command
    }

    /// Runs a command that must end with this exit code, and returns its output.
    pub(crate) fn run(&self, args: &[&str], code: i32) -> String {
        expect_exit(&self.command(args).output().unwrap(), code)
    }
}

/// Written by another process, because a child started by a parallel test would inherit the open file and block its execution.
pub(crate) fn write_program(path: &Path, script: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#;
    let written = Command::new("/bin/sh").args(["-c", write]).arg(path).arg(script).status().unwrap();
    assert!(written.success());
}

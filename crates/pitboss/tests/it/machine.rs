//! A machine that has just the programs that a test puts on it, so that nothing depends on what this one has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use contracts::versions::versions;
use runtime::{infra, ports, tools};

use crate::stage::{Stage, checkout, said};

pub(crate) struct Machine {
    pub(crate) stage: Stage,
    programs: PathBuf,
    port_base: u16,
}

impl Machine {
    /// With a Java, and with Kafka and the document store there, as far as anybody looks.
    pub(crate) fn new() -> Self {
        let stage = Stage::empty();
        let programs = stage.folder.path().join("programs");
        let machine = Self { stage, programs, port_base: free_base() };
        machine.has("java", "echo 'openjdk version \"17.0.15\" 2025-04-15'");
        std::fs::create_dir_all(infra::kafka::jars(&machine.stage.layout)).unwrap();
        machine.has_document_store("exit 0");
        machine
    }

    /// Puts a program on it: a script of the shell, without any other program that is not on it too.
    pub(crate) fn has(&self, name: &str, script: &str) {
        write_program(&self.programs.join(name), script);
    }

    /// Puts a program of this machine on it.
    pub(crate) fn has_ours(&self, name: &str) {
        let ours = tools::on_path(name).unwrap_or_else(|| panic!("{name} is needed: see ./pitboss doctor"));
        std::os::unix::fs::symlink(ours, self.programs.join(name)).unwrap();
    }

    /// What is started as the document store.
    pub(crate) fn has_document_store(&self, script: &str) {
        let home = format!("secantus-mdb-{}/bin/secantusd-rs", versions().mongo.secantus_mdb);
        write_program(&self.stage.layout.tools().join(home), script);
    }

    /// The command line, on this machine.
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

    /// Runs a command that is to end with this code; returns what it said.
    pub(crate) fn says(&self, args: &[&str], code: i32) -> String {
        let output = self.command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        said(&output)
    }
}

/// Written by another process: one of this one's that is started meanwhile would hold the file open, and then nobody can run it.
pub(crate) fn write_program(path: &Path, script: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#;
    let written = Command::new("/bin/sh").args(["-c", write]).arg(path).arg(script).status().unwrap();
    assert!(written.success());
}

/// A base from which the document store's port and the cache's are free.
fn free_base() -> u16 {
    let candidates = ports::free(20).unwrap().into_iter().map(|redis| redis - 23);
    let is_free = |base: &u16| ports::in_use([("mongo", base + 22), ("redis", base + 23)]).is_empty();
    candidates.filter(|base| *base <= 60_000).find(is_free).unwrap()
}

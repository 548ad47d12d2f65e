//! Messages of the script `./pitboss` before there is a built program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use contracts::versions::versions;
use runtime::tools;

use crate::fake_host::write_program;
use crate::stage::{checkout, expect_exit};

/// Programs that the script uses or looks for.
const USED: [&str; 11] =
    ["dirname", "find", "head", "sed", "sort", "cut", "mkdir", "mv", "chmod", "cc", "make"];

/// A checkout with nothing built, on a machine without Rust.
struct FreshCheckout {
    folder: tempfile::TempDir,
}

impl FreshCheckout {
    fn new() -> Self {
        let fresh = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(fresh.path("programs")).expect("a folder");
        for file in ["pitboss", "rust-toolchain.toml"] {
            std::fs::copy(checkout().join(file), fresh.path(file)).expect("copied");
        }
        for name in USED {
            let ours = tools::on_path(name).unwrap_or_else(|| panic!("{name} is needed"));
            std::os::unix::fs::symlink(ours, fresh.path("programs").join(name)).expect("linked");
        }
        fresh
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Installs a cargo that reports this version and builds a program that prints its arguments.
    fn install_cargo(&self, version: &str) {
        let build = r#"printf '#!/bin/sh\necho started "$@"\n' > target/debug/pitboss; chmod 755 target/debug/pitboss"#;
        let settings = "if [ \"$1\" = --config ]; then echo \"$2\" > settings; shift 2; fi";
        let script = format!(
            "{settings}\ncase $1 in --version) echo 'cargo {version} (0000000 2026-01-01)' ;; build) {build} ;; esac"
        );
        write_program(&self.path("programs/cargo"), &script);
    }

    fn status(&self) -> Output {
        self.command().output().expect("a shell")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args([self.path("pitboss").as_path(), Path::new("status")])
            .env("PATH", self.path("programs"))
            .env("HOME", self.folder.path())
            .env_remove("CARGO_HOME")
            .env_remove("CI")
            .env_remove("PITBOSS_CARGO_CONFIG");
        command
    }
}

#[test]
fn missing_or_old_cargo_is_an_error() {
    let fresh = FreshCheckout::new();
    let text = expect_exit(&fresh.status(), 69);
    assert!(text.contains("cargo is missing. Install Rust from https://rustup.rs"), "{text}");

    fresh.install_cargo("1.65.0");
    let text = expect_exit(&fresh.status(), 69);
    let wanted = &versions().rust.version;
    assert!(text.contains("cargo is 1.65.0 (") && text.contains(&format!("{wanted} or newer")), "{text}");
    assert!(!fresh.path("target/debug/pitboss").exists());

    // Rustup uses the version that the checkout names, whatever version it reports elsewhere.
    write_program(&fresh.path("programs/rustup"), "exit 0");
    let output = fresh.status();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "started status\n", "{output:?}");
}

#[test]
fn recent_cargo_builds_and_runs_program() {
    let newer = versions().rust.version.replace("1.", "1.1");
    for version in [&versions().rust.version, &newer] {
        let fresh = FreshCheckout::new();
        fresh.install_cargo(version);
        let output = fresh.status();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "started status\n", "{output:?}");
    }
}

#[test]
fn settings_of_cargo_are_passed_on() {
    let fresh = FreshCheckout::new();
    fresh.install_cargo(&versions().rust.version);
    let output = fresh.command().env("PITBOSS_CARGO_CONFIG", "gate.toml").output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "started status\n", "{output:?}");
    assert_eq!(std::fs::read_to_string(fresh.path("settings")).expect("written"), "gate.toml\n");
}

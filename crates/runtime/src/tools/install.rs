//! Installs missing packages on Debian and its derivatives, and names them on other systems.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::{Finding, Verdict, on_path};
use crate::fetch::{self, Job};
use crate::{Layout, RuntimeError};

/// Time limit of the package manager.
const INSTALL_DEADLINE: Duration = Duration::from_secs(1_200);

/// Method to install packages on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installer {
    /// By this process, with `apt-get`.
    Apt,
    /// By root, with `apt-get`.
    AptByRoot,
    /// Unknown package manager.
    Unknown,
}

/// Determines how packages can be installed on this machine.
#[must_use]
pub fn installer() -> Installer {
    let debian = Path::new("/etc/debian_version").exists() && on_path("apt-get").is_some();
    match (debian, nix::unistd::geteuid().is_root()) {
        (true, true) => Installer::Apt,
        (true, false) => Installer::AptByRoot,
        (false, _) => Installer::Unknown,
    }
}

/// Packages that provide the missing tools.
#[must_use]
pub fn packages(findings: &[Finding]) -> BTreeSet<&'static str> {
    let missing = findings.iter().filter(|f| f.verdict != Verdict::Good);
    missing.map(|f| f.tool.debian_package).filter(|p| !p.is_empty()).collect()
}

/// Describes all problems with the tools as one error with advice. Returns `None` without problems.
#[must_use]
pub fn complaint(findings: &[Finding], installer: Installer) -> Option<RuntimeError> {
    let complaints: Vec<String> = findings.iter().filter_map(Finding::complaint).collect();
    if complaints.is_empty() {
        return None;
    }
    let packages: Vec<&str> = packages(findings).into_iter().collect();
    let packages = packages.join(" ");
    let lacks = |tool| findings.iter().any(|f| f.tool == tool && f.verdict != Verdict::Good);
    let command = if lacks(super::PYTHON) { "test" } else { "up" };
    let mut advice = match installer {
        _ if packages.is_empty() => String::new(),
        Installer::Apt => format!("run ./pitboss {command} --yes, or: apt-get install -y {packages}"),
        Installer::AptByRoot => format!("as root: apt-get install -y {packages}"),
        Installer::Unknown => {
            format!("install them with this system's package manager (their names in Debian: {packages})")
        }
    };
    if lacks(super::CARGO) {
        advice.push_str("\n  cargo: https://rustup.rs (rust-toolchain.toml selects the version)");
    }
    if lacks(super::MONGOD) {
        advice.push_str(
            "\n  mongod: install a newer one, or remove it from the PATH: then another document store is built",
        );
    }
    Some(RuntimeError::Missing { what: complaints.join("\n"), advice: advice.trim_start().to_owned() })
}

/// Installs packages with `apt-get`. It finishes even if this process ends, because half an installation breaks a machine.
pub async fn install(layout: &Layout, packages: &BTreeSet<&'static str>) -> Result<(), RuntimeError> {
    let apt = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new("apt-get");
        // A package of a server must not start the server. This asks Debian's scripts not to.
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        command
    };
    let log = layout.log("apt-get-update");
    let update = Job { what: "apt-get update", log: &log, deadline: INSTALL_DEADLINE };
    fetch::run_detached(apt(&["update"]), &update).await?;
    // The `apt-get` of an interrupted command may still be running.
    let lock_timeout = format!("DPkg::Lock::Timeout={}", INSTALL_DEADLINE.as_secs());
    let mut arguments = vec!["install", "-y", "--no-install-recommends", "-o", &lock_timeout];
    arguments.extend(packages);
    let log = layout.log("apt-get-install");
    let install = Job { what: "apt-get install", log: &log, deadline: INSTALL_DEADLINE };
    fetch::run_detached(apt(&arguments), &install).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::{CARGO, CC, JAVA, MAKE, PYTHON, REDIS};

    fn finding(tool: crate::tools::Tool, verdict: Verdict) -> Finding {
        Finding { tool, path: None, version: Some("11.0.2".to_owned()), verdict }
    }

    #[test]
    fn error_names_all_missing_tools_with_advice() {
        let findings = [
            finding(JAVA, Verdict::TooOld("17".to_owned())),
            finding(CC, Verdict::Missing),
            finding(MAKE, Verdict::Missing),
            finding(REDIS, Verdict::Good),
        ];
        let error = complaint(&findings, Installer::AptByRoot).unwrap();
        assert_eq!(error.exit_code(), 69);
        let text = error.to_string();
        assert!(text.contains("java is 11.0.2, but Apache Kafka needs 17 or newer"), "{text}");
        assert!(text.contains("cc is missing") && text.contains("make is missing"), "{text}");
        assert!(text.contains("as root: apt-get install -y build-essential default-jre-headless"), "{text}");
        assert!(complaint(&findings[3..], Installer::Apt).is_none());
        let text = complaint(&[finding(CARGO, Verdict::Missing)], Installer::Apt).unwrap().to_string();
        assert!(text.contains("rustup.rs") && !text.contains("apt-get"), "{text}");
        let text = complaint(&[finding(PYTHON, Verdict::Missing)], Installer::Apt).unwrap().to_string();
        assert!(text.contains("run ./pitboss test --yes, or: apt-get install -y python3-venv"), "{text}");
    }
}

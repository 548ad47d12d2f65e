//! Requirements on the machine: programs, their versions and free space, with advice for what is missing.

pub mod install;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use nix::sys::statvfs::statvfs;
use regex::Regex;

use crate::RuntimeError;

/// A program of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Name for people.
    pub name: &'static str,
    /// Programs that provide it, the first one preferred.
    pub programs: &'static [&'static str],
    /// Argument that prints the version. `None` if the version is not read.
    pub version_argument: Option<&'static str>,
    /// Purpose of the tool.
    pub needed_for: &'static str,
    /// Debian package of the tool.
    pub debian_package: &'static str,
}

/// Runs the broker.
pub const JAVA: Tool = Tool {
    name: "java",
    programs: &["java"],
    version_argument: Some("-version"),
    needed_for: "Apache Kafka",
    debian_package: "default-jre-headless",
};
/// Fetches the broker.
pub const MAVEN: Tool = Tool {
    name: "mvn",
    programs: &["mvn"],
    version_argument: Some("--version"),
    needed_for: "fetching Apache Kafka (once)",
    debian_package: "maven",
};
/// The cache.
pub const REDIS: Tool = Tool {
    name: "redis-server",
    programs: &["redis-server", "valkey-server"],
    version_argument: Some("--version"),
    needed_for: "the cache",
    debian_package: "redis-server",
};
/// The document store, if MongoDB is installed.
pub const MONGOD: Tool = Tool {
    name: "mongod",
    programs: &["mongod"],
    version_argument: Some("--version"),
    needed_for: "the document store",
    debian_package: "",
};
/// Builds the document store.
pub const CMAKE: Tool = Tool {
    name: "cmake",
    programs: &["cmake"],
    version_argument: Some("--version"),
    needed_for: "building the document store (once; not needed if mongod is on the PATH)",
    debian_package: "cmake",
};
/// Builds the C++ part of the document store.
pub const CXX: Tool = Tool {
    name: "c++",
    programs: &["c++", "g++", "clang++"],
    version_argument: None,
    needed_for: "building the document store (once)",
    debian_package: "build-essential",
};
/// Builds librdkafka and links everything.
pub const CC: Tool = Tool {
    name: "cc",
    programs: &["cc"],
    version_argument: None,
    needed_for: "building",
    debian_package: "build-essential",
};
/// Builds librdkafka.
pub const MAKE: Tool = Tool {
    name: "make",
    programs: &["make"],
    version_argument: None,
    needed_for: "building the Kafka client",
    debian_package: "build-essential",
};
/// Builds all our programs.
pub const CARGO: Tool = Tool {
    name: "cargo",
    programs: &["cargo"],
    version_argument: Some("--version"),
    needed_for: "building",
    debian_package: "",
};
/// Creates the environment of the tests that use Sentry's own libraries. Named after the package that provides all of it.
pub const PYTHON: Tool = Tool {
    name: "python3-venv",
    programs: &["python3"],
    version_argument: Some("--version"),
    needed_for: "the tests that use Sentry's own libraries",
    debian_package: "python3-venv",
};
/// Runs Spotlight.
pub const NODE: Tool = Tool {
    name: "node",
    programs: &["node", "nodejs"],
    version_argument: Some("--version"),
    needed_for: "Sentry's Spotlight (only ./pitboss up --spotlight)",
    debian_package: "nodejs",
};
/// Fetches Spotlight.
pub const NPM: Tool = Tool {
    name: "npm",
    programs: &["npm"],
    version_argument: Some("--version"),
    needed_for: "fetching Sentry's Spotlight (once)",
    debian_package: "npm",
};

/// Result of checking a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Usable.
    Good,
    /// Missing.
    Missing,
    /// Older than this version.
    TooOld(String),
}

/// Result of looking for a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The tool.
    pub tool: Tool,
    /// Its path, if found.
    pub path: Option<PathBuf>,
    /// Version that it reports.
    pub version: Option<String>,
    /// Result of the check.
    pub verdict: Verdict,
}

impl Finding {
    /// Describes the problem in one line, if there is one.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let Tool { name, needed_for, .. } = self.tool;
        match &self.verdict {
            Verdict::Good => None,
            Verdict::Missing => Some(format!("{name} is missing (needed for {needed_for})")),
            Verdict::TooOld(minimum) => {
                let found = self.version.as_deref().unwrap_or("of an unknown version");
                Some(format!("{name} is {found}, but {needed_for} needs {minimum} or newer"))
            }
        }
    }
}

/// Path of a program on this process's PATH.
#[must_use]
pub fn on_path(program: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let runs =
        |p: &PathBuf| std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(runs)
}

/// Path of the first of a tool's programs on the PATH.
#[must_use]
pub fn locate(tool: &Tool) -> Option<PathBuf> {
    tool.programs.iter().find_map(|program| on_path(program))
}

/// Looks for a tool and compares its version.
#[must_use]
pub fn examine(tool: Tool, minimum: Option<&str>) -> Finding {
    let Some(path) = locate(&tool) else {
        return Finding { tool, path: None, version: None, verdict: Verdict::Missing };
    };
    let version = tool.version_argument.and_then(|argument| reported_version(&path, argument));
    let verdict = match (minimum, &version) {
        (Some(minimum), Some(version)) if !is_at_least(version, minimum) => {
            Verdict::TooOld(minimum.to_owned())
        }
        (Some(minimum), None) => Verdict::TooOld(minimum.to_owned()),
        _ => Verdict::Good,
    };
    Finding { tool, path: Some(path), version, verdict }
}

/// Looks for a Python that can create environments. Debian's Python can do so only with `python3-venv`.
#[must_use]
pub fn examine_python() -> Finding {
    let mut finding = examine(PYTHON, None);
    let makes_environments = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", "import venv, ensurepip"]).stdin(std::process::Stdio::null());
        command.output().is_ok_and(|output| output.status.success())
    };
    if !finding.path.as_ref().is_some_and(makes_environments) {
        finding.verdict = Verdict::Missing;
    }
    finding
}

/// Version that a program reports.
#[must_use]
pub fn reported_version(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(std::process::Stdio::null()).output().ok()?;
    version_in(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))
}

/// The first text that looks like a version.
fn version_in(text: &str) -> Option<String> {
    static VERSION: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\d+(\.\d+)+([-.][0-9A-Za-z.]+)?|\d+").ok());
    let pattern = VERSION.as_ref()?;
    // "v=7.0.15" of redis, "17.0.15" in quotes of java. A number with dots is preferred to one without.
    let all: Vec<&str> = pattern.find_iter(text).map(|m| m.as_str()).collect();
    all.iter().find(|v| v.contains('.')).or(all.first()).map(|v| (*v).to_owned())
}

fn is_at_least(version: &str, minimum: &str) -> bool {
    let numbers =
        |text: &str| -> Vec<u64> { text.split(['.', '-', '+']).map_while(|n| n.parse().ok()).collect() };
    let (mut version, mut minimum) = (numbers(version), numbers(minimum));
    let length = version.len().max(minimum.len());
    version.resize(length, 0);
    minimum.resize(length, 0);
    version >= minimum
}

/// Free bytes on the disk of a folder, which need not exist yet.
pub fn free_disk_bytes(folder: &Path) -> Result<u64, RuntimeError> {
    let existing = folder.ancestors().find(|f| f.exists()).unwrap_or(Path::new("/"));
    let stat = statvfs(existing).map_err(|e| {
        RuntimeError::io(format!("cannot read the free disk space of {}", existing.display()), e)
    })?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
}

/// Available memory in bytes, or 0 if the kernel does not report it.
#[must_use]
pub fn available_memory_bytes() -> u64 {
    use procfs::Current;
    procfs::Meminfo::current().ok().and_then(|m| m.mem_available).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_found_in_program_output() {
        let version = |text: &str| version_in(text).unwrap_or_default();
        assert_eq!(
            version("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6)"),
            "17.0.15"
        );
        assert_eq!(version("openjdk version \"21\" 2023-09-19"), "21");
        assert_eq!(version("java version \"1.8.0_402\""), "1.8.0");
        assert_eq!(version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"), "7.0.15");
        assert_eq!(version("Apache Maven 3.8.7\nMaven home: /usr/share/maven"), "3.8.7");
        assert_eq!(version("secantusd-rs 0.5.3-beta.196"), "0.5.3-beta.196");
        assert_eq!(version("db version v8.0.4\nBuild Info: {"), "8.0.4");
        assert_eq!(version_in("none"), None);
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(is_at_least("17.0.15", "17") && is_at_least("21", "17") && is_at_least("7.0", "7.0"));
        assert!(is_at_least("7.0.15", "7.0") && is_at_least("10.1", "9.9"));
        assert!(
            !is_at_least("1.8.0_402", "17") && !is_at_least("6.2.9", "7.0") && !is_at_least("11.0.22", "17")
        );
    }

    #[test]
    fn free_space_of_missing_folder_is_known() {
        assert!(free_disk_bytes(Path::new("/tmp/not/there/yet")).unwrap() > 0);
        assert!(available_memory_bytes() > 0);
    }
}

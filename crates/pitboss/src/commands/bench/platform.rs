//! The two platforms that a benchmark starts itself, side by side: each with its own ports and its own temporary state folder.
//!
//! Their receiver of telemetry is that of the benchmark, and they send nothing to a real Sentry, whatever the terminal and `.env` set.

use std::collections::BTreeSet;
use std::fmt;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow, bail};
use contracts::parts::{Part, Ports};
use runtime::os_process::ProcessId;
use runtime::receiver::Receiver;
use runtime::{Layout, RuntimeError};
use serde::Serialize;
use tokio::process::Command;

use super::{PORT_BASES, child, copies};
use crate::checkout::{
    END_WITH_VARIABLE, PORT_BASE_VARIABLE, PROGRAMS_VARIABLE, RECEIVER_VARIABLE, ROOT_VARIABLE, Running,
    STATE_VARIABLE, TOOLS_VARIABLE,
};
use crate::interrupts::Interrupts;
use crate::steps::print_line;
use crate::target::Target;

/// Variables that the script `./pitboss` of a checkout sets: its root, and the folder that cargo builds into.
const SCRIPT_VARIABLES: [&str; 2] = [ROOT_VARIABLE, "CARGO_TARGET_DIR"];
/// Variables of the shares of traces and of profiles that services record.
const SHARE_VARIABLES: [&str; 3] =
    ["SENTRY_TRACES_SAMPLE_RATE", "SENTRY_PROFILES_SAMPLE_RATE", "SENTRY_PROFILE_SESSION_SAMPLE_RATE"];
/// Name of the command line's program.
pub(super) const COMMAND_LINE: &str = "pitboss";

/// One of the two platforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Side {
    /// The base.
    A,
    /// What is compared with it.
    B,
}

/// Telemetry of a platform, in which it differs from the other one.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    /// Its name for people.
    pub(super) name: String,
    /// What receives the telemetry of the services.
    pub(super) receiver: Receiver,
    /// Share of new traces that is recorded.
    pub(super) sample_rate: f64,
    /// All services profile themselves continuously.
    pub(super) is_profiled: bool,
}

/// A platform of one of the sides.
#[derive(Debug)]
pub(super) struct Platform {
    /// Its side.
    pub(super) side: Side,
    /// Folders of the platform. The root is that of its checkout.
    pub(super) layout: Layout,
    /// What it is, for people.
    name: String,
    program: PathBuf,
    /// What receives the telemetry of the services.
    receiver: Receiver,
    /// Settings that are empty in its commands, because they would send copies to a real Sentry.
    emptied: BTreeSet<String>,
    /// Further variables of its commands, and options of `up`.
    variables: Vec<(&'static str, String)>,
    up_options: &'static [&'static str],
    /// This process. If it is killed, the platform shuts down.
    end_with: ProcessId,
}

impl Side {
    /// Base of the ports of its platform.
    pub(super) const fn port_base(self) -> u16 {
        let [a, b] = PORT_BASES;
        match self {
            Self::A => a,
            Self::B => b,
        }
    }

    /// Folder of the state of its platform, below that of both.
    pub(super) fn state(self, folder: &Path) -> PathBuf {
        folder.join(self.port_base().to_string())
    }
}

impl Variant {
    /// Variables of the shares. Those of the terminal and of `.env` do not count.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let [traces, profiles, sessions] = SHARE_VARIABLES;
        let profile_share = if self.is_profiled { "1" } else { "0" };
        vec![
            (traces, self.sample_rate.to_string()),
            (profiles, "0".to_owned()),
            (sessions, profile_share.to_owned()),
        ]
    }
}

/// Two platforms of this checkout's last build, the variants A and B. Their states are in `folder`.
///
/// # Errors
/// When this checkout has not been built (exit code 69).
pub(super) fn both_variants(own: &Layout, folder: &Path, variants: [Variant; 2]) -> Result<[Platform; 2]> {
    let [a, b] = variants;
    Ok([of_variant(Side::A, own, folder, a)?, of_variant(Side::B, own, folder, b)?])
}

fn of_variant(side: Side, own: &Layout, folder: &Path, variant: Variant) -> Result<Platform> {
    let variables = variant.variables();
    let platform = Platform::new(side, own.with_state(side.state(folder)), this_program()?, variant.name)?;
    // Not every variant shows the bet's trace.
    Ok(Platform { receiver: variant.receiver, variables, up_options: &["--no-bet"], ..platform })
}

/// This program.
pub(super) fn this_program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find this program")
}

/// Starts both platforms, measures them, and stops them whatever becomes of that. Returns the result of the measurement, and
/// whether both stopped.
///
/// The measurement fails when a platform cannot be started, and on Ctrl-C or SIGTERM.
pub(super) async fn run<T>(
    platforms: &[Platform; 2],
    interrupts: &mut Interrupts,
    measurement: impl Future<Output = Result<T>>,
) -> (Result<T>, Result<()>) {
    let measured = run_up(platforms, interrupts, measurement).await;
    // No process of either platform may remain, whatever the result of the measurement.
    let [a, b] = platforms;
    let (a, b) = tokio::join!(a.down(), b.down());
    (measured, a.and(b))
}

async fn run_up<T>(
    platforms: &[Platform; 2],
    interrupts: &mut Interrupts,
    measurement: impl Future<Output = Result<T>>,
) -> Result<T> {
    for platform in platforms {
        platform.up(interrupts).await?;
    }
    tokio::select! {
        measured = measurement => measured,
        () = interrupts.received() => Err(anyhow!("interrupted")),
    }
}

/// Refuses a checkout with a program that has not been built. A service that the checkout does not have is not missing.
fn check_built(layout: &Layout) -> Result<(), RuntimeError> {
    let (root, programs) = (layout.root(), layout.programs());
    let services = Part::SERVICES.iter().map(|part| part.as_str());
    let services = services.filter(|name| root.join("services").join(name).is_dir());
    let mut names = services.chain([COMMAND_LINE]);
    match names.find(|name| !programs.join(name).is_file()) {
        None => Ok(()),
        Some(missing) => Err(RuntimeError::Missing {
            what: format!("{} has not been built", programs.join(missing).display()),
            advice: format!("run {}/pitboss up once, and then ./pitboss down there", root.display()),
        }),
    }
}

impl Platform {
    /// A platform with the programs of the checkout of `layout`, which `program` starts and stops. Its recorder receives its telemetry.
    ///
    /// # Errors
    /// When the checkout has not been built (exit code 69), or its `.env` cannot be read.
    pub(super) fn new(side: Side, layout: Layout, program: PathBuf, name: String) -> Result<Self> {
        check_built(&layout)?;
        let end_with = i32::try_from(std::process::id()).ok().and_then(ProcessId::of);
        let end_with = end_with.context("this process is unknown")?;
        Ok(Self {
            side,
            emptied: copies::settings(&layout)?,
            layout,
            name,
            program,
            receiver: Receiver::default(),
            variables: Vec::new(),
            up_options: &[],
            end_with,
        })
    }

    /// Starts everything.
    ///
    /// # Errors
    /// When `up` fails, which prints the reason to standard error, and on an interrupt. [`Self::down`] stops what still runs then.
    async fn up(&self, interrupts: &mut Interrupts) -> Result<()> {
        print_line(&format!("platform {self}"));
        let mut up = self.command(&["up", "--yes", "--no-build"]);
        up.args(self.up_options);
        if !child::run(&mut up, interrupts.received()).await?.success() {
            bail!("the platform {self} did not start (its messages are above)");
        }
        Ok(())
    }

    /// Stops everything that runs and deletes its data. An interrupt does not end this.
    async fn down(&self) -> Result<()> {
        let mut down = self.command(&["down", "--volumes"]);
        if !child::run(&mut down, pending()).await?.success() {
            bail!("the platform {self} did not stop (its messages are above)");
        }
        Ok(())
    }

    /// Release of the services, if `up` recorded it.
    pub(super) fn release(&self) -> Option<String> {
        Running::of(&self.layout).map(|running| running.release)
    }

    /// Addresses of the platform, with the token that exempts from the limit per address.
    pub(super) fn target(&self) -> Result<Target> {
        let target = Target::of_layout(&self.layout, Ports::new(self.side.port_base())?)?;
        if target.operator_token.is_none() {
            bail!("cannot read the secrets of the platform {self}");
        }
        Ok(target)
    }

    /// Command of the checkout for this platform. It leads its own group, so that Ctrl-C at a terminal reaches only this process,
    /// which ends it in order. Its progress on standard error stays visible.
    fn command(&self, args: &[&str]) -> Command {
        let (layout, mut command) = (&self.layout, Command::new(&self.program));
        let [root, target] = SCRIPT_VARIABLES;
        command
            .args(args)
            .env(root, layout.root())
            .env(target, layout.root().join("target"))
            .env(STATE_VARIABLE, layout.state())
            .env(TOOLS_VARIABLE, layout.tools())
            .env(PROGRAMS_VARIABLE, layout.programs())
            .env(PORT_BASE_VARIABLE, self.side.port_base().to_string())
            .env(END_WITH_VARIABLE, self.end_with.to_string())
            .env(RECEIVER_VARIABLE, self.receiver.to_string())
            .envs(self.emptied.iter().map(|name| (name, "")))
            .envs(self.variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0);
        command
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ({})", self.side, self.side.port_base(), self.name)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    /// Creates empty files, and their folders.
    pub(in crate::commands::bench) fn create(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    /// A checkout with two services, and its programs.
    pub(in crate::commands::bench) const BUILT: [&str; 7] = [
        "deploy/versions.toml",
        "Cargo.toml",
        "services/game/Cargo.toml",
        "services/user/Cargo.toml",
        "target/debug/game",
        "target/debug/user",
        "target/debug/pitboss",
    ];

    /// Variables of the commands of a platform.
    pub(in crate::commands::bench) fn variables(platform: &Platform) -> BTreeMap<String, String> {
        let command = platform.command(&["up"]);
        let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        let all = command.as_std().get_envs();
        all.filter_map(|(name, value)| Some((text(name), text(value?)))).collect()
    }

    /// Program that starts and stops a platform.
    pub(in crate::commands::bench) fn program(platform: &Platform) -> &Path {
        &platform.program
    }

    #[test]
    fn each_program_of_a_checkout_has_to_be_built() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), &BUILT);
        let layout = Layout::new(folder.path(), None, None);
        check_built(&layout).unwrap();
        for program in ["game", "pitboss"] {
            let path = layout.programs().join(program);
            fs::remove_file(&path).unwrap();
            let error = check_built(&layout).unwrap_err();
            assert_eq!(error.exit_code(), 69);
            let expected = [format!("{} has not been built", path.display()), "/pitboss up".to_owned()];
            assert!(expected.iter().all(|part| error.to_string().contains(part)), "{error}");
            fs::write(&path, "").unwrap();
        }
    }

    #[test]
    fn variants_differ_only_in_telemetry_and_place() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path(), &BUILT);
        let own = Layout::new(folder.path(), None, None);
        let variant = |name: &str, receiver, sample_rate| Variant {
            name: name.to_owned(),
            receiver,
            sample_rate,
            is_profiled: false,
        };
        let port: Receiver = "4711".parse().unwrap();
        let both = [variant("without", Receiver::Nobody, 0.0), variant("with", port, 0.1)];
        let [a, b] = both_variants(&own, folder.path(), both).unwrap();
        assert_eq!((a.to_string(), b.side), ("A at 28100 (without)".to_owned(), Side::B));
        assert!(a.up_options.contains(&"--no-bet") && b.up_options.contains(&"--no-bet"));
        let [a, b] = [variables(&a), variables(&b)];
        let differences: Vec<_> = b
            .iter()
            .filter(|(name, value)| a.get(*name) != Some(*value))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let state = folder.path().join("28300").display().to_string();
        let expected = [
            ("PITBOSS_PORT_BASE", "28300"),
            ("PITBOSS_RECEIVER", "4711"),
            ("PITBOSS_STATE", state.as_str()),
            ("SENTRY_TRACES_SAMPLE_RATE", "0.1"),
        ];
        assert_eq!(differences, expected);
        assert_eq!(a["SENTRY_PROFILE_SESSION_SAMPLE_RATE"], "0", "a share of the terminal does not count");
        assert_eq!((a["PITBOSS_RECEIVER"].as_str(), a["SENTRY_TRACES_SAMPLE_RATE"].as_str()), ("none", "0"));
    }
}

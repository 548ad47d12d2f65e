//! The two platforms: each runs the programs of one checkout, with its own ports and its own temporary state folder.

use std::fmt;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use contracts::parts::{Part, Ports};
use runtime::os_process::ProcessId;
use runtime::secrets::Secrets;
use runtime::{Layout, RuntimeError};
use serde::Serialize;
use tokio::process::Command;

use super::child;
use crate::checkout::{
    END_WITH_VARIABLE, PORT_BASE_VARIABLE, PROGRAMS_VARIABLE, ROOT_VARIABLE, Running, STATE_VARIABLE,
    TOOLS_VARIABLE,
};
use crate::commands::bench::PORT_BASES;
use crate::interrupts::Interrupts;
use crate::player::Gateway;
use crate::steps::print_line;

/// Variables that the script `./pitboss` of a checkout sets: its root, and the folder that cargo builds into.
const SCRIPT_VARIABLES: [&str; 2] = [ROOT_VARIABLE, "CARGO_TARGET_DIR"];
/// Files at the root of every checkout.
const ROOT_FILES: [&str; 2] = ["deploy/versions.toml", "Cargo.toml"];
/// Name of the command line's program.
const COMMAND_LINE: &str = "pitboss";

/// One of the two builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Side {
    /// The base: the build of the other checkout.
    A,
    /// The new one: the build of this checkout.
    B,
}

/// A platform of one of the builds.
#[derive(Debug)]
pub(super) struct Platform {
    /// Build that it runs.
    pub(super) side: Side,
    /// Folders of the platform. The root is that of its checkout.
    pub(super) layout: Layout,
    program: PathBuf,
    port_base: u16,
    /// This process. If it is killed, the platform shuts down.
    end_with: ProcessId,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// The platforms of A, the build of the checkout `vs`, and of B, the build of the checkout `own`. Their states are in `folder`.
///
/// # Errors
/// When `vs` is no checkout, when the programs of this one are outside of it, or when one of the two has not been built (exit code
/// 69).
pub(super) fn both(own: &Layout, vs: &Path, folder: &Path) -> Result<[Platform; 2]> {
    let end_with = i32::try_from(std::process::id()).ok().and_then(ProcessId::of);
    let end_with = end_with.context("this process is unknown")?;
    let state = |port_base: u16| folder.join(port_base.to_string());
    let [port_a, port_b] = PORT_BASES;
    let layouts = [other(own, vs, state(port_a))?, own.with_state(state(port_b))];
    for layout in &layouts {
        check_built(layout)?;
    }
    let [a, b] = layouts;
    let platform = |side, layout: Layout, program, port_base| Platform {
        side,
        layout,
        program,
        port_base,
        end_with: end_with.clone(),
    };
    let program = a.programs().join(COMMAND_LINE);
    let this_program = std::env::current_exe().context("cannot find this program")?;
    Ok([platform(Side::A, a, program, port_a), platform(Side::B, b, this_program, port_b)])
}

/// Folders of a platform of the checkout `root`. It uses its own fetched programs if there are any, because another version of
/// them can be what differs.
fn other(own: &Layout, root: &Path, state: PathBuf) -> Result<Layout> {
    let root = root.canonicalize().with_context(|| format!("cannot find {}", root.display()))?;
    if !ROOT_FILES.iter().all(|file| root.join(file).is_file()) {
        bail!("{} is not the root of a checkout of Pitboss: name one with --vs", root.display());
    }
    let fetched = Some(Layout::new(&root, None, None).tools().to_owned()).filter(|tools| tools.is_dir());
    let layout = Layout::new(&root, Some(state), Some(fetched.unwrap_or_else(|| own.tools().to_owned())));
    let Ok(programs) = own.programs().strip_prefix(own.root()) else {
        let folder = own.programs().display();
        bail!(
            "{PROGRAMS_VARIABLE} is {folder}, outside of this checkout, so the other one has no such folder"
        );
    };
    Ok(layout.with_programs(root.join(programs)))
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
    /// Starts everything.
    ///
    /// # Errors
    /// When `up` fails, which prints the reason to standard error, and on an interrupt. [`Self::down`] stops what still runs then.
    pub(super) async fn up(&self, interrupts: &mut Interrupts) -> Result<()> {
        print_line(&format!("platform {self}"));
        let mut up = self.command(&["up", "--yes", "--no-build"]);
        if !child::run(&mut up, interrupts.received()).await?.success() {
            bail!("the platform {self} did not start (its messages are above)");
        }
        Ok(())
    }

    /// Stops everything that runs and deletes its data. An interrupt does not end this.
    pub(super) async fn down(&self) -> Result<()> {
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

    /// The gateway, with the token that exempts from the limit per address.
    pub(super) fn gateway(&self) -> Result<Gateway> {
        let port = Ports::new(self.port_base)?.http(Part::Gateway);
        let secrets = Secrets::load(&self.layout);
        let secrets = secrets.with_context(|| format!("cannot read the secrets of the platform {self}"))?;
        Gateway::new(format!("http://127.0.0.1:{port}"), Some(secrets.operator_token))
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
            .env(PORT_BASE_VARIABLE, self.port_base.to_string())
            .env(END_WITH_VARIABLE, self.end_with.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0);
        command
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ({})", self.side, self.port_base, self.layout.root().display())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn create(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    /// A checkout with two services, and its programs.
    const BUILT: [&str; 7] = [
        "deploy/versions.toml",
        "Cargo.toml",
        "services/game/Cargo.toml",
        "services/user/Cargo.toml",
        "target/debug/game",
        "target/debug/user",
        "target/debug/pitboss",
    ];

    #[test]
    fn base_has_to_be_a_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let own = Layout::new(Path::new("/own"), None, None);
        let refused = |root: &Path| other(&own, root, PathBuf::from("/state")).unwrap_err().to_string();
        assert!(refused(&folder.path().join("missing")).contains("cannot find"));
        assert!(refused(folder.path()).contains("not the root of a checkout"));
        create(folder.path(), &BUILT);
        let layout = other(&own, folder.path(), PathBuf::from("/state")).unwrap();
        assert_eq!((layout.state(), layout.tools()), (Path::new("/state"), own.tools()));
        assert_eq!(layout.programs(), folder.path().canonicalize().unwrap().join("target/debug"));
        let outside = own.with_programs(PathBuf::from("/elsewhere"));
        assert!(
            other(&outside, folder.path(), PathBuf::new()).unwrap_err().to_string().contains("PITBOSS_BIN")
        );
        let release = own.with_programs(PathBuf::from("/own/target/release"));
        let layout = other(&release, folder.path(), PathBuf::from("/state")).unwrap();
        assert_eq!(layout.programs(), folder.path().canonicalize().unwrap().join("target/release"));
        create(folder.path(), &[".pitboss/tools/kafka"]);
        let layout = other(&own, folder.path(), PathBuf::from("/state")).unwrap();
        assert_eq!(layout.tools(), folder.path().canonicalize().unwrap().join(".pitboss/tools"));
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
    fn each_platform_has_its_own_build_and_state() {
        let folder = tempfile::tempdir().unwrap();
        let [own, vs] = ["own", "vs"].map(|name| folder.path().join(name));
        create(&own, &BUILT);
        create(&vs, &BUILT);
        let [a, b] = both(&Layout::new(&own, None, None), &vs, folder.path()).unwrap();
        assert_eq!((a.side, b.side), (Side::A, Side::B));
        assert_eq!(a.program, vs.canonicalize().unwrap().join("target/debug/pitboss"));
        assert!(a.layout.state() != b.layout.state() && b.layout.root() == own);
        let command = a.command(&["up"]);
        let variable = |name: &str| {
            let mut all = command.as_std().get_envs();
            all.find(|(found, _)| *found == name).and_then(|(_, value)| value).map(PathBuf::from)
        };
        assert_eq!(variable(ROOT_VARIABLE), Some(vs.canonicalize().unwrap()));
        assert_eq!(variable(STATE_VARIABLE), Some(a.layout.state().to_owned()));
    }
}

//! Finds this checkout, the folder of its platform's state, and the base of its ports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use contracts::parts::{BASE_PORT_DEFAULT, Ports};
use runtime::os_process::ProcessId;
use runtime::receiver::Receiver;
use runtime::{Layout, dotenv};
use serde::{Deserialize, Serialize};

/// Root of the checkout, set by the script `./pitboss`.
pub const ROOT_VARIABLE: &str = "PITBOSS_ROOT";
/// State folder in place of `.pitboss/`.
pub const STATE_VARIABLE: &str = "PITBOSS_STATE";
/// Folder for fetched programs in place of `.pitboss/tools/`.
pub const TOOLS_VARIABLE: &str = "PITBOSS_TOOLS";
/// Folder of our own programs in place of the one that cargo builds into.
pub const PROGRAMS_VARIABLE: &str = "PITBOSS_BIN";
/// Base of all ports in place of the default.
pub const PORT_BASE_VARIABLE: &str = "PITBOSS_PORT_BASE";
/// Receiver of the services' telemetry in place of the recorder: `none`, or a port of 127.0.0.1.
pub const RECEIVER_VARIABLE: &str = "PITBOSS_RECEIVER";
/// Address and secret of a real Sentry's webhook for flag changes, in `.env` or in the terminal of `up`.
pub const FLAG_HOOK_URL_VARIABLE: &str = "PITBOSS_FLAG_HOOK_URL";
/// See [`FLAG_HOOK_URL_VARIABLE`].
pub const FLAG_HOOK_SECRET_VARIABLE: &str = "PITBOSS_FLAG_HOOK_SECRET";
/// Process whose end shuts down the platforms that it starts. `./pitboss test` sets it for the platforms of its tests.
pub const END_WITH_VARIABLE: &str = "PITBOSS_END_WITH";

/// Decisions of `up`, for later commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Base of all ports.
    pub port_base: u16,
    /// Release that the services report.
    pub release: String,
    /// `true` after a finished `up`. A killed one may have left any step undone.
    #[serde(default)]
    pub complete: bool,
    /// `true` if Spotlight runs beside the platform (`up --spotlight`).
    #[serde(default)]
    pub spotlight: bool,
}

/// This checkout.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// Its folders.
    pub layout: Layout,
    /// Variables of `.env`.
    pub dotenv: BTreeMap<String, String>,
    /// What receives the telemetry of the services.
    pub receiver: Receiver,
    /// Requested base port, by option, variable or `.env`.
    requested_base: Option<u16>,
}

impl Checkout {
    /// Finds the checkout that this program belongs to.
    pub fn find(port_base: Option<u16>) -> Result<Self> {
        let root = root()?;
        let dotenv = dotenv::read(&root.join(".env"))?;
        let setting = |name: &str| {
            std::env::var(name).ok().or_else(|| dotenv.get(name).cloned()).filter(|v| !v.is_empty())
        };
        let folder = |name: &str| setting(name).map(|path| root.join(path));
        let requested_base = match (port_base, setting(PORT_BASE_VARIABLE)) {
            (Some(base), _) => Some(base),
            (None, Some(text)) => Some(
                text.parse().with_context(|| format!("{PORT_BASE_VARIABLE}={text} is not a port number"))?,
            ),
            (None, None) => None,
        };
        let receiver = match setting(RECEIVER_VARIABLE) {
            Some(text) => text.parse::<Receiver>().context(RECEIVER_VARIABLE)?,
            None => Receiver::default(),
        };
        let mut layout = Layout::new(&root, folder(STATE_VARIABLE), folder(TOOLS_VARIABLE));
        if let Some(programs) = folder(PROGRAMS_VARIABLE) {
            layout = layout.with_programs(programs);
        }
        let checkout = Self { layout, dotenv, receiver, requested_base };
        checkout.ports()?;
        Ok(checkout)
    }

    /// Returns the ports: from the requested base, else from that of the running platform, else from the default.
    pub fn ports(&self) -> Result<Ports> {
        let base =
            self.requested_base.or_else(|| self.running().map(|r| r.port_base)).unwrap_or(BASE_PORT_DEFAULT);
        Ok(Ports::new(base)?)
    }

    /// Returns the same checkout with another state folder.
    #[must_use]
    pub fn with_state(&self, state: PathBuf) -> Self {
        Self { layout: self.layout.with_state(state), ..self.clone() }
    }

    /// Returns the same checkout with other folders.
    #[must_use]
    pub fn with_layout(&self, layout: Layout) -> Self {
        Self { layout, ..self.clone() }
    }

    /// Variables of `.env` and the terminal that are passed on to the services.
    #[must_use]
    pub fn service_variables(&self) -> BTreeMap<String, String> {
        let terminal =
            std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?)));
        dotenv::for_services(self.dotenv.clone().into_iter().chain(terminal))
    }

    /// Decisions of the last `up`, or `None` if the platform is down.
    #[must_use]
    pub fn running(&self) -> Option<Running> {
        Running::of(&self.layout)
    }

    /// Stores the decisions of an `up`.
    pub fn set_running(&self, running: &Running) -> Result<()> {
        let path = running_file(&self.layout);
        std::fs::write(&path, serde_json::to_vec(running)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Deletes them, because the platform is down.
    pub fn clear_running(&self) {
        drop(std::fs::remove_file(running_file(&self.layout)));
    }
}

impl Running {
    /// Decisions of the last `up` of a platform, or `None` if it is down.
    #[must_use]
    pub fn of(layout: &Layout) -> Option<Self> {
        let text = std::fs::read(running_file(layout)).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

fn running_file(layout: &Layout) -> PathBuf {
    layout.run().join("platform.json")
}

/// Process with whose end the platform shuts down, if there is one.
pub(crate) fn end_with() -> Option<ProcessId> {
    std::env::var(END_WITH_VARIABLE).ok()?.parse().ok()
}

fn root() -> Result<PathBuf> {
    let is_root =
        |folder: &Path| folder.join("deploy/versions.toml").is_file() && folder.join("Cargo.toml").is_file();
    let given = std::env::var_os(ROOT_VARIABLE).map(PathBuf::from);
    let program = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    let places = given.into_iter().chain(program).chain(here);
    for place in places {
        if let Some(root) = place.ancestors().find(|folder| is_root(folder)) {
            return root.canonicalize().with_context(|| format!("cannot use {}", root.display()));
        }
    }
    bail!("this folder is not in a checkout of Pitboss: run ./pitboss at the root of one");
}

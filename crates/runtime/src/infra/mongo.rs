//! Document store: `mongod` if it is on the PATH, otherwise a server with the same protocol that cargo builds once.

use std::path::PathBuf;
use std::time::Duration;

use contracts::parts::Part;
use contracts::versions::versions;

use crate::fetch::{self, Job};
use crate::layout::private_folder;
use crate::part::{Kind, PartSpec, Probe, base_environment, fingerprint};
use crate::{Layout, RuntimeError, tools};

const BUILD_DEADLINE: Duration = Duration::from_secs(3_600);
/// Name of the single-node replica set that a `mongod` is made.
///
/// Outside a set, `mongod` answers a majority read with the newest data, including writes that are not in its journal yet and are
/// lost when it is killed. (The server that cargo builds reports such a set by itself.)
pub const REPLICA_SET: &str = "pitboss";
const STOP_DEADLINE_MS: u64 = 20_000;
/// Crates of the server that no operation of the platform uses: places on the earth, the order of words and dates of a locale, TLS,
/// certificates, the file of settings, backups. The optimiser would take a minute for them.
const UNUSED_CRATES: [&str; 26] = [
    "asn1-rs",
    "cgmath",
    "chrono-tz",
    "der-parser",
    "earcutr",
    "geo",
    "geographiclib-rs",
    "icu_collator",
    "icu_locale_core",
    "icu_normalizer",
    "icu_properties",
    "jiff",
    "jiff-core",
    "nom",
    "oid-registry",
    "rstar",
    "rustls",
    "rustls-webpki",
    "s2",
    "spade",
    "stringprep",
    "tar",
    "toml",
    "toml_edit",
    "winnow",
    "x509-parser",
];

/// Kind of server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// MongoDB itself, with the version that it reports.
    Mongod(PathBuf, String),
    /// The server that cargo built.
    Secantus(PathBuf),
}

impl Server {
    /// Describes the server for output.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Mongod(path, version) => format!("mongod {version} ({})", path.display()),
            Self::Secantus(_) => format!("secantus {}", versions().mongo.secantus_mdb),
        }
    }
}

fn home(layout: &Layout) -> PathBuf {
    layout.tools().join(format!("secantus-mdb-{}", versions().mongo.secantus_mdb))
}

/// Keeps changed pages in memory until the checkpoint of each minute. By default four threads write them out as soon as they are
/// 5 % of the cache, which was a sixth of the server's work. Acknowledged writes are in the log before that.
const STORE_EVICTION: &str =
    "eviction=(threads_min=1,threads_max=1),eviction_dirty_target=20,eviction_dirty_trigger=40";

/// The available server, or `None` if one must be built first.
#[must_use]
pub fn find(layout: &Layout) -> Option<Server> {
    if let Some(path) = tools::locate(&tools::MONGOD) {
        let version = tools::reported_version(&path, "--version").unwrap_or_else(|| "unknown".to_owned());
        return Some(Server::Mongod(path, version));
    }
    let built = home(layout).join("bin").join("secantusd-rs");
    built.is_file().then_some(Server::Secantus(built))
}

/// Builds the server if none is available. An interrupted build continues where it stopped.
pub async fn build(layout: &Layout, on_line: &fetch::OnLine<'_>) -> Result<(), RuntimeError> {
    if find(layout).is_some() {
        return Ok(());
    }
    let (home, objects) = (home(layout), layout.tools().join("build").join("mongo"));
    private_folder(&home)?;
    let mut cargo = fetch::bound("cargo");
    cargo
        .args(["install", "secantus-mdb", "--version", &versions().mongo.secantus_mdb, "--locked"])
        .args(["--ignore-rust-version", "--root"])
        .arg(&home)
        .args(
            UNUSED_CRATES.iter().flat_map(|name| {
                ["--config".to_owned(), format!("profile.release.package.{name}.opt-level=0")]
            }),
        )
        // The package asks for link-time optimisation, which takes a core two minutes.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .current_dir(layout.root())
        .env("CARGO_TARGET_DIR", &objects)
        // A wrapper for our own code, such as clippy's, must not judge this one.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100");
    let log = layout.log("build-mongo");
    fetch::run(
        layout,
        cargo,
        &Job { what: "building the document store", log: &log, deadline: BUILD_DEADLINE },
        on_line,
    )
    .await?;
    // Several hundred megabytes that are no longer needed.
    drop(std::fs::remove_dir_all(objects));
    Ok(())
}

/// Creates the data folder and describes the server.
pub fn prepare(layout: &Layout, port: u16) -> Result<PartSpec, RuntimeError> {
    let data = layout.data("mongo");
    private_folder(&data)?;
    let server = find(layout).ok_or_else(|| RuntimeError::Missing {
        what: "there is no document store".to_owned(),
        advice: "run ./pitboss up to build one, or put mongod on the PATH".to_owned(),
    })?;
    let (port_text, data) = (port.to_string(), data.display().to_string());
    let owned = |args: &[&str]| args.iter().map(|a| (*a).to_owned()).collect::<Vec<String>>();
    let mut env = base_environment();
    let (program, version, args) = match server {
        Server::Mongod(path, version) => {
            let cache = ["--wiredTigerCacheSizeGB", "0.25"];
            let place = ["--dbpath", &data, "--port", &port_text, "--bind_ip", "127.0.0.1"];
            (path, version, owned(&[place.as_slice(), &["--replSet", REPLICA_SET], &cache].concat()))
        }
        // Without --sync-on-commit an acknowledged write can be lost when the server is killed.
        Server::Secantus(path) => {
            env.insert("SECANTUS_WT_CONFIG_EXTRA".to_owned(), STORE_EVICTION.to_owned());
            let place = ["--host", "127.0.0.1", "--port", &port_text, "--storage-path", &data];
            let options = ["--sync-on-commit", "--cache-size", "512M", "--log-level", "WARNING"];
            (
                path,
                format!("secantus {}", versions().mongo.secantus_mdb),
                owned(&[place.as_slice(), &options].concat()),
            )
        }
    };
    let address = format!("127.0.0.1:{port}");
    Ok(PartSpec {
        name: Part::Mongo.as_str().to_owned(),
        kind: Kind::Infrastructure,
        fingerprint: fingerprint(&program),
        program,
        args,
        env,
        cwd: layout.state().to_owned(),
        needs: Vec::new(),
        ports: vec![port],
        address: address.clone(),
        version,
        ready: Probe::Mongo { address },
        stop_deadline_ms: STOP_DEADLINE_MS,
    })
}

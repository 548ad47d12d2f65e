//! Cache server, which stores nothing on disk. No money depends on it, so it may lose everything. Because it is empty after every
//! start, code that uses it as a store is noticed soon.

use contracts::parts::Part;

use crate::layout::private_folder;
use crate::part::{Kind, PartSpec, Probe, base_environment, fingerprint};
use crate::{Layout, RuntimeError, tools};

const STOP_DEADLINE_MS: u64 = 5_000;
/// Memory limit, at which the least recently used keys are evicted.
const MEMORY_MAX: &str = "64mb";

/// Describes the cache.
pub fn prepare(layout: &Layout, port: u16) -> Result<PartSpec, RuntimeError> {
    let program = tools::locate(&tools::REDIS).ok_or_else(|| RuntimeError::Missing {
        what: "redis-server is missing (needed for the cache)".to_owned(),
        advice: "./pitboss doctor shows how to install it".to_owned(),
    })?;
    let data = layout.data("redis");
    private_folder(&data)?;
    let (port_text, data) = (port.to_string(), data.display().to_string());
    let place = ["--port", &port_text, "--bind", "127.0.0.1", "--dir", &data, "--daemonize", "no"];
    let options =
        ["--save", "", "--appendonly", "no", "--maxmemory", MEMORY_MAX, "--maxmemory-policy", "allkeys-lru"];
    let address = format!("127.0.0.1:{port}");
    Ok(PartSpec {
        name: Part::Redis.as_str().to_owned(),
        kind: Kind::Infrastructure,
        fingerprint: fingerprint(&program),
        version: tools::reported_version(&program, "--version").unwrap_or_else(|| "unknown".to_owned()),
        program,
        args: [place.as_slice(), &options].concat().into_iter().map(str::to_owned).collect(),
        env: base_environment(),
        cwd: layout.state().to_owned(),
        needs: Vec::new(),
        ports: vec![port],
        address: address.clone(),
        ready: Probe::Redis { address },
        stop_deadline_ms: STOP_DEADLINE_MS,
    })
}

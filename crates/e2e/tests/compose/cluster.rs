//! Cluster of the compose file on free ports, under a unique project name.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use contracts::parts::{BASE_PORT_DEFAULT, Part, Ports};
use regex::Regex;

/// Number of ports that the compose file publishes from its base on, including those of the replicas.
const PORTS: u16 = 60;
/// Label of the images that `deploy/containers/images.sh` builds as stand-ins for others.
const STAND_IN: &str = "{{index .Config.Labels \"pitboss.stand-in\"}}";

/// The container engine of this machine.
pub(crate) struct Engine;

impl Engine {
    /// Checks that an engine with the compose plugin answers. The error names what is missing.
    pub(crate) fn find() -> Result<Self, String> {
        for (args, what) in [
            (["info", "--format", "{{.ServerVersion}}"].as_slice(), "no container engine answers"),
            (["compose", "version"].as_slice(), "docker has no compose plugin"),
        ] {
            let answered = Command::new("docker").args(args).output().is_ok_and(|out| out.status.success());
            if !answered {
                return Err(what.to_owned());
            }
        }
        Ok(Self)
    }
}

pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    project: String,
    ports: Ports,
    is_stand_in: bool,
    started: Instant,
}

impl Cluster {
    /// Builds the programs' image, and writes the compose file with other ports and new secrets into a folder.
    pub(crate) fn prepare() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ports = free_ports()?;
        let text = fs::read_to_string(root().join("docker-compose.kafka.yml"))?;
        fs::write(folder.path().join("docker-compose.kafka.yml"), with_port_base(&text, ports.base())?)?;
        fs::copy(root().join("deploy/containers/standin.yml"), folder.path().join("standin.yml"))?;
        let mut images = Command::new(root().join("deploy/containers/images.sh"));
        run(images.arg("pitboss").env("CHECKOUT", root()).env("PROGRAMS", programs()), "the image")?;
        let project = format!("pitboss-test-{}", std::process::id());
        let is_stand_in = docker(&["image", "inspect", "--format", STAND_IN, "mongo:8.0"])
            .is_ok_and(|label| label.trim() == "true");
        let cluster = Self { folder, project, ports, is_stand_in, started: Instant::now() };
        cluster.pitboss(&["secrets", "--env"])?;
        cluster.report("prepared");
        Ok(cluster)
    }

    pub(crate) fn up(&self, profiles: &[&str]) -> Result<()> {
        let profiles: Vec<&str> = profiles.iter().flat_map(|profile| ["--profile", profile]).collect();
        self.compose(&[profiles.as_slice(), &["up", "--no-build", "--detach", "--wait"]].concat())?;
        self.report("healthy");
        Ok(())
    }

    /// Stops every container. Each Pitboss service must exit with code 0.
    pub(crate) fn stop(&self) -> Result<()> {
        self.compose(&["stop"])?;
        for part in Part::SERVICES {
            let id = self.compose(&["ps", "--all", "--quiet", part.as_str()])?;
            let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", id.trim()])?;
            ensure!(code.trim() == "0", "{part} ended with {code}");
        }
        self.report("stopped");
        Ok(())
    }

    /// Kills a service for good, because the engine does not restart a container that was killed through it.
    pub(crate) fn kill(&self, service: &str) -> Result<()> {
        self.compose(&["kill", service]).map(drop)
    }

    pub(crate) fn down(&self) -> Result<()> {
        self.compose(&["--profile", "replicas", "down", "--volumes"]).map(drop)
    }

    /// Checks that no container, network or volume of the project exists.
    pub(crate) fn check_nothing_is_left(&self) -> Result<()> {
        let filter = format!("label=com.docker.compose.project={}", self.project);
        for list in [["ps", "--all"].as_slice(), &["network", "ls"], &["volume", "ls"]] {
            let left = docker(&[list, &["--quiet", "--filter", &filter]].concat())?;
            ensure!(left.trim().is_empty(), "`docker {}` still lists {left}", list.join(" "));
        }
        self.report("nothing left");
        Ok(())
    }

    pub(crate) fn runs_as_unprivileged_user(&self) -> Result<()> {
        let id = self.compose(&["exec", "-T", "game", "id", "-u"])?;
        ensure!(id.trim() == "10001", "game runs as user {id}");
        Ok(())
    }

    pub(crate) fn gateway_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http(Part::Gateway))
    }

    pub(crate) fn second_gateway_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.base() + 40)
    }

    pub(crate) fn recorder_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.recorder_query())
    }

    pub(crate) fn lag_url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/lag", self.ports.http(Part::Lagwatch))
    }

    pub(crate) fn kafka(&self) -> String {
        format!("127.0.0.1:{}", self.ports.http(Part::Kafka))
    }

    /// Runs the command line with the cluster's secrets, and returns its standard output.
    pub(crate) fn pitboss(&self, args: &[&str]) -> Result<String> {
        self.pitboss_with_input(args, "")
    }

    pub(crate) fn pitboss_with_input(&self, args: &[&str], input: &str) -> Result<String> {
        let file = self.folder.path().join("input");
        fs::write(&file, input)?;
        let mut command = Command::new(programs().join("pitboss"));
        command.args(args).env("PITBOSS_STATE", self.folder.path().join(".pitboss"));
        command.env("PITBOSS_TOOLS", tools()).stdin(fs::File::open(file)?);
        run(&mut command, &format!("pitboss {}", args.join(" ")))
    }

    fn compose(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("docker");
        command.arg("compose").arg("--project-directory").arg(self.folder.path()).args(["-p", &self.project]);
        command.arg("--env-file").arg(self.folder.path().join(".pitboss/secrets/compose.env"));
        let overlay = self.is_stand_in.then_some("standin.yml");
        for file in ["docker-compose.kafka.yml"].into_iter().chain(overlay) {
            command.arg("-f").arg(self.folder.path().join(file));
        }
        run(command.args(args), &format!("docker compose {}", args.join(" ")))
    }

    pub(crate) fn report(&self, what: &str) {
        eprintln!("compose: {what} at {:.0} s", self.started.elapsed().as_secs_f64());
    }

    pub(crate) fn print_logs(&self) {
        for args in [["ps", "--all"].as_slice(), &["logs", "--no-color", "--tail", "40"]] {
            eprintln!("{}", self.compose(args).unwrap_or_else(|error| format!("{error:#}")));
        }
    }
}

fn docker(args: &[&str]) -> Result<String> {
    run(Command::new("docker").args(args), &format!("docker {}", args.join(" ")))
}

fn run(command: &mut Command, what: &str) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("cannot start {what}"))?;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    if !status.success() {
        bail!("{what}: {status}\n{stdout}\n{}", String::from_utf8_lossy(&stderr));
    }
    Ok(stdout)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}

fn programs() -> PathBuf {
    std::env::var_os("PITBOSS_BIN").map_or_else(|| root().join("target/debug"), PathBuf::from)
}

fn tools() -> PathBuf {
    std::env::var_os("PITBOSS_TOOLS").map_or_else(|| root().join(".pitboss/tools"), PathBuf::from)
}

/// A base from which every port is free now.
fn free_ports() -> Result<Ports> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let base = (18_200..30_000).step_by(100).find(|base| (*base..base + PORTS).all(free));
    Ok(Ports::new(base.context("no free ports")?)?)
}

/// Returns the file with all published ports moved to another base. Ports inside the containers stay.
fn with_port_base(text: &str, base: u16) -> Result<String> {
    let published = Regex::new(r"127\.0\.0\.1:(8\d{3})(:8\d{3})?")?;
    let shift = |found: &regex::Captures<'_>| {
        let port: u16 = found[1].parse().unwrap_or(0);
        // Without a second port it is an advertised address, or a check inside the container.
        let inside = found.get(2).map_or("", |port| port.as_str());
        format!("127.0.0.1:{}{inside}", port - BASE_PORT_DEFAULT + base)
    };
    let line = |line: &str| {
        let checks_itself = line.trim_start().starts_with("test:");
        if checks_itself { line.to_owned() } else { published.replace_all(line, shift).into_owned() }
    };
    Ok(text.lines().map(line).collect::<Vec<_>>().join("\n"))
}

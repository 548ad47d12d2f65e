//! Apache Kafka: fetches its jars with Maven, and runs one KRaft node and Kafka's own command line tools.
//!
//! The scripts of a Kafka distribution are wrappers around main classes. Here the same classes run with the jars on the class
//! path, so the tools are Kafka's own, with all their options.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::parts::Part;
use contracts::versions::versions;

use super::InfraPorts;
use super::jars::verify;
use crate::fetch::{self, Job};
use crate::layout::{private_folder, write_private};
use crate::part::{Kind, PartSpec, Probe, base_environment, fingerprint};
use crate::{Layout, RuntimeError, tools};

const FETCH_DEADLINE: Duration = Duration::from_secs(900);
const FORMAT_DEADLINE: Duration = Duration::from_secs(60);
/// Leaves the broker time to record where its logs end, which makes its next start short.
const STOP_DEADLINE_MS: u64 = 20_000;

/// JVM options for one node on two cores: a small heap, and the collector that starts fastest. Both compilers are on, because with
/// the second one a request costs a third less after the first minute (docs/adr/0007). The broker exits when it is out of memory.
const SERVER_JVM: [&str; 4] =
    ["-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"];
const TOOL_JVM: [&str; 3] = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// One of Kafka's own command line tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `kafka-console-producer.sh`
    ConsoleProducer,
    /// `kafka-console-consumer.sh`
    ConsoleConsumer,
    /// `kafka-topics.sh`
    Topics,
    /// `kafka-consumer-groups.sh`
    ConsumerGroups,
}

impl Tool {
    fn main_class(self) -> &'static str {
        match self {
            Self::ConsoleProducer => "org.apache.kafka.tools.ConsoleProducer",
            Self::ConsoleConsumer => "org.apache.kafka.tools.consumer.ConsoleConsumer",
            Self::Topics => "org.apache.kafka.tools.TopicCommand",
            Self::ConsumerGroups => "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        }
    }
}

fn home(layout: &Layout) -> PathBuf {
    layout.tools().join(format!("kafka-{}", versions().kafka.version))
}

/// Folder of Kafka's jars.
#[must_use]
pub fn jars(layout: &Layout) -> PathBuf {
    home(layout).join("libs")
}

/// Returns `true` if the jars were fetched. The folder gets its name only when it is complete.
#[must_use]
pub fn is_fetched(layout: &Layout) -> bool {
    jars(layout).is_dir()
}

/// Fetches the jars with Maven, unless they were fetched before. The folder gets its name only after all jars were verified.
pub async fn fetch(layout: &Layout, on_line: &fetch::OnLine<'_>) -> Result<(), RuntimeError> {
    if is_fetched(layout) {
        return Ok(());
    }
    let home = home(layout);
    private_folder(&home)?;
    write_private(&home.join("pom.xml"), pom().as_bytes())?;
    let draft = home.join("libs.incomplete");
    drop(std::fs::remove_dir_all(&draft));
    let mut maven = fetch::bound("mvn");
    maven
        .current_dir(&home)
        // -C: without it Maven 3 only warns about a file with a wrong checksum.
        .args(["-B", "-C", &copy_dependencies(), "-DincludeScope=runtime"])
        .arg(format!("-DoutputDirectory={}", draft.display()));
    let log = layout.log("fetch-kafka");
    let job = Job { what: "fetching Apache Kafka", log: &log, deadline: FETCH_DEADLINE };
    fetch::run(layout, maven, &job, on_line).await?;
    verify(&draft)?;
    std::fs::rename(&draft, jars(layout)).map_err(RuntimeError::file("rename", &draft))
}

/// The Maven goal, with its plugin's version. Without a version Maven would use any that it finds.
fn copy_dependencies() -> String {
    let version = &versions().kafka.maven_dependency_plugin;
    format!("org.apache.maven.plugins:maven-dependency-plugin:{version}:copy-dependencies")
}

fn pom() -> String {
    let kafka = &versions().kafka;
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>\n"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", &format!("kafka_{}", kafka.scala), &kafka.version),
        dependency("org.apache.kafka", "kafka-tools", &kafka.version),
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", &kafka.log4j_slf4j_impl),
    ]
    .concat();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>pitboss</groupId><artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging>\n  \
         <dependencies>\n{dependencies}  </dependencies>\n</project>\n"
    )
}

/// Ports of the broker, and of the proxy that it advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerPorts {
    /// The listener for clients.
    pub clients: u16,
    /// The controller.
    pub controller: u16,
    /// The listener `WIRE` for the proxy. Metadata that a client asks for there names [`BrokerPorts::proxy`].
    pub wire: u16,
    /// The proxy, which forwards to the listener `WIRE`.
    pub proxy: u16,
}

impl From<InfraPorts> for BrokerPorts {
    fn from(ports: InfraPorts) -> Self {
        Self {
            clients: ports.kafka,
            controller: ports.kafka_controller,
            wire: ports.kafka_wire,
            proxy: ports.wire,
        }
    }
}

/// Writes the configuration, formats a new data folder, and describes the broker.
pub async fn prepare(layout: &Layout, ports: BrokerPorts) -> Result<PartSpec, RuntimeError> {
    let java = java()?;
    verify(&jars(layout))?;
    let properties = layout.config().join("kafka.properties");
    write_private(&properties, server_properties(layout, ports).as_bytes())?;
    write_private(&layout.config().join("kafka-log4j2.properties"), SERVER_LOGGING.as_bytes())?;
    if !layout.data("kafka").join("meta.properties").exists() {
        format(layout, &java, &properties).await?;
    }
    let mut args: Vec<String> = SERVER_JVM.map(str::to_owned).to_vec();
    args.push(format!(
        "-Dlog4j2.configurationFile={}",
        layout.config().join("kafka-log4j2.properties").display()
    ));
    args.extend([
        "-cp".to_owned(),
        class_path(layout),
        "kafka.Kafka".to_owned(),
        properties.display().to_string(),
    ]);
    let address = format!("127.0.0.1:{}", ports.clients);
    Ok(PartSpec {
        name: Part::Kafka.as_str().to_owned(),
        kind: Kind::Infrastructure,
        fingerprint: fingerprint(&java),
        program: java,
        args,
        env: base_environment(),
        cwd: layout.state().to_owned(),
        needs: Vec::new(),
        ports: vec![ports.clients, ports.controller, ports.wire],
        address: address.clone(),
        version: versions().kafka.version.clone(),
        ready: Probe::Kafka { address },
        stop_deadline_ms: STOP_DEADLINE_MS,
    })
}

fn java() -> Result<PathBuf, RuntimeError> {
    tools::locate(&tools::JAVA).ok_or_else(|| RuntimeError::Missing {
        what: "java is missing (needed for Apache Kafka)".to_owned(),
        advice: "./pitboss doctor shows how to install it".to_owned(),
    })
}

fn class_path(layout: &Layout) -> String {
    format!("{}/*", jars(layout).display())
}

/// Returns 22 characters, as in Kafka's own ids. An id never begins with a dash, which Kafka's tools would take for an option.
fn cluster_id(random: uuid::Uuid) -> String {
    let mut bytes = random.into_bytes();
    bytes[0] &= 0x7f;
    URL_SAFE_NO_PAD.encode(bytes)
}

async fn format(layout: &Layout, java: &PathBuf, properties: &PathBuf) -> Result<(), RuntimeError> {
    // A folder without meta.properties was never formatted completely, so it holds no broker data.
    drop(std::fs::remove_dir_all(layout.data("kafka")));
    let cluster_id = cluster_id(uuid::Uuid::new_v4());
    let mut storage_tool = fetch::bound(java);
    storage_tool
        .args(TOOL_JVM)
        .args(["-cp", &class_path(layout), "kafka.tools.StorageTool", "format", "-t", &cluster_id, "-c"])
        .arg(properties)
        .env_clear()
        .envs(base_environment());
    let log = layout.log("kafka-format");
    fetch::run(
        layout,
        storage_tool,
        &Job { what: "formatting Kafka's data folder", log: &log, deadline: FORMAT_DEADLINE },
        &|_| {},
    )
    .await
}

/// Configuration of one broker that is its own controller. There is one replica of everything, and few partitions and threads, so
/// that it starts fast and stays small. The session time-out is short, because a killed broker may not return before the
/// controller considers its old session dead. The listener `WIRE` advertises the proxy, so its clients send everything through it.
/// Committed offsets of a group that is away stay for 90 days, because it would read everything again without them. The
/// authorizer permits everything until a fault adds a rule. A controller without changes writes a record every 5 s instead of
/// twice a second.
fn server_properties(layout: &Layout, ports: BrokerPorts) -> String {
    let BrokerPorts { clients: port, controller: controller_port, wire: wire_port, proxy: proxy_port } =
        ports;
    let data = layout.data("kafka");
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},WIRE://127.0.0.1:{wire_port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},WIRE://127.0.0.1:{proxy_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,WIRE:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={}
auto.create.topics.enable=false
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
offsets.retention.minutes=129600
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=2
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
metadata.max.idle.interval.ms=5000
num.network.threads=1
num.io.threads=2
log.cleaner.dedupe.buffer.size=16777216
",
        data.display()
    )
}

const SERVER_LOGGING: &str = "status=warn
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %-5p %c{1} %m%n
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
logger.changes.name=state.change.logger
logger.changes.level=warn
";

const TOOL_LOGGING: &str = "status=warn
appender.err.type=Console
appender.err.name=err
appender.err.target=SYSTEM_ERR
appender.err.layout.type=PatternLayout
appender.err.layout.pattern=%d{ISO8601} %-5p %m%n
rootLogger.level=warn
rootLogger.appenderRef.err.ref=err
";

/// Returns the command that runs one of Kafka's own tools with these arguments. The broker's address is added unless it is given.
pub fn tool(
    layout: &Layout,
    tool: Tool,
    bootstrap: &str,
    args: &[OsString],
) -> Result<Command, RuntimeError> {
    let java = java()?;
    if !is_fetched(layout) {
        return Err(RuntimeError::Missing {
            what: "Apache Kafka has not been fetched yet".to_owned(),
            advice: "run ./pitboss up, which fetches it".to_owned(),
        });
    }
    verify(&jars(layout))?;
    let logging = layout.config().join("kafka-tool-log4j2.properties");
    write_private(&logging, TOOL_LOGGING.as_bytes())?;
    let mut command = Command::new(java);
    command.args(TOOL_JVM).arg(format!("-Dlog4j2.configurationFile={}", logging.display())).args([
        "-cp",
        &class_path(layout),
        tool.main_class(),
    ]);
    if !names_a_broker(args) {
        command.args(["--bootstrap-server", bootstrap]);
    }
    command.args(args);
    Ok(command)
}

fn names_a_broker(args: &[OsString]) -> bool {
    let options = ["--bootstrap-server", "--broker-list", "--bootstrap-controller", "--help", "--version"];
    let given = |arg: &OsString| {
        let text = arg.to_string_lossy();
        let option = text.split('=').next().unwrap_or_default();
        options.contains(&option)
    };
    args.iter().any(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: BrokerPorts = BrokerPorts { clients: 8120, controller: 8121, wire: 8124, proxy: 8112 };

    #[test]
    fn cluster_id_is_not_an_option() {
        for first in 0..=u8::MAX {
            let mut random = [0xfb; 16];
            random[0] = first;
            let id = cluster_id(uuid::Uuid::from_bytes(random));
            assert!(id.len() == 22 && id.starts_with(|c: char| c.is_ascii_alphabetic()), "{id}");
        }
    }

    #[test]
    fn broker_address_is_added_if_missing() {
        let given = |args: &[&str]| names_a_broker(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(
            given(&["--list", "--bootstrap-server", "a:1"])
                && given(&["--bootstrap-server=a:1"])
                && given(&["--help"])
        );
        assert!(!given(&["--topic", "casino.bets.commands.v1"]) && !given(&[]));
    }

    #[test]
    fn fetched_versions_match_versions_file() {
        assert_eq!(
            copy_dependencies(),
            "org.apache.maven.plugins:maven-dependency-plugin:3.9.0:copy-dependencies"
        );
        let pom = pom();
        assert!(pom.contains("<artifactId>kafka_2.13</artifactId><version>4.3.0</version>"), "{pom}");
        assert!(pom.contains("<artifactId>kafka-tools</artifactId><version>4.3.0</version>"), "{pom}");
        assert!(pom.contains("<artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version>"), "{pom}");
    }

    #[tokio::test]
    async fn unlisted_jar_stops_broker_and_tools() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        std::fs::create_dir_all(jars(&layout)).unwrap();
        std::fs::write(jars(&layout).join("another.jar"), "another").unwrap();
        let broker = prepare(&layout, PORTS).await.map(drop);
        let topics = tool(&layout, Tool::Topics, "127.0.0.1:8120", &[]).map(drop);
        for refused in [broker, topics] {
            let reason = refused.unwrap_err().to_string();
            assert!(reason.contains("another.jar is not in the list of jars"), "{reason}");
        }
    }

    #[test]
    fn broker_listens_on_loopback_only() {
        let layout = Layout::new(std::path::Path::new("/x"), None, None);
        let properties = server_properties(&layout, PORTS);
        for line in properties.lines().filter(|l| l.contains("listeners=") || l.contains("voters=")) {
            assert!(line.contains("127.0.0.1"), "{line}");
        }
        assert!(properties.contains("auto.create.topics.enable=false"));
        assert!(properties.contains("\noffsets.retention.minutes=129600\n"), "a group may be away for long");
    }

    #[test]
    fn everything_is_permitted_without_a_rule() {
        let layout = Layout::new(std::path::Path::new("/x"), None, None);
        let properties = server_properties(&layout, PORTS);
        for line in ["allow.everyone.if.no.acl.found=true", "metadata.authorizer.StandardAuthorizer"] {
            assert!(properties.contains(line), "{properties}");
        }
        assert!(!properties.contains("super.users"), "a rule would not hold for a super user");
    }

    #[test]
    fn listener_for_proxy_advertises_the_proxy() {
        let layout = Layout::new(std::path::Path::new("/x"), None, None);
        let properties = server_properties(&layout, PORTS);
        let line = |name: &str| properties.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        assert!(line("listeners=").contains("WIRE://127.0.0.1:8124,"), "{properties}");
        assert_eq!(
            line("advertised.listeners="),
            "advertised.listeners=PLAINTEXT://127.0.0.1:8120,WIRE://127.0.0.1:8112"
        );
        assert!(line("listener.security.protocol.map=").contains("WIRE:PLAINTEXT"), "{properties}");
    }
}

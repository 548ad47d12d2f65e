//! Describes our services as parts: the environment of each, and what it needs before it starts.
//!
//! All services get the same environment except for their own addresses, DSN and secrets. The chassis ignores variables of other
//! parts, and one list is easier to compare with the compose file than nine. A secret goes only to the services that read it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use contracts::parts::{Part, Ports, sentry_project_id};

use crate::infra::InfraPorts;
use crate::part::{Kind, PartSpec, Probe, base_environment, fingerprint};
use crate::receiver::Receiver;
use crate::releases::{Canary, Deployments, deployments_file, further_names, shelf};
use crate::secrets::{self, Secrets};
use crate::{Layout, RuntimeError, dotenv};

/// Prefixes of the variables that make the recorder send copies to a real Sentry.
const FORWARDING: [&str; 2] = ["PITBOSS_FORWARD_DSN_", "PITBOSS__FORWARD__"];
/// Variable by which the recorder gets the address of the second witness. Only `up --spotlight` sets it.
const SECOND_WITNESS: &str = "PITBOSS__RECORDER__SECOND_WITNESS";
/// Time from SIGTERM to SIGKILL. It is longer than a service's drain and exit together, so that its own deadlines take effect first.
pub const STOP_DEADLINE_MS: u64 = 15_000;

/// Folders of the system's shared libraries on x86-64: of Debian, and of other distributions. The recorder unwinds crashes with them.
const LIBRARIES: &str = "/usr/lib/x86_64-linux-gnu:/usr/lib64";

/// Input for the environments of all services.
#[derive(Clone, Debug)]
pub struct Platform<'a> {
    /// Paths of the platform.
    pub layout: &'a Layout,
    /// The ports.
    pub ports: Ports,
    /// The secrets.
    pub secrets: &'a Secrets,
    /// What [`release`] returned.
    pub release: &'a str,
    /// Variables that the user set, reduced to those for services. They never override an address or a secret.
    pub user_variables: &'a BTreeMap<String, String>,
    /// What receives the telemetry of the services.
    pub receiver: Receiver,
    /// Spotlight runs, and the recorder copies envelopes to it.
    pub spotlight: bool,
}

/// Variable by which the user names the release of the services.
const RELEASE_VARIABLE: &str = "SENTRY_RELEASE";

/// Release that the services report: the one that the user named, otherwise that of this checkout.
///
/// That is `pitboss@<version>+<time of the commit>.<commit>`, or only the version outside of a repository.
///
/// Sentry orders the builds of a version as text. A hash alone has no order: whether an event of the next release opened an issue
/// again would be chance. The time is in UTC and has always the same length. Its `T` keeps it from being taken for a card number,
/// which would be removed from telemetry.
#[must_use]
pub fn release(layout: &Layout, version: &str, user_variables: &BTreeMap<String, String>) -> String {
    if let Some(named) = named_release(user_variables) {
        return named;
    }
    let git = git(layout.root())
        .args(["log", "-1", "--no-show-signature", "--format=%cd.%h", "--date=format-local:%Y%m%dT%H%M%S"])
        .env("TZ", "UTC")
        .output();
    let build =
        git.ok().filter(|o| o.status.success()).map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    match build.filter(|build| !build.is_empty()) {
        Some(build) => format!("pitboss@{version}+{build}"),
        None => format!("pitboss@{version}"),
    }
}

/// Release that the user named in the environment or in `.env`, whatever the programs are.
#[must_use]
pub fn named_release(user_variables: &BTreeMap<String, String>) -> Option<String> {
    let named = user_variables.get(RELEASE_VARIABLE).map(|named| named.trim());
    named.filter(|named| !named.is_empty()).map(str::to_owned)
}

/// Git for the repository of a folder. Variables that a hook of git sets for its programs would name another repository.
fn git(folder: &Path) -> Command {
    let mut git = Command::new("git");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        git.env_remove(variable);
    }
    git.current_dir(folder);
    git
}

/// Describes one service.
pub fn prepare(part: Part, platform: &Platform<'_>) -> Result<PartSpec, RuntimeError> {
    let Platform { layout, ports, .. } = platform;
    let program = layout.programs().join(part.as_str());
    if !program.is_file() {
        return Err(RuntimeError::Missing {
            what: format!("{} has not been built", program.display()),
            advice: "run ./pitboss up, or cargo build --workspace --bins".to_owned(),
        });
    }
    let data = layout.data(part.as_str());
    crate::layout::private_folder(&data)?;
    let ops_port = ports.ops(part).unwrap_or_default();
    Ok(PartSpec {
        name: part.as_str().to_owned(),
        kind: Kind::Service,
        fingerprint: fingerprint(&program),
        program,
        args: Vec::new(),
        env: environment(part, platform),
        cwd: data,
        needs: needs(part).iter().map(|p| p.as_str().to_owned()).collect(),
        ports: listens_on(part, *ports, ops_port),
        address: format!("http://127.0.0.1:{}", ports.http(part)),
        version: platform.release.trim_start_matches("pitboss@").to_owned(),
        ready: Probe::Http { address: format!("127.0.0.1:{ops_port}"), path: "/readyz".to_owned() },
        stop_deadline_ms: STOP_DEADLINE_MS,
    })
}

/// Describes all instances of a service with what was deployed of it: the first one, and those beside it while there is a canary.
///
/// # Errors
/// When a program is missing.
pub fn prepare_all(
    part: Part,
    platform: &Platform<'_>,
    deployments: &Deployments,
) -> Result<Vec<PartSpec>, RuntimeError> {
    let deployment = deployments.of(part);
    let program = |release: &str| {
        shelf::program(platform.layout, release, part).map_err(|missing| {
            let file = deployments_file(platform.layout);
            RuntimeError::Refused(format!(
                "{missing}\n  or delete {} to run the platform's own releases",
                file.display()
            ))
        })
    };
    let mut first = prepare(part, platform)?;
    if let Some(release) = deployment.current() {
        run_release(&mut first, release, program(release)?);
    }
    let mut all = vec![first.clone()];
    if let Some(Canary { release, instances }) = &deployment.canary {
        for (slot, name) in (0..instances.saturating_sub(1)).zip(further_names(part)) {
            let mut beside = further(first.clone(), (part, slot), name, platform)?;
            if slot == 0 {
                run_release(&mut beside, release, program(release)?);
            }
            all.push(beside);
        }
    }
    Ok(all)
}

/// Lets a part run the program of a release, and report under its name.
fn run_release(spec: &mut PartSpec, release: &str, program: PathBuf) {
    spec.fingerprint = fingerprint(&program);
    spec.program = program;
    spec.version = release.trim_start_matches("pitboss@").to_owned();
    spec.env.insert(RELEASE_VARIABLE.to_owned(), release.to_owned());
}

/// Makes a further instance of the first one: with its own name, ports and folder.
fn further(
    mut spec: PartSpec,
    (part, slot): (Part, u16),
    name: String,
    platform: &Platform<'_>,
) -> Result<PartSpec, RuntimeError> {
    let ports = platform.ports.further(part, slot);
    let (http, ops) = ports.ok_or_else(|| RuntimeError::Plan(format!("{name} has no ports")))?;
    let data = platform.layout.data(&name);
    crate::layout::private_folder(&data)?;
    let own = [
        ("PITBOSS__HTTP__ADDRESS", format!("127.0.0.1:{http}")),
        ("PITBOSS__OPS__ADDRESS", format!("127.0.0.1:{ops}")),
        ("PITBOSS__STORAGE__DIRECTORY", data.display().to_string()),
        // The group's coordinator lists members by this name.
        ("PITBOSS__KAFKA__CLIENT_ID", name.clone()),
    ];
    spec.env.extend(own.map(|(variable, value)| (variable.to_owned(), value)));
    spec.cwd = data;
    spec.ports = vec![http, ops];
    spec.address = format!("http://127.0.0.1:{http}");
    spec.ready = Probe::Http { address: format!("127.0.0.1:{ops}"), path: "/readyz".to_owned() };
    spec.name = name;
    Ok(spec)
}

fn listens_on(part: Part, ports: Ports, ops_port: u16) -> Vec<u16> {
    let mut all = vec![ports.http(part), ops_port];
    match part {
        Part::Recorder => all.push(ports.recorder_query()),
        Part::Partners => all.extend([ports.smtp(), ports.card()]),
        Part::Wire => all.push(ports.wire()),
        _ => {}
    }
    all
}

/// The recorder starts before everything that reports to it, so that it misses nothing of a start.
fn needs(part: Part) -> &'static [Part] {
    match part {
        Part::Recorder => &[],
        Part::Partners => &[Part::Recorder],
        Part::Lagwatch | Part::Wire => &[Part::Recorder, Part::Kafka],
        Part::Gateway => &[Part::Recorder, Part::Kafka, Part::Mongo, Part::Redis],
        Part::User => &[Part::Recorder, Part::Kafka, Part::Wire, Part::Mongo, Part::Redis],
        _ => &[Part::Recorder, Part::Kafka, Part::Mongo],
    }
}

/// Complete environment of one service. A test compares the compose file with it.
#[must_use]
pub fn environment(part: Part, platform: &Platform<'_>) -> BTreeMap<String, String> {
    let Platform { layout, ports, secrets, release, user_variables, receiver, spotlight } = platform;
    let infra = InfraPorts::from(*ports);
    let local = |port: u16| format!("127.0.0.1:{port}");
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    // The recorder gets no DSN, because each of its reports would cause another one.
    let project = sentry_project_id(part).filter(|_| part != Part::Recorder);
    let dsn = project
        .zip(receiver.port(*ports))
        .map_or_else(String::new, |(id, port)| secrets.dsn(part.as_str(), id, port));
    // Faults between client and broker act on `user` alone, so it reaches the broker through the proxy.
    let bootstrap = if part == Part::User { infra.wire_bootstrap() } else { infra.kafka_bootstrap() };
    let fixed = [
        ("PITBOSS__HTTP__ADDRESS", local(ports.http(part))),
        ("PITBOSS__OPS__ADDRESS", local(ports.ops(part).unwrap_or_default())),
        ("PITBOSS__KAFKA__BOOTSTRAP_SERVERS", bootstrap),
        ("PITBOSS__MONGO__URI", infra.mongo_uri()),
        ("PITBOSS__REDIS__URL", infra.redis_url()),
        ("PITBOSS__SECURITY__PUBLIC_KEYS", secrets.public_keys()),
        ("PITBOSS__PEERS__GATEWAY", url(ports.http(Part::Gateway))),
        ("PITBOSS__PEERS__USER", url(ports.http(Part::User))),
        ("PITBOSS__PEERS__GAME", url(ports.http(Part::Game))),
        ("PITBOSS__PEERS__PAYMENT", url(ports.http(Part::Payment))),
        ("PITBOSS__PEERS__ANALYTICS", url(ports.http(Part::Analytics))),
        ("PITBOSS__PEERS__NOTIFICATION", url(ports.http(Part::Notification))),
        ("PITBOSS__PEERS__PARTNERS", url(ports.card())),
        ("PITBOSS__PEERS__SMTP", local(ports.smtp())),
        ("PITBOSS__PEERS__RECORDER", url(ports.recorder_query())),
        ("PITBOSS__QUERY__ADDRESS", local(ports.recorder_query())),
        ("PITBOSS__RECORDER__PROJECTS_FILE", Secrets::projects_file(layout).display().to_string()),
        ("PITBOSS__RECORDER__DATA_DIR", layout.data(Part::Recorder.as_str()).display().to_string()),
        ("PITBOSS__RECORDER__MODULE_FOLDERS", format!("{}:{LIBRARIES}", layout.programs().display())),
        ("PITBOSS__SMTP__ADDRESS", local(ports.smtp())),
        ("PITBOSS__CARD__ADDRESS", local(ports.card())),
        ("PITBOSS__WIRE__ADDRESS", local(ports.wire())),
        ("PITBOSS__WIRE__UPSTREAM", infra.wire_upstream()),
        ("PITBOSS__STORAGE__DIRECTORY", layout.data(part.as_str()).display().to_string()),
        ("PITBOSS__FAULTS__FILE", layout.faults_file().display().to_string()),
        // Every arena of glibc's allocator keeps its own spare memory. Two are enough for two cores.
        ("MALLOC_ARENA_MAX", "2".to_owned()),
        ("SENTRY_DSN", dsn),
    ];
    // Defaults: the user may set another rate or level.
    let defaults = [
        // Reached at 127.0.0.1 only.
        ("PITBOSS__HTTP__HOSTS", String::new()),
        (RELEASE_VARIABLE, (*release).to_owned()),
        ("SENTRY_ENVIRONMENT", "local".to_owned()),
        ("SENTRY_TRACES_SAMPLE_RATE", "1.0".to_owned()),
        ("RUST_LOG", "info".to_owned()),
        // A panic's stack goes to Sentry. A backtrace of std would load all debug information, if the program has it: 100 MB for the
        // first panic.
        ("RUST_BACKTRACE", "0".to_owned()),
    ];
    let own = |pairs: &[(&str, String)]| {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect::<Vec<_>>()
    };
    let mut environment = base_environment();
    environment.extend(own(&defaults));
    if part == Part::Recorder {
        environment.extend(own(&[("PITBOSS__SYMBOLS__FOLDER", layout.symbols().display().to_string())]));
    }
    if part == Part::User {
        // Faults lose acknowledgements between `user` and the proxy, and this shows which records were sent again.
        environment.extend(own(&[("PITBOSS__KAFKA__PUBLISH_RETRIES_SHOWN", "true".to_owned())]));
    }
    let passed = user_variables.iter().filter(|(name, _)| is_passed_to(part, name, user_variables));
    environment.extend(passed.map(|(n, v)| (n.clone(), v.clone())));
    environment.extend(own(&fixed));
    if *spotlight && part == Part::Recorder {
        environment.extend(own(&[(SECOND_WITNESS, local(ports.spotlight()))]));
    }
    environment.extend(own(&secrets.read_by(part)));
    environment
}

/// Returns `true` for a variable that makes the recorder send copies to a real Sentry, if it has a value.
#[must_use]
pub fn is_forwarding(name: &str) -> bool {
    FORWARDING.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns `true` if a part gets a variable that the user set. DSNs of a real Sentry and proxies are for the recorder only. The
/// runtime decides the secrets.
fn is_passed_to(part: Part, name: &str, user_variables: &BTreeMap<String, String>) -> bool {
    if is_forwarding(name) {
        return part == Part::Recorder;
    }
    if dotenv::PROXIES.contains(&name) {
        return part == Part::Recorder && user_variables.keys().any(|name| is_forwarding(name));
    }
    match name {
        secrets::WEBHOOK_SECRET_OLD => part == Part::Payment,
        SECOND_WITNESS => false,
        _ => !secrets::VARIABLES.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::start_order;

    fn with_platform<T>(test: impl FnOnce(&Platform<'_>) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        layout.create().unwrap();
        std::fs::create_dir_all(layout.programs()).unwrap();
        for part in Part::SERVICES {
            std::fs::write(layout.programs().join(part.as_str()), "").unwrap();
        }
        let secrets = Secrets::load_or_create(&layout).unwrap();
        let user_variables = [
            ("SENTRY_TRACES_SAMPLE_RATE", "0.5"),
            ("PITBOSS__KAFKA__BOOTSTRAP_SERVERS", "elsewhere:1"),
            ("PITBOSS__SECURITY__JWT_SECRET", "mine"),
            ("PITBOSS__SECURITY__WEBHOOK_SECRET_OLD", "theirs"),
            ("PITBOSS_FORWARD_DSN_GAME", "https://k@o1.example/2"),
            ("https_proxy", "http://proxy:3128"),
            (SECOND_WITNESS, "elsewhere:1"),
        ];
        let user_variables = user_variables.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let ports = Ports::new(18_100).unwrap();
        test(&Platform {
            layout: &layout,
            ports,
            secrets: &secrets,
            release: "pitboss@0.1.0",
            user_variables: &user_variables,
            receiver: Receiver::Recorder,
            spotlight: false,
        })
    }

    fn all(platform: &Platform<'_>) -> Vec<PartSpec> {
        Part::SERVICES.iter().map(|part| prepare(*part, platform).unwrap()).collect()
    }

    #[test]
    fn releases_are_ordered_by_the_times_of_their_commits() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path(), None, None);
        let run = |args: &[&str]| {
            let done = git(folder.path())
                .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"])
                .args(args)
                .env("GIT_COMMITTER_DATE", "2026-11-30T01:02:03+01:00")
                // Settings of this machine may add hooks.
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
        };
        run(&["init", "--quiet"]);
        let mut variables = BTreeMap::new();
        assert_eq!(release(&layout, "1.2.3", &variables), "pitboss@1.2.3", "there is no commit");
        run(&["commit", "--quiet", "--allow-empty", "--message=first"]);
        let of_commit = release(&layout, "1.2.3", &variables);
        let hash = of_commit.strip_prefix("pitboss@1.2.3+20261130T000203.").unwrap_or_default();
        assert!(hash.len() >= 4 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{of_commit}");
        variables.insert(RELEASE_VARIABLE.to_owned(), "pitboss@2".to_owned());
        assert_eq!(release(&layout, "1.2.3", &variables), "pitboss@2");
    }

    #[test]
    fn canary_runs_beside_the_release_before() {
        with_platform(|s| {
            let build = |release: &str| {
                let kept = shelf::Kept {
                    release: release.to_owned(),
                    service: "analytics".to_owned(),
                    source: shelf::Source::Checkout,
                    kept_at_s: 1,
                };
                let program = s.layout.programs().join("analytics");
                shelf::put(s.layout, kept, Part::Analytics, &program).unwrap();
            };
            let mut deployments = Deployments::default();
            let all = |deployments: &Deployments| prepare_all(Part::Analytics, s, deployments).unwrap();
            assert_eq!(all(&deployments), [prepare(Part::Analytics, s).unwrap()], "nothing was deployed");

            build("pitboss@0.2.0");
            assert!(deployments.deploy_canary(Part::Analytics, "pitboss@0.2.0", 3, s.release).unwrap());
            let specs = all(&deployments);
            let shown: Vec<(&str, &str)> =
                specs.iter().map(|spec| (spec.name.as_str(), spec.version.as_str())).collect();
            assert_eq!(
                shown,
                [("analytics", "0.1.0"), ("analytics-canary", "0.2.0"), ("analytics-2", "0.1.0")]
            );
            let canary = &specs[1];
            assert_eq!(canary.env[RELEASE_VARIABLE], "pitboss@0.2.0");
            assert_eq!(canary.env["PITBOSS__KAFKA__CLIENT_ID"], "analytics-canary");
            assert_eq!(canary.env["SENTRY_DSN"], specs[0].env["SENTRY_DSN"], "the same project");
            assert!(canary.program.starts_with(s.layout.releases()), "{}", canary.program.display());
            assert_eq!(specs[2].program, specs[0].program);
            let ports: std::collections::BTreeSet<u16> =
                specs.iter().flat_map(|spec| spec.ports.clone()).collect();
            assert_eq!(ports.len(), 6, "{ports:?}");

            deployments.promote(Part::Analytics).unwrap();
            let promoted = all(&deployments);
            assert_eq!((promoted.len(), promoted[0].version.as_str()), (1, "0.2.0"));
            assert_eq!(promoted[0].ports, specs[0].ports, "others find it where it was");
            std::fs::remove_dir_all(s.layout.releases()).unwrap();
            let missing = prepare_all(Part::Analytics, s, &deployments).unwrap_err().to_string();
            assert!(missing.contains("there is no release pitboss@0.2.0"), "{missing}");
        });
    }

    #[test]
    fn parts_have_different_ports() {
        let mut all: Vec<u16> = with_platform(|s| all(s).into_iter().flat_map(|p| p.ports).collect());
        let ports = InfraPorts::from(Ports::new(18_100).unwrap());
        all.extend([ports.kafka, ports.kafka_controller, ports.kafka_wire, ports.mongo, ports.redis]);
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!((all.len(), count), (29, 29));
    }

    #[test]
    fn user_cannot_override_addresses() {
        let environment = with_platform(|s| environment(Part::Game, s));
        assert_eq!(environment["PITBOSS__KAFKA__BOOTSTRAP_SERVERS"], "127.0.0.1:18120");
        assert_eq!(environment["SENTRY_TRACES_SAMPLE_RATE"], "0.5");
        assert!(environment["SENTRY_DSN"].ends_with("@127.0.0.1:18101/3"));
        assert_eq!(environment["PITBOSS__OPS__ADDRESS"], "127.0.0.1:18133");
        assert!(!environment.keys().any(|name| name.to_ascii_lowercase().contains("proxy")));
    }

    #[test]
    fn recorder_copies_to_spotlight_only_if_it_runs() {
        with_platform(|s| {
            let address = |part, spotlight| {
                environment(part, &Platform { spotlight, ..s.clone() }).get(SECOND_WITNESS).cloned()
            };
            assert_eq!(address(Part::Recorder, true).as_deref(), Some("127.0.0.1:18125"));
            assert_eq!(address(Part::Recorder, false), None, "whatever the user sets");
            assert_eq!(address(Part::Game, true), None);
        });
    }

    #[test]
    fn telemetry_goes_to_the_chosen_receiver() {
        with_platform(|s| {
            let dsn =
                |part, receiver| environment(part, &Platform { receiver, ..s.clone() })["SENTRY_DSN"].clone();
            let elsewhere = "4711".parse().unwrap();
            assert!(dsn(Part::Game, elsewhere).ends_with("@127.0.0.1:4711/3"));
            for receiver in [Receiver::Recorder, Receiver::Nobody, elsewhere] {
                assert_eq!(dsn(Part::Recorder, receiver), "", "the recorder reports nothing");
            }
            assert_eq!(dsn(Part::Game, Receiver::Nobody), "");
        });
    }

    #[test]
    fn only_user_reaches_broker_through_proxy() {
        with_platform(|s| {
            for part in Part::SERVICES {
                let port = if *part == Part::User { 18_112 } else { 18_120 };
                let wanted = format!("127.0.0.1:{port}");
                let environment = environment(*part, s);
                assert_eq!(environment["PITBOSS__KAFKA__BOOTSTRAP_SERVERS"], wanted, "{part}");
                let shows_retries = environment.contains_key("PITBOSS__KAFKA__PUBLISH_RETRIES_SHOWN");
                assert_eq!(shows_retries, *part == Part::User, "{part}");
            }
            assert_eq!(environment(Part::Wire, s)["PITBOSS__WIRE__UPSTREAM"], "127.0.0.1:18124");
            assert!(needs(Part::User).contains(&Part::Wire), "user publishes until the end of its shutdown");
        });
    }

    #[test]
    fn secrets_and_proxies_reach_only_their_readers() {
        let secret = |name: &&str| secrets::VARIABLES.contains(name);
        with_platform(|s| {
            for part in Part::SERVICES {
                let env = environment(*part, s);
                let secrets: BTreeMap<_, _> = s.secrets.read_by(*part).into_iter().collect();
                let names: Vec<&str> = env.keys().map(String::as_str).filter(secret).collect();
                assert_eq!(names, secrets.keys().copied().collect::<Vec<_>>(), "{part}");
                assert!(secrets.iter().all(|(name, value)| env[*name] == *value), "{part}");
                let recorder = *part == Part::Recorder;
                assert_eq!(env.contains_key("PITBOSS_FORWARD_DSN_GAME"), recorder, "{part}");
                assert_eq!(env.contains_key(secrets::WEBHOOK_SECRET_OLD), *part == Part::Payment, "{part}");
                assert_eq!(env.contains_key("https_proxy"), recorder, "{part}");
            }
            let without = Platform {
                user_variables: &BTreeMap::from([("https_proxy".to_owned(), "http://proxy".to_owned())]),
                ..s.clone()
            };
            let env = environment(Part::Recorder, &without);
            assert!(!env.contains_key("https_proxy"), "nothing leaves this machine, so it needs no proxy");
        });
    }

    #[test]
    fn recorder_starts_before_its_senders() {
        let mut parts = with_platform(all);
        for name in crate::infra::names() {
            parts.push(PartSpec { name, needs: Vec::new(), ..parts[0].clone() });
        }
        let order = start_order(&parts).unwrap();
        let place = |name: &str| order.iter().position(|n| n == name).unwrap();
        for part in Part::SERVICES.iter().filter(|p| **p != Part::Recorder) {
            assert!(place("recorder") < place(part.as_str()), "{part}");
        }
    }
}

//! `up --spotlight` on a machine without node, with a package that nobody has reviewed, and with one that is started.

use contracts::versions::versions;
use runtime::pids;

use crate::fake_host::FakeHost;

const UP: [&str; 5] = ["up", "--spotlight", "--only", "redis", "--no-build"];

/// An npm that records its arguments and delivers the files of `PACKAGE`.
const NPM: &str = "case $1 in --version) echo 10.8.2; exit ;; esac
    echo \"$*\" > WORDS
    package=node_modules/@spotlightjs/spotlight/dist
    mkdir -p $package/ui/assets
    put() { read -r line; printf '%s\\n' \"$line\" > $package/$1; }
    PACKAGE";
/// The texts in which the package's own telemetry is switched off.
const REVIEWED: &str = "put sentry-config.js <<'X'
enabled: Boolean(\"production\") && true,
X
put ui/assets/instrumentation.js <<'X'
wy={enabled:!0,environment:
X
put ui/index.html <<'X'
connect-src 'self' http://localhost:* ws://localhost:* https://*.sentry.io;
X";
/// The same with another setting of the server's SDK.
const OTHER: &str = "put sentry-config.js <<'X'
enabled: true,
X
put ui/assets/instrumentation.js <<'X'
wy={enabled:!0,environment:
X
put ui/index.html <<'X'
connect-src 'self' http://localhost:* ws://localhost:* https://*.sentry.io;
X";

/// A host on which everything but node and npm is there.
fn host() -> FakeHost {
    let host = FakeHost::new();
    host.install("redis-server", "echo 'Redis server v=7.0.15 sha=00000000:0'");
    host.install_real("mkdir");
    host
}

fn install_npm(host: &FakeHost, package: &str) {
    let words = host.stage.folder.path().join("npm words").display().to_string();
    host.install("npm", &NPM.replace("WORDS", &format!("'{words}'")).replace("PACKAGE", package));
}

fn words(host: &FakeHost, program: &str) -> String {
    let file = host.stage.folder.path().join(format!("{program} words"));
    std::fs::read_to_string(file).unwrap_or_default()
}

#[test]
fn missing_or_old_node_stops_up_with_advice() {
    let host = host();
    let text = host.run(&UP, 69);
    assert!(text.contains("node is missing") && text.contains("npm is missing"), "{text}");
    assert!(text.contains("leave out --spotlight"), "{text}");
    host.install("node", "echo v18.20.4");
    install_npm(&host, REVIEWED);
    let text = host.run(&UP, 69);
    assert!(text.contains("node is 18.20.4") && text.contains("needs 20.6 or newer"), "{text}");
    assert_eq!(words(&host, "npm"), "", "nothing was fetched");
    assert_eq!(pids::recorded(&host.stage.layout), []);
}

#[test]
fn package_that_cannot_be_silenced_is_refused() {
    let host = host();
    host.install("node", "echo v20.20.2");
    install_npm(&host, OTHER);
    let text = host.run(&UP, 69);
    assert!(text.contains("sentry-config.js does not look as expected"), "{text}");
    assert!(text.contains("own telemetry cannot be switched off"), "{text}");
    let words = words(&host, "npm");
    for word in ["ci", "--ignore-scripts"] {
        assert!(words.split_whitespace().any(|known| known == word), "{word}: {words}");
    }
    let home = format!("spotlight-{}", versions().spotlight.version);
    assert!(!host.stage.layout.tools().join(home).exists(), "the folder got its final name");
    assert_eq!(pids::recorded(&host.stage.layout), [], "nothing was started");
}

#[test]
fn fetched_package_is_silenced_and_started_on_the_loopback() {
    let host = FakeHost::new();
    host.install_real("redis-server");
    host.install_real("mkdir");
    let started = host.stage.folder.path().join("node words");
    let node = format!(
        "case $1 in --version) echo v20.20.2 ;; *) echo \"$*\" > '{}'; echo no port >&2; exit 1 ;; esac",
        started.display()
    );
    host.install("node", &node);
    install_npm(&host, REVIEWED);
    let text = host.run(&UP, 1);
    assert!(text.contains("spotlight died at start (exit code 1)") && text.contains("| no port"), "{text}");
    let words = words(&host, "node");
    assert!(words.contains("--require") && words.contains("spotlight-loopback.cjs"), "{words}");
    assert!(words.contains("dist/run.js server --port "), "{words}");
    let home = host.stage.layout.tools().join(format!("spotlight-{}", versions().spotlight.version));
    let settings = home.join("node_modules/@spotlightjs/spotlight/dist/sentry-config.js");
    let settings = std::fs::read_to_string(settings).unwrap_or_default();
    assert_eq!(settings, "enabled: false,\n");
    // It is not fetched again.
    host.install("npm", "exit 9");
    let text = host.run(&UP, 1);
    assert!(text.contains("spotlight died at start"), "{text}");
    assert_eq!(pids::recorded(&host.stage.layout), [], "nothing is left");
}

//! Jars from Maven are used only if they are the reviewed ones.

use runtime::infra;

use crate::fake_host::FakeHost;

/// A Maven that records its arguments and delivers an unlisted jar.
const MAVEN: &str = "case $1 in --version) echo 'Apache Maven 3.8.7'; exit ;; esac
    echo \"$*\" > WORDS
    for word in \"$@\"; do case $word in -DoutputDirectory=*) folder=${word#*=} ;; esac; done
    mkdir -p \"$folder\"
    echo another > \"$folder/another.jar\"";

#[test]
fn unlisted_jar_from_maven_is_refused() {
    let host = FakeHost::new();
    let jars = infra::kafka::jars(&host.stage.layout);
    std::fs::remove_dir(&jars).unwrap();
    let words = host.stage.folder.path().join("words");
    host.install("redis-server", "echo 'Redis server v=7.0.15 sha=00000000:0'");
    host.install_real("mkdir");
    host.install("mvn", &MAVEN.replace("WORDS", &words.display().to_string()));
    let text = host.run(&["up", "--only", "redis", "--no-build"], 69);
    assert!(text.contains("another.jar is not in the list of jars"), "{text}");
    assert!(!jars.exists(), "the folder got its final name");
    let words = std::fs::read_to_string(words).unwrap();
    assert!(
        words.split_whitespace().any(|word| word == "-C"),
        "a wrong checksum would only be a warning: {words}"
    );
}

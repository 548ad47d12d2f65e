//! Jars from Maven are used only if they are the reviewed ones.

use runtime::infra;

use crate::machine::Machine;

/// A Maven that records its arguments and delivers an unlisted jar.
const MAVEN: &str = "case $1 in --version) echo 'Apache Maven 3.8.7'; exit ;; esac
    echo \"$*\" > WORDS
    for word in \"$@\"; do case $word in -DoutputDirectory=*) folder=${word#*=} ;; esac; done
    mkdir -p \"$folder\"
    echo another > \"$folder/another.jar\"";

#[test]
fn a_jar_that_was_not_reviewed_is_not_taken_from_maven() {
    let machine = Machine::new();
    let jars = infra::kafka::jars(&machine.stage.layout);
    std::fs::remove_dir(&jars).unwrap();
    let words = machine.stage.folder.path().join("words");
    machine.has("redis-server", "echo 'Redis server v=7.0.15 sha=00000000:0'");
    machine.has_ours("mkdir");
    machine.has("mvn", &MAVEN.replace("WORDS", &words.display().to_string()));
    let told = machine.says(&["up", "--only", "redis", "--no-build"], 69);
    assert!(told.contains("another.jar is not in the list of jars"), "{told}");
    assert!(!jars.exists(), "the folder has got its name");
    let words = std::fs::read_to_string(words).unwrap();
    assert!(words.split_whitespace().any(|word| word == "-C"), "checksums are only warned about: {words}");
}

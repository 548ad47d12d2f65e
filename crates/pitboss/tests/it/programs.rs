//! Choice of our programs: those that cargo built last, or those in a given folder.

use contracts::parts::Part;

use crate::fake_host::FakeHost;
use crate::stage::expect_exit;

#[test]
fn programs_come_from_named_folder() {
    let host = FakeHost::new();
    for (name, version) in [
        ("redis-server", "Redis server v=7.0.15 sha=00000000:0"),
        ("cargo", "cargo 1.99.0"),
        ("cc", ""),
        ("make", ""),
        ("python3", "Python 3.11.2"),
    ] {
        host.install(name, &format!("echo '{version}'"));
    }
    let programs = host.stage.folder.path().join("built elsewhere");
    std::fs::create_dir(&programs).unwrap();
    for part in Part::SERVICES {
        std::fs::write(programs.join(part.as_str()), "").unwrap();
    }
    // All but the command line itself, which the tests need as well. Its absence is reported before anything is started.
    let output = host.command(&["test", "--no-build"]).env("PITBOSS_BIN", &programs).output().unwrap();
    let missing = programs.join("pitboss").display().to_string();
    let text = expect_exit(&output, 1);
    assert!(text.contains(&format!("cannot keep {missing}: run again without --no-build")), "{text}");
}

//! Choice of our programs: those that cargo built last, or those in a given folder.

use contracts::parts::Part;

use crate::machine::Machine;
use crate::stage::said;

#[test]
fn programs_are_taken_from_the_folder_that_is_named() {
    let machine = Machine::new();
    for (name, says) in [
        ("redis-server", "Redis server v=7.0.15 sha=00000000:0"),
        ("cargo", "cargo 1.99.0"),
        ("cc", ""),
        ("make", ""),
        ("python3", "Python 3.11.2"),
    ] {
        machine.has(name, &format!("echo '{says}'"));
    }
    let programs = machine.stage.folder.path().join("built elsewhere");
    std::fs::create_dir(&programs).unwrap();
    for part in Part::SERVICES {
        std::fs::write(programs.join(part.as_str()), "").unwrap();
    }
    // All but the command line itself, which the tests need as well. Its absence is reported before anything is started.
    let output = machine.command(&["test", "--no-build"]).env("PITBOSS_BIN", &programs).output().unwrap();
    let missing = programs.join("pitboss").display().to_string();
    let told = said(&output);
    assert!(told.contains(&format!("cannot keep {missing}: run again without --no-build")), "{told}");
    assert_eq!(output.status.code(), Some(1), "{told}");
}

//! `pitboss release` without a platform: the programs on the shelf.

use serde_json::Value;

use crate::stage::Stage;

const RELEASE: &str = "pitboss@0.2.0+1";

#[test]
fn program_is_kept_once_under_its_release() {
    let stage = Stage::empty();
    let build = |program: &str, code| {
        let args = ["release", "build", "analytics", "--version", "0.2.0+1", "--program", program];
        stage.run(&args, code)
    };
    let text = build("/bin/true", 0);
    assert!(text.contains(&format!("./pitboss release deploy analytics --release {RELEASE}")), "{text}");
    assert!(build("/bin/true", 0).contains("was there already"));
    let other = build("/bin/sh", 1);
    assert!(other.contains("exists already as another program"), "{other}");
    assert!(build("/nowhere", 1).contains("cannot read /nowhere"));
    let kept = stage.layout.releases().join(RELEASE).join("analytics");
    assert_eq!(std::fs::read(kept).unwrap(), std::fs::read("/bin/true").unwrap());

    let listed: Value = serde_json::from_str(&stage.run(&["release", "list", "--json"], 0)).unwrap();
    let releases = listed["releases"].as_array().unwrap();
    assert_eq!(releases.len(), 1, "{listed}");
    assert_eq!((&releases[0]["kept"]["release"], &releases[0]["runs"]), (&RELEASE.into(), &Value::Null));
    assert_eq!(releases[0]["kept"]["source"], "file", "{listed}");
}

#[test]
fn wrong_services_and_names_are_refused() {
    let stage = Stage::empty();
    let text = stage.run(&["release", "promote", "recorder"], 2);
    assert!(text.contains("user, game, payment, analytics, notification"), "{text}");
    let args = ["release", "build", "game", "--version", "../x@1", "--program", "/bin/true"];
    assert!(stage.run(&args, 1).contains("cannot be the name of a release"));
    let args = ["release", "build", "game", "--version", "0.2.0+1", "--regression"];
    assert!(stage.run(&args, 1).contains("only analytics has a regression"));
    assert!(!stage.layout.releases().exists(), "nothing was kept");
}

//! `fault` and `verify`: their arguments, their JSON and their exit codes, without services.

use serde_json::{Value, json};

use crate::fake_host::PLATFORM_PORTS;
use crate::stage::Stage;

fn json_of(stage: &Stage, args: &[&str]) -> Value {
    let text = stage.run(&[args, &["--json"]].concat(), 0);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn armed_fault_is_in_status_until_disarmed() {
    let stage = Stage::with_supervisor().await;
    let on = ["fault", "on", "consumer.slow", "--param", "delay_ms=200", "--share", "5", "--for", "600"];
    let shown = json_of(&stage, &on);
    let armed = &shown["armed"][0];
    assert_eq!((&armed["id"], &armed["scope"]), (&json!("consumer.slow"), &json!("share 5 %")));
    assert_eq!(armed["values"], json!({ "delay_ms": 200 }));
    assert!(armed["expires_at_ms"].as_i64().unwrap() > faults::now_ms());

    stage.run(&["fault", "on", "user.unauthorized", "--player", "p-1"], 0);
    let status = json_of(&stage, &["fault", "status"]);
    assert_eq!(status["armed"].as_array().map(Vec::len), Some(2));
    assert_eq!(json_of(&stage, &["fault", "off", "consumer.slow"]), json!({ "disarmed": ["consumer.slow"] }));
    assert!(stage.run(&["fault", "off", "consumer.slow"], 1).contains("was not armed"));
    let off = json_of(&stage, &["fault", "off", "--all"]);
    assert_eq!(off, json!({ "disarmed": ["user.unauthorized"] }));
    assert!(stage.run(&["fault", "status"], 0).contains("no fault is armed"));
}

#[tokio::test]
async fn invalid_flag_is_shown_until_all_are_disarmed() {
    let stage = Stage::with_supervisor().await;
    let file = stage.layout.faults_file();
    std::fs::write(file, r#"{"flags": {"game.new": {"state": "ON"}}}"#).unwrap();
    stage.run(&["fault", "on", "consumer.slow"], 0);
    for command in ["status", "list"] {
        let shown = json_of(&stage, &["fault", command]);
        assert_eq!(shown["invalid"][0]["name"], "game.new", "{shown}");
        assert!(stage.run(&["fault", command], 0).contains("invalid, so it is off: flag `game.new`: "));
    }
    assert_eq!(json_of(&stage, &["fault", "off", "--all"]), json!({ "disarmed": ["consumer.slow"] }));
    assert_eq!(json_of(&stage, &["fault", "status"]), json!({ "armed": [] }));
}

#[tokio::test]
async fn services_read_what_the_command_wrote() {
    let stage = Stage::with_supervisor().await;
    stage.run(&["fault", "on", "game.cpu-spike"], 0);
    let state = faults::State::read(&stage.layout.faults_file()).unwrap();
    let expected = faults::Values::defaults(faults::FaultId::GameCpuSpike);
    assert_eq!((state.armed.len(), &state.armed[0].values), (1, &expected));
}

#[tokio::test]
async fn invalid_fault_is_refused_and_arms_nothing() {
    let stage = Stage::with_supervisor().await;
    for (args, code, reason) in [
        (vec!["payment.random"], 2, "there is no fault"),
        (vec!["consumer.slow", "--param", "delay_ms"], 2, "NAME=VALUE"),
        (vec!["consumer.slow", "--share", "101"], 2, "101"),
        (vec!["consumer.slow", "--share", "5", "--player", "p"], 2, "cannot be used with"),
        (vec!["consumer.slow", "--param", "delay_ms=0"], 1, "must be from"),
        (vec!["consumer.slow", "--param", "delay=5"], 1, "no parameter"),
    ] {
        let text = stage.run(&[&["fault", "on"], args.as_slice()].concat(), code);
        assert!(text.contains(reason), "{text}");
    }
    assert_eq!(json_of(&stage, &["fault", "status"]), json!({ "armed": [] }));
}

#[test]
fn list_needs_no_platform() {
    let stage = Stage::empty();
    let list = json_of(&stage, &["fault", "list"]);
    let faults = list["faults"].as_array().unwrap();
    assert_eq!(faults.len(), faults::FaultId::ALL.len());
    for field in ["breaks", "params", "default_scope", "safety", "evidence", "money", "runbook"] {
        assert!(!faults[0][field].is_null(), "{field}");
    }
    assert!(stage.run(&["fault", "list"], 0).contains("payment.random-failure"));
}

#[test]
fn commands_need_a_running_platform() {
    let stage = Stage::empty();
    // Another platform may run on this machine at the default ports.
    let base = runtime::ports::free_row(PLATFORM_PORTS).unwrap().to_string();
    for args in [["fault", "on", "consumer.slow"].as_slice(), &["verify", "consumer.slow"]] {
        assert!(stage.run(&[&["--port-base", &base], args].concat(), 69).contains("./pitboss up"));
    }
    assert!(stage.run(&["verify", "consumer.fast"], 2).contains("there is no fault"));
}

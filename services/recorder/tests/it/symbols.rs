//! Stacks get file and line from the tables that `recorder symbols` made of the programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use chassis::config::{Loaded, Sources};
use recorder::config::Config;
use serde_json::{Value, json};

use crate::support::{Recorder, settings};

/// A program with line tables. `payment.rs.txt` beside it is its source, and says how it was compiled.
const PROGRAM: &[u8] = include_bytes!("../data/payment.elf");
const BUILD_ID: &str = "f8d55841c086b6581f9c4571760573470ba6bd79";

/// Runs `recorder symbols` for one program, which was compiled in `/checkout`.
fn make_tables(tables: &Path, copies: &Path, program: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recorder"));
    command.arg("symbols").args([tables, copies, Path::new("/checkout"), program]);
    command.output().expect("the recorder's program")
}

fn write_program(folder: &Path) -> PathBuf {
    let program = folder.join("payment");
    std::fs::write(&program, PROGRAM).expect("written");
    program
}

/// An envelope with an error of the program, loaded at 0x10000, whose stack is `settle` → `apply` → `refuse`.
fn failed(build_id: &str) -> String {
    let event = json!({
        "event_id": "ab".repeat(16),
        "timestamp": 100.0,
        "platform": "native",
        "debug_meta": {"images": [
            {"type": "symbolic", "name": "payment", "code_id": build_id, "image_addr": "0x10000", "image_size": 12_288},
        ]},
        "exception": {"values": [{"type": "Refused", "value": "no", "stacktrace": {"frames": [
            {"function": "settle", "in_app": true, "instruction_addr": "0x113a6"},
            {"function": "payment::apply", "in_app": true, "instruction_addr": "0x11363"},
            {"function": "payment::refuse", "in_app": true, "instruction_addr": "0x11391"},
        ]}}]},
    });
    format!("{{}}\n{{\"type\":\"event\"}}\n{event}\n")
}

fn places(stack: &Value) -> Vec<String> {
    let frames = stack["frames"].as_array().expect("frames");
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    frames
        .iter()
        .map(|frame| format!("{} {}:{}", text(&frame["function"]), text(&frame["file"]), frame["line"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_have_lines_once_a_table_exists_and_the_issue_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let (tables, copies) = (folder.path().join("tables"), folder.path().join("copies"));
    let recorder = Recorder::start(&[("PITBOSS__SYMBOLS__FOLDER", &tables.display().to_string())]).await;
    recorder.store(4, failed(BUILD_ID)).await;
    let before = recorder.lines("/api/v1/events?project=payment").await.remove(0);
    assert_eq!(before["stack"]["symbolicated"], false, "{before}");
    assert_eq!(places(&before["stack"])[2], "payment::refuse ?:null");

    let made = make_tables(&tables, &copies, &write_program(folder.path()));
    assert!(made.status.success(), "{made:?}");
    assert!(copies.join("payment").is_file());
    let after = recorder.lines("/api/v1/events?project=payment").await.remove(0);
    let file = "services/payment/src/lib.rs";
    let expected = [
        format!("settle {file}:28"),
        format!("payment::apply {file}:21"),
        format!("checked {file}:7"),
        format!("payment::refuse {file}:14"),
    ];
    assert_eq!(places(&after["stack"]), expected, "{after}");
    let inlined: Vec<&Value> =
        after["stack"]["frames"].as_array().expect("frames").iter().map(|frame| &frame["inlined"]).collect();
    assert_eq!(inlined, [false, false, true, false]);
    assert_eq!((&after["stack"]["symbolicated"], &after["issue_id"]), (&json!(true), &before["issue_id"]));

    let issue = after["issue_id"].as_str().expect("an id");
    let detail: Value = recorder.get(&format!("/api/v1/issues/{issue}")).await.json().await.expect("JSON");
    assert_eq!(places(&detail["events"][0]["stack"]), expected, "{detail}");
    let page = recorder.get(&format!("/issues/{issue}")).await.text().await.expect("text");
    assert!(page.contains(&format!("{file}:21")) && page.contains(&format!("{file}:7 (inlined)")), "{page}");
    let sent = recorder.lines("/api/v1/envelopes?type=event").await.remove(0);
    let frames = &sent["items"][0]["payload"]["exception"]["values"][0]["stacktrace"]["frames"];
    assert_eq!(frames.as_array().map(Vec::len), Some(3), "what is stored stays: {frames}");
}

#[tokio::test(flavor = "multi_thread")]
async fn event_of_another_build_has_no_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let tables = folder.path().join("tables");
    assert!(
        make_tables(&tables, &folder.path().join("copies"), &write_program(folder.path())).status.success()
    );
    let recorder = Recorder::start(&[("PITBOSS__SYMBOLS__FOLDER", &tables.display().to_string())]).await;
    recorder.store(4, failed(&"0".repeat(40))).await;
    let event = recorder.lines("/api/v1/events").await.remove(0);
    assert_eq!((&event["stack"]["symbolicated"], places(&event["stack"]).len()), (&json!(false), 3));
}

/// An empty variable counts as absent. So an empty default makes it switch the tables off, as the compose file does.
#[test]
fn tables_are_off_unless_a_folder_is_named() {
    let directory = tempfile::tempdir().expect("a folder");
    let folder_of = |value: Option<&str>| {
        let mut environment: std::collections::HashMap<_, _> =
            settings(directory.path()).into_iter().collect();
        environment.extend(value.map(|value| ("PITBOSS__SYMBOLS__FOLDER".to_owned(), value.to_owned())));
        let sources = Sources { defaults: recorder::DEFAULTS.to_owned(), file: None, environment };
        let Loaded { own, .. } = chassis::config::load_from::<Config>(&sources).expect("a configuration");
        own.symbols.folder
    };
    assert_eq!(folder_of(None), PathBuf::new());
    assert_eq!(folder_of(Some("")), PathBuf::new());
    assert_eq!(folder_of(Some("/tables")), PathBuf::from("/tables"));
}

#[test]
fn command_names_what_it_cannot_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n").expect("written");
    let made = make_tables(&folder.path().join("tables"), &folder.path().join("copies"), &script);
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert_eq!(made.status.code(), Some(1), "{said}");
    assert!(said.contains("script: is no 64-bit ELF program"), "{said}");
    let usage = Command::new(env!("CARGO_BIN_EXE_recorder")).arg("symbols").output().expect("the program");
    assert_eq!(usage.status.code(), Some(64));
}

//! The program without a checkout: in a container, beside our services.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::stage::expect_exit;

#[test]
fn ready_works_without_checkout() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("pitboss");
    // Copied by another process, because a child started by a parallel test would inherit the open file and block its execution.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_pitboss")).arg(&program).status().unwrap();
    assert!(copied.success());
    let run = |args: &[&str], code| {
        let mut command = Command::new(&program);
        command.args(args).current_dir(folder.path()).env_remove("PITBOSS_ROOT");
        expect_exit(&command.output().unwrap(), code)
    };
    let text = run(&["status"], 1);
    assert!(text.contains("this folder is not in a checkout of Pitboss"), "{text}");
    for (answer, code, reason) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 0, Value::Null),
        ("HTTP/1.1 503 Unavailable\r\nconnection: close\r\n\r\nkafka: false", 1, "kafka: false".into()),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                assert!(stream.read(&mut [0; 1_024]).unwrap() > 0, "the request is empty");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let text = run(&["ready", &address], code);
        assert_eq!(text.contains("not ready (503): kafka: false"), code == 1, "{text}");
        let result: Value = serde_json::from_str(&run(&["ready", "--json", &address], code)).unwrap();
        assert_eq!((&result["ready"], &result["reason"]), (&Value::from(code == 0), &reason));
        service.join().unwrap();
    }
}

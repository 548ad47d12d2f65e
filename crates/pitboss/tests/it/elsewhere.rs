//! The program without a checkout: in a container, beside our services.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use crate::stage::said;

#[test]
fn ready_needs_no_checkout_and_says_why_a_service_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("pitboss");
    // Copied by another process, because a child started by a parallel test would inherit the open file and block its execution.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_pitboss")).arg(&program).status().unwrap();
    assert!(copied.success());
    let run = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args).current_dir(folder.path()).env_remove("PITBOSS_ROOT").output().unwrap()
    };
    let status = run(&["status"]);
    assert!(said(&status).contains("no checkout of Pitboss is here"), "{}", said(&status));
    for (answer, code, told) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 0, ""),
        (
            "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\nkafka: false",
            1,
            "not ready (503): kafka: false",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let length = stream.read(&mut [0; 1_024]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            length
        });
        let output = run(&["ready", &address]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(told), "{}", said(&output));
        assert!(service.join().unwrap() > 0, "it was not asked");
    }
}

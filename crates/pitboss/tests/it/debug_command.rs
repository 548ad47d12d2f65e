//! `debug`: its list, and its request to the gateway, which is a listener of the test.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use contracts::debug::DebugFault;
use runtime::secrets::Secrets;
use serde_json::Value;

use crate::stage::Stage;

/// Answers one request with this status and JSON body. The thread returns the request.
fn answer_once(status: u16, body: &'static str) -> (SocketAddr, JoinHandle<String>) {
    answer_each(vec![(status, body)])
}

/// Answers one request after the other, each on a connection of its own. The thread returns the last request.
fn answer_each(answers: Vec<(u16, &'static str)>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let serving = std::thread::spawn(move || {
        let mut last = String::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            last = read_request(&mut stream);
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\nretry-after: 0\r\n");
            write!(stream, "{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
                .expect("the answer is sent");
        }
        last
    });
    (address, serving)
}

/// Reads up to the end of the JSON body, which has no nested objects.
fn read_request(stream: &mut TcpStream) -> String {
    let (mut request, mut chunk) = (String::new(), [0_u8; 1_024]);
    while !request.ends_with('}') {
        let count = stream.read(&mut chunk).expect("a request");
        assert!(count > 0, "incomplete: {request}");
        request.push_str(std::str::from_utf8(&chunk[..count]).expect("text"));
    }
    request
}

#[tokio::test]
async fn list_has_every_fault() {
    let stage = Stage::with_supervisor().await;
    let text = stage.run(&["debug", "list", "--json"], 0);
    let list: Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> = list["debug_faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["fault"].as_str().unwrap())
        .collect();
    let expected: Vec<&str> = DebugFault::ALL.iter().map(|fault| fault.as_str()).collect();
    assert_eq!(names, expected);
    assert!(stage.run(&["debug", "list"], 0).contains("runtime-block"));
    assert!(stage.run(&["debug", "game", "deadlock"], 1).contains("game has these debug faults: crash, "));
    assert!(stage.run(&["debug", "game"], 1).contains("thread-error"));
}

#[tokio::test]
async fn fault_is_caused_by_the_operator() {
    let stage = Stage::with_supervisor().await;
    let secrets = Secrets::load_or_create(&stage.layout).unwrap();
    let (address, serving) =
        answer_once(500, r#"{"title":"Internal server error","trace_id":"t1","sentry_event_id":"e1"}"#);
    let gateway = format!("http://{address}");
    let args = [
        "debug",
        "payment",
        "crash",
        "--player",
        "p-7",
        "--json",
        "--gateway",
        &gateway,
        "--recorder",
        &gateway,
    ];
    let shown: Value = serde_json::from_str(&stage.run(&args, 0)).unwrap();
    assert_eq!(shown["status"], 500);
    assert_eq!((shown["trace_id"].as_str(), shown["sentry_event_id"].as_str()), (Some("t1"), Some("e1")));
    let request = serving.join().unwrap();
    assert!(request.starts_with("POST /api/v1/payment/debug/crash HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains(&format!("x-operator-token: {}\r\n", secrets.operator_token)),
        "the operator's token"
    );
    assert!(request.contains(r#""player_id":"p-7""#), "{request}");
}

#[tokio::test]
async fn platform_without_debug_endpoints_says_how_to_get_them() {
    let stage = Stage::with_supervisor().await;
    Secrets::load_or_create(&stage.layout).unwrap();
    let (address, serving) = answer_once(404, r#"{"title":"Not found","status":404}"#);
    let gateway = format!("http://{address}");
    let args = ["debug", "user", "crash", "--gateway", &gateway, "--recorder", &gateway];
    assert!(stage.run(&args, 1).contains("PITBOSS__DEBUG__ENABLED=true"));
    serving.join().unwrap();
}

#[tokio::test]
async fn slow_query_is_repeated_until_its_rows_are_written() {
    let stage = Stage::with_supervisor().await;
    Secrets::load_or_create(&stage.layout).unwrap();
    let busy = (503, r#"{"title":"Temporarily unavailable","detail":"the rows are being written"}"#);
    let done = (200, r#"{"detail":"the query took 712 ms","trace_id":"t1"}"#);
    let (address, serving) = answer_each(vec![busy, busy, done]);
    let gateway = format!("http://{address}");
    let args = ["debug", "user", "slow-query", "--gateway", &gateway, "--recorder", &gateway];
    assert!(stage.run(&args, 0).contains("the query took 712 ms"));
    assert!(serving.join().unwrap().starts_with("POST /api/v1/user/debug/slow-query HTTP/1.1\r\n"));

    let (address, serving) = answer_once(503, busy.1);
    let gateway = format!("http://{address}");
    let args = ["debug", "user", "timeout", "--gateway", &gateway, "--recorder", &gateway];
    assert!(stage.run(&args, 1).contains("the rows are being written"), "no other fault is repeated");
    serving.join().unwrap();
}

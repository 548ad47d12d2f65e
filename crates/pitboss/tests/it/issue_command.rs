//! `pitboss issue` against a recorder that answers what the test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::stage::Stage;

const ID: &str = "0123456789abcdef0123456789abcdef";

/// Answers one request after the other. Returns its URL, and what it was asked: the first line of each request, and its body.
fn recorder(answers: Vec<(u16, String)>) -> (String, JoinHandle<Vec<(String, String)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answering = std::thread::spawn(move || {
        let answer = |(status, body): (u16, String)| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let asked = read(&stream);
            let head = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
            stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).expect("a reader");
            asked
        };
        answers.into_iter().map(answer).collect()
    });
    (url, answering)
}

/// Reads a request: its first line, and its body.
fn read(stream: &TcpStream) -> (String, String) {
    let (mut head, body) = read_whole(stream);
    (head.swap_remove(0), body)
}

/// Reads a request: the lines of its head, and its body.
pub(crate) fn read_whole(stream: &TcpStream) -> (Vec<String>, String) {
    let mut reader = BufReader::new(stream);
    let mut lines: Vec<String> = Vec::new();
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).expect("a line") > 0, "the request ends in its head: {lines:?}");
        let line = line.trim().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let length = lines.iter().find_map(|line| {
        let line = line.to_ascii_lowercase();
        line.strip_prefix("content-length:")?.trim().parse().ok()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).expect("a body");
    (lines, String::from_utf8(body).expect("text"))
}

fn issue() -> Value {
    json!({
        "id": ID, "title": "ReelError: stuck", "project": "game", "status": "resolved", "substatus": null,
        "statusDetails": { "inRelease": "g@1" }, "count": 7, "first_seen": 0.0, "last_seen": 1.0,
        "releases": ["g@1"], "activity": [], "outlook": [],
    })
}

fn run(stage: &Stage, url: &str, args: &[&str], code: i32) -> String {
    let target = ["--gateway", "http://127.0.0.1:9", "--recorder", url];
    stage.run(&[args, &target].concat(), code)
}

#[test]
fn issue_is_changed_by_the_beginning_of_its_id() {
    let stage = Stage::empty();
    stage.run(&["secrets", "--env"], 0);
    let (url, answering) = recorder(vec![(200, format!("{}\n", issue())), (200, issue().to_string())]);
    let args = ["issue", "resolve", "0123", "--in-release", "g@1", "--by", "ann"];
    let text = run(&stage, &url, &args, 0);
    assert!(text.contains("resolved in g@1"), "{text}");
    let asked = answering.join().unwrap();
    assert!(asked[0].0.starts_with("GET /api/v1/issues"), "{asked:?}");
    assert!(asked[1].0.starts_with(&format!("PUT /api/v1/issues/{ID} ")), "{asked:?}");
    let body: Value = serde_json::from_str(&asked[1].1).unwrap();
    let details = json!({ "inRelease": "g@1" });
    assert_eq!(body, json!({ "status": "resolved", "statusDetails": details, "by": "ann" }));
}

#[test]
fn list_shows_the_selected_status() {
    let stage = Stage::empty();
    for (status, count) in [("resolved", 1), ("unresolved", 0), ("all", 1)] {
        let (url, answering) = recorder(vec![(200, format!("{}\n", issue()))]);
        let text =
            run(&stage, &url, &["issue", "list", "--status", status, "--project", "game", "--json"], 0);
        let listed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(listed["issues"].as_array().map(Vec::len), Some(count), "{status}: {listed}");
        assert_eq!(listed["left_out"], 0);
        let asked = answering.join().unwrap();
        assert!(asked[0].0.contains("/api/v1/issues?project=game "), "{asked:?}");
    }
}

#[test]
fn refusals_are_told_with_their_reason() {
    let stage = Stage::empty();
    stage.run(&["secrets", "--env"], 0);
    let problem = json!({ "title": "Malformed request", "detail": "the project has no release g@9" });
    for (status, body, expected) in [
        (
            400,
            problem.to_string(),
            "the recorder refused with 400 Bad Request: the project has no release g@9",
        ),
        (404, String::new(), "there is no such issue"),
        (500, "no JSON".to_owned(), "it gave no reason"),
    ] {
        let (url, answering) = recorder(vec![(status, body)]);
        let text = run(&stage, &url, &["issue", "resolve", ID, "--in-release", "g@9"], 1);
        assert!(text.contains(expected), "{text}");
        answering.join().unwrap();
    }
    let text = run(&stage, "http://127.0.0.1:9", &["issue", "show", "no-id"], 1);
    assert!(text.contains("is not the id of an issue"), "{text}");
    let text = run(&stage, "http://127.0.0.1:9", &["issue", "show", ID], 69);
    assert!(
        text.contains("does not answer at http://127.0.0.1:9") && text.contains("./pitboss up"),
        "{text}"
    );
}

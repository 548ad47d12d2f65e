//! `pitboss profile` against a service and a recorder that answer what the test says.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use runtime::secrets::Secrets;
use serde_json::{Value, json};

use crate::fake_host::PLATFORM_PORTS;
use crate::issue_command::read_whole;
use crate::stage::Stage;

/// Requests so far: the first line of each, and its body.
type Asked = Arc<Mutex<Vec<(String, String)>>>;

/// Answers every request with what `answer` says of its head.
fn serve(listener: TcpListener, answer: impl Fn(&[String]) -> (u16, String) + Send + 'static) -> Asked {
    let asked = Asked::default();
    let noted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let (head, asked_for) = read_whole(&stream);
            let (status, body) = answer(&head);
            noted.lock().expect("no panic").push((head[0].clone(), asked_for));
            let head = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
            stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).expect("a reader");
        }
    });
    asked
}

/// The ops port of game on a platform that has nothing else. It takes requests with this token. Returns the port of its gateway, and
/// the requests.
fn game(token: Option<&str>) -> (u16, Asked) {
    let base = runtime::ports::free_row(PLATFORM_PORTS).expect("free ports");
    let listener = TcpListener::bind(("127.0.0.1", base + 33)).expect("the ops port of game");
    let looks = AtomicUsize::new(0);
    let wanted = token.map(|token| format!("x-internal-token: {token}"));
    let asked = serve(listener, move |head| match head[0].as_str() {
        "POST /profile HTTP/1.1" if wanted.as_ref().is_some_and(|line| head.contains(line)) => {
            (202, json!({ "profiler_id": null }).to_string())
        }
        "POST /profile HTTP/1.1" => (401, json!({ "detail": "it requires the internal token" }).to_string()),
        // It begins after the first look, and has ended at the third
        _ if looks.fetch_add(1, Ordering::SeqCst) == 1 => (200, json!({ "profiler_id": "p1" }).to_string()),
        _ => (200, json!({ "profiler_id": null }).to_string()),
    });
    (base, asked)
}

fn recorder(chunks: u64) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let function = json!({
        "function": "game::primes::hunt_primes", "module": null,
        "self_samples": 3, "total_samples": 3, "self_share": 0.75, "total_share": 0.75,
    });
    let flame = json!({
        "samples": chunks * 4, "profiles": 0, "chunks": chunks, "unread": 0, "truncated": false, "cut_samples": 0,
        "functions": [function],
    });
    let asked = serve(listener, move |head| {
        let is_picture = head[0].starts_with("GET /flame.svg?");
        (200, if is_picture { "<svg></svg>".to_owned() } else { flame.to_string() })
    });
    (url, asked)
}

#[test]
fn profile_shows_functions_and_writes_the_flame_graph() {
    let stage = Stage::empty();
    let token = Secrets::load_or_create(&stage.layout).expect("secrets").internal_token;
    let ((base, of_game), (recorder, of_recorder)) = (game(Some(&token)), recorder(1));
    let file = stage.folder.path().join("game.svg");
    let gateway = format!("http://127.0.0.1:{base}");
    let svg = file.to_str().expect("text");
    let args = ["profile", "game", "--seconds", "1", "--svg", svg, "--json"];
    let target = ["--gateway", &gateway, "--recorder", &recorder];
    let shown: Value = serde_json::from_str(&stage.run(&[&args[..], &target].concat(), 0)).expect("JSON");
    assert_eq!((&shown["service"], &shown["profiler_id"]), (&json!("game"), &json!("p1")));
    assert_eq!(shown["functions"][0]["function"], "game::primes::hunt_primes");
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "<svg></svg>");
    let first = of_game.lock().expect("no panic")[0].clone();
    assert_eq!(first, ("POST /profile HTTP/1.1".to_owned(), json!({ "seconds": 1 }).to_string()));
    let asked = of_recorder.lock().expect("no panic")[0].0.clone();
    let wanted = "GET /api/v1/flame?project=game&profiler=p1&from=";
    assert!(asked.starts_with(wanted) && asked.contains("&to="), "{asked}");
}

#[test]
fn refusal_of_the_service_is_shown_with_its_reason() {
    let (stage, (base, _), (recorder, _)) = (Stage::empty(), game(None), recorder(1));
    let gateway = format!("http://127.0.0.1:{base}");
    let args = ["profile", "game", "--gateway", &gateway, "--recorder", &recorder];
    let text = stage.run(&args, 1);
    assert!(text.contains("game refused with 401") && text.contains("requires the internal token"), "{text}");
}

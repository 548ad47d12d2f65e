//! Mail server, tested with a real client (lettre) and with raw commands.

use std::time::Duration;

use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::world::World;

/// Longest wait of a test for an expected event.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Sends each line and returns the answers, the greeting first.
pub(crate) async fn send_lines(world: &World, lines: &[&str]) -> Vec<String> {
    let stream = TcpStream::connect(world.smtp).await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read).lines();
    let mut answers = vec![read.next_line().await.unwrap().unwrap()];
    for line in lines {
        write.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        if line.starts_with("body:") {
            continue;
        }
        loop {
            let Some(answer) = read.next_line().await.unwrap() else { return answers };
            let more = answer.as_bytes().get(3) == Some(&b'-');
            if !more {
                answers.push(answer);
                break;
            }
        }
    }
    answers
}

#[tokio::test]
async fn mail_from_real_client_survives_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let message = Message::builder()
        .from("Pitboss <no-reply@pitboss.example>".parse().unwrap())
        .to("ada@player.example".parse().unwrap())
        .message_id(Some("<bet-1/email@pitboss>".to_owned()))
        .subject("A big win")
        .body("You won.\n.\n..and a dot\n".to_owned())
        .unwrap();
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(world.smtp.ip().to_string())
        .port(world.smtp.port())
        .build();
    transport.send(message).await.unwrap();
    drop(transport);
    world.stop().await;

    let world = World::start(folder.path()).await;
    let (_, page) = world.get("/mail/v1/messages").await;
    let mail = &page["messages"][0];
    assert_eq!(mail["from"], "no-reply@pitboss.example");
    assert_eq!(mail["to"][0], "ada@player.example");
    assert_eq!(mail["message_id"], "bet-1/email@pitboss");
    assert_eq!(mail["subject"], "A big win");
    let raw = mail["raw"].as_str().unwrap();
    assert!(raw.trim_end().ends_with("You won.\r\n.\r\n..and a dot"), "{raw:?}");
    assert_eq!(world.get("/mail/v1/messages?since=1").await.1["messages"].as_array().map(Vec::len), Some(0));
    world.stop().await;
}

#[tokio::test]
async fn command_order_and_limits_are_enforced() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let long = "x".repeat(3_000);
    let answers = send_lines(
        &world,
        &[
            "DATA",
            "RCPT TO:<a@b>",
            "EHLO me",
            "MAIL FROM:a@b",
            "mail from: <a@b> SIZE=99999",
            "MAIL FROM:<a@b>",
            "MAIL FROM:<a@b>",
            "DATA",
            "RCPT TO:<>",
            "RCPT TO:<1@b>",
            "RCPT TO:<2@b>",
            "RCPT TO:<3@b>",
            "RCPT TO:<4@b>",
            &long,
            "VRFY x",
            "NOOP",
            "RSET",
            "DATA",
            "WHAT",
            "QUIT",
        ],
    )
    .await;
    let codes: Vec<&str> = answers.iter().map(|answer| answer.get(..3).unwrap()).collect();
    let expected = [
        "220", "503", "503", "250", "501", "552", "250", "503", "503", "501", "250", "250", "250", "452",
        "500", "252", "250", "250", "503", "502", "221",
    ];
    assert_eq!(codes, expected, "{answers:#?}");
    world.stop().await;
}

#[tokio::test]
async fn too_large_mail_does_not_end_session() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let body = format!("body:{}", "x".repeat(1_000));
    let mut lines = vec!["EHLO me", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"];
    lines.extend([body.as_str(); 6]);
    lines.extend([".", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA", "body: fine", ".", "QUIT"]);
    let answers = send_lines(&world, &lines).await;
    assert!(answers[5].starts_with("552"), "{answers:#?}");
    assert!(answers[9].starts_with("250 message stored"), "{answers:#?}");
    assert_eq!(world.get("/mail/v1/messages").await.1["messages"].as_array().map(Vec::len), Some(1));
    world.stop().await;
}

#[tokio::test]
async fn too_many_errors_or_clients_close_connection() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    let answers = send_lines(&world, &["WHAT IS THIS"; 40]).await;
    assert_eq!(answers.len(), 22, "greeting, 20 errors and the closing reply");
    assert!(answers.last().unwrap().starts_with("421"));
    let mut open = Vec::new();
    for _ in 0..4 {
        // The place of the closed connection is free a moment after its end.
        let client = testkit::eventually("a free place", TIMEOUT, || async {
            let mut read = BufReader::new(TcpStream::connect(world.smtp).await.unwrap()).lines();
            read.next_line().await.unwrap().unwrap().starts_with("220").then_some(read)
        });
        open.push(client.await);
    }
    let mut fifth = BufReader::new(TcpStream::connect(world.smtp).await.unwrap()).lines();
    assert!(fifth.next_line().await.unwrap().unwrap().starts_with("421"));
    drop(open);
    world.stop().await;
}

/// The text of a form that a web page sends here arrives in one piece. None of it is taken for a command.
#[tokio::test]
async fn http_request_closes_connection() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start(folder.path()).await;
    for method in ["GET", "POST", "PUT", "get"] {
        let mut stream = TcpStream::connect(world.smtp).await.unwrap();
        let mail = "HELO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n";
        let request = format!("{method} /form HTTP/1.1\r\nHost: here\r\n\r\n{mail}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        // Data that the server did not read may end the connection with an error, but the answer arrives before that.
        drop(stream.read_to_end(&mut answers).await);
        let answers = String::from_utf8(answers).unwrap();
        let lines: Vec<&str> = answers.lines().collect();
        assert!(lines.len() <= 2, "{lines:?}");
        assert!(lines.iter().skip(1).all(|line| line.starts_with("421")), "{lines:?}");
    }
    assert_eq!(world.get("/mail/v1/messages").await.1["messages"].as_array().map(Vec::len), Some(0));
    let answers = send_lines(&world, &["GET / HTTP/1.1", "NOOP"]).await;
    assert_eq!(answers.len(), 2, "greeting and closing reply: {answers:?}");
    assert!(answers[1].starts_with("421"), "{answers:?}");
    world.stop().await;
}

/// A client is disconnected after a while, whatever and however often it sends, so that others get its slot.
#[tokio::test]
async fn busy_client_is_closed_at_session_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start_with(folder.path(), |smtp| smtp.session_deadline_ms = 200).await;
    let (read, mut write) = TcpStream::connect(world.smtp).await.unwrap().into_split();
    let mut read = BufReader::new(read).lines();
    let conversation = async {
        let mut last = String::new();
        while let Ok(Some(answer)) = read.next_line().await {
            last = answer;
            // The server may have closed the connection already. It has sent its answer then.
            drop(write.write_all(b"NOOP\r\n").await);
        }
        last
    };
    let last = tokio::time::timeout(TIMEOUT, conversation).await.expect("the session does not end");
    assert_eq!(last, "421 session timed out");
    world.stop().await;
}

/// The client could stay silent for ten minutes, but its session ends before that.
#[tokio::test]
async fn silent_client_is_closed_at_session_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start_with(folder.path(), |smtp| {
        (smtp.session_deadline_ms, smtp.idle_deadline_ms) = (200, 600_000);
    })
    .await;
    let mut stream = TcpStream::connect(world.smtp).await.unwrap();
    let mut received = String::new();
    let read = stream.read_to_string(&mut received);
    tokio::time::timeout(TIMEOUT, read).await.expect("the session does not end").unwrap();
    assert_eq!(received, "220 partners.invalid mail\r\n421 session timed out\r\n");
    world.stop().await;
}

/// The e-mail is stored before the answer is sent. It counts as sent even when the client does not wait for the answer.
#[tokio::test]
async fn mail_is_stored_before_delayed_reply() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::start_with(folder.path(), |smtp| smtp.accept_delay_ms = 600_000).await;
    let mut stream = TcpStream::connect(world.smtp).await.unwrap();
    let mail = b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: late\r\n\r\nbody\r\n.\r\n";
    stream.write_all(mail).await.unwrap();
    testkit::eventually("the mail to be stored", TIMEOUT, || async {
        let (_, page) = world.get("/mail/v1/messages").await;
        (page["messages"].as_array()?.len() == 1).then_some(())
    })
    .await;
    // Its session is still in the accept delay. The shutdown does not wait for that.
    world.stop().await;
    let mut answers = String::new();
    BufReader::new(stream).read_to_string(&mut answers).await.unwrap();
    assert!(answers.contains("354 send") && answers.ends_with("421 shutting down\r\n"), "{answers}");
}

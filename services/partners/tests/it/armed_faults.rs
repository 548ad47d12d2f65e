//! Faults of the card provider and the mail server: late answers and refused connections.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use faults::{FaultId, Scope};
use testkit::faults::Flags;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::mail::send_lines;
use crate::world::World;

const DELAY_MS: i64 = 700;
/// Time in which a change of the flag file has to be in effect.
const DEADLINE: Duration = Duration::from_secs(60);
const DELAY: Duration = Duration::from_millis(700);

/// Envelope and content of one e-mail.
const MAIL: [&str; 6] = ["EHLO me", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA", "body: Subject: a win", "."];

async fn stored_mails(world: &World) -> usize {
    world.get("/mail/v1/messages").await.1["messages"].as_array().unwrap().len()
}

#[tokio::test]
async fn slow_card_provider_answers_after_delay() {
    let folder = tempfile::tempdir().unwrap();
    let flags = Flags::armed("partners", FaultId::PaymentProviderSlow, &[("delay_ms", DELAY_MS)]);
    let world = World::start_with_faults(folder.path(), flags.faults()).await;
    let started = Instant::now();
    let (status, line) = world.order("/card/v1/charges", "a:capture", 500).await;
    assert_eq!((status, line["status"].as_str()), (200, Some("captured")));
    assert!(started.elapsed() >= DELAY, "the order: {:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(world.get_as_merchant("/card/v1/charges?idempotency_key=a:capture").await, (200, line));
    assert!(started.elapsed() >= DELAY, "the look-up: {:?}", started.elapsed());
    assert_eq!(world.get("/card/v1/statement").await.1["entries"].as_array().map(Vec::len), Some(1));
    assert_eq!(world.get("/card/v1/charges?idempotency_key=a:capture").await.0, 200);
    assert_eq!(flags.applied(FaultId::PaymentProviderSlow), 2, "the books are not delayed");
    world.stop().await;
}

/// The listener is closed in the operating system, so a connection is refused and not only dropped.
#[tokio::test]
async fn provider_down_refuses_connections() {
    let folder = tempfile::tempdir().unwrap();
    let flags = Flags::armed("partners", FaultId::ConsumerSlow, &[]);
    let world = World::start_with_faults(folder.path(), flags.faults()).await;
    let (status, line) = world.order("/card/v1/charges", "a:capture", 500).await;
    assert_eq!(status, 200);

    flags.change(&[(FaultId::PaymentProviderDown, Scope::All, &[])]);
    let refused = || async {
        let error = TcpStream::connect(world.card).await.err()?;
        (error.kind() == ErrorKind::ConnectionRefused).then_some(())
    };
    testkit::eventually("the card provider to refuse connections", DEADLINE, refused).await;
    assert_eq!(flags.applied(FaultId::PaymentProviderDown), 1, "it is counted once for each closing");
    let (status, statement) = world.get("/card/v1/statement").await;
    assert_eq!(
        (status, statement["entries"].as_array().map(Vec::len)),
        (200, Some(1)),
        "books stay readable"
    );

    flags.change(&[]);
    let accepted = || async { TcpStream::connect(world.card).await.ok() };
    testkit::eventually("the card provider to accept connections", DEADLINE, accepted).await;
    assert_eq!(world.order("/card/v1/charges", "a:capture", 500).await, (200, line), "the same line again");
    world.stop().await;
}

#[tokio::test]
async fn mail_server_that_is_down_refuses_connection() {
    let folder = tempfile::tempdir().unwrap();
    let flags = Flags::armed("partners", FaultId::NotificationProviderDown, &[]);
    let world = World::start_with_faults(folder.path(), flags.faults()).await;
    let mut answers = String::new();
    TcpStream::connect(world.smtp).await.unwrap().read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers, "421 mail service is not available, try again later\r\n");
    assert_eq!(flags.applied(FaultId::NotificationProviderDown), 1);
    assert_eq!(world.order("/card/v1/charges", "a:capture", 500).await.0, 200, "the card provider works");
    world.stop().await;
}

#[tokio::test]
async fn slow_mail_server_answers_after_delay() {
    let folder = tempfile::tempdir().unwrap();
    let flags = Flags::armed("partners", FaultId::NotificationProviderSlow, &[("delay_ms", DELAY_MS)]);
    let world = World::start_with_faults(folder.path(), flags.faults()).await;
    let started = Instant::now();
    let answers = send_lines(&world, &MAIL).await;
    assert!(answers.last().unwrap().starts_with("250 message stored"), "{answers:?}");
    assert!(started.elapsed() >= DELAY, "{:?}", started.elapsed());
    assert_eq!((stored_mails(&world).await, flags.applied(FaultId::NotificationProviderSlow)), (1, 1));
    world.stop().await;
}

/// Another fault of partners is armed, so the absence is not due to an unread file.
#[tokio::test]
async fn unarmed_faults_have_no_effect() {
    let folder = tempfile::tempdir().unwrap();
    let (card, mail) = (FaultId::PaymentProviderSlow, FaultId::NotificationProviderSlow);
    let down = FaultId::NotificationProviderDown;
    let flags = Flags::armed("partners", card, &[("delay_ms", 1)]);
    let world = World::start_with_faults(folder.path(), flags.faults()).await;
    assert_eq!(world.order("/card/v1/charges", "a:capture", 500).await.0, 200);
    let answers = send_lines(&world, &MAIL).await;
    assert!(answers[0].starts_with("220"), "{answers:?}");
    assert_eq!(stored_mails(&world).await, 1);
    assert_eq!([card, mail, down].map(|id| flags.applied(id)), [1, 0, 0]);
    world.stop().await;
}

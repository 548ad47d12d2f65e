//! The two faults: an answer that is lost, and connections that stay open and answer nothing.

use std::time::Duration;

use faults::FaultId;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::broker::{Broker, METADATA, PRODUCE, answer, read_frame, request};
use crate::world::World;

/// Time after which a connection counts as silent.
const SILENCE: Duration = Duration::from_millis(300);

/// Sends one request on a new connection, and returns the answer if there is one.
async fn ask(world: &World, api_key: i16) -> Option<Vec<u8>> {
    let mut client = world.connect().await;
    client.write_all(&request(api_key, 5, b"records")).await.unwrap();
    read_frame(&mut client).await
}

async fn is_silent(client: &mut TcpStream) -> bool {
    tokio::time::timeout(SILENCE, read_frame(client)).await.is_err()
}

#[tokio::test]
async fn only_answers_to_produce_are_lost() {
    let broker = Broker::start().await;
    let world = World::start(&broker.address.to_string()).await;
    world.arm(FaultId::KafkaReplyLost, &[("count", 1)]).await;
    let mut client = world.connect().await;
    let requests =
        [request(METADATA, 1, b"topics"), request(PRODUCE, 2, b"records"), request(METADATA, 3, b"topics")];
    client.write_all(&requests.concat()).await.unwrap();
    assert_eq!(read_frame(&mut client).await, Some(answer(1, b"topics")));
    assert_eq!(read_frame(&mut client).await, None, "the connection is closed with the lost answer");
    assert!(broker.received().iter().any(|frame| frame.ends_with(b"records")), "the broker has the request");
    assert_eq!(world.applied(FaultId::KafkaReplyLost), 1);
    let kept = Some(answer(5, b"records"));
    assert_eq!(ask(&world, PRODUCE).await, kept, "one answer was to be lost");

    world.disarm().await;
    assert_eq!(ask(&world, PRODUCE).await, kept);
    world.arm(FaultId::KafkaReplyLost, &[("count", 1)]).await;
    assert_eq!(ask(&world, METADATA).await, kept, "only produce requests lose their answer");
    assert_eq!(ask(&world, PRODUCE).await, None, "the fault was armed again");
    assert_eq!(world.applied(FaultId::KafkaReplyLost), 2);
    world.stop();
    world.ended().await;
}

#[tokio::test]
async fn connections_are_silent_until_fault_ends() {
    let broker = Broker::start().await;
    let world = World::start(&broker.address.to_string()).await;
    let mut old = world.connect().await;
    old.write_all(&request(METADATA, 1, b"topics")).await.unwrap();
    assert_eq!(read_frame(&mut old).await, Some(answer(1, b"topics")));

    world.arm(FaultId::KafkaHalfOpen, &[]).await;
    assert_eq!(world.applied(FaultId::KafkaHalfOpen), 0, "nothing was held back yet");
    let mut new = world.connect().await;
    for client in [&mut old, &mut new] {
        client.write_all(&request(METADATA, 2, b"topics")).await.unwrap();
    }
    world.wait_for("both connections", || world.applied(FaultId::KafkaHalfOpen) == 2).await;
    assert!(is_silent(&mut old).await && is_silent(&mut new).await);
    assert_eq!(broker.received().len(), 1, "no request passes");

    world.disarm().await;
    assert_eq!((read_frame(&mut old).await, read_frame(&mut new).await), (None, None), "both are closed");
    assert_eq!(ask(&world, METADATA).await, Some(answer(5, b"records")));
    assert_eq!(world.applied(FaultId::KafkaHalfOpen), 2);
    world.stop();
    world.ended().await;
}

#[tokio::test]
async fn answer_is_held_and_lost_client_frees_place() {
    let broker = Broker::start().await;
    let world = World::start_with(&broker.address.to_string(), |wire| wire.connections_max = 1).await;
    broker.answer(false);
    let mut client = world.connect().await;
    client.write_all(&request(PRODUCE, 1, b"records")).await.unwrap();
    world.wait_for("the request", || broker.received().len() == 1).await;
    world.arm(FaultId::KafkaHalfOpen, &[]).await;
    broker.answer(true);
    world.wait_for("the answer", || world.applied(FaultId::KafkaHalfOpen) == 1).await;
    assert!(is_silent(&mut client).await);
    drop(client);
    // A refused client is disconnected. One that is accepted is silent.
    testkit::eventually("the free place", crate::world::TIMEOUT, || async {
        let mut next = world.connect().await;
        next.write_all(&request(METADATA, 2, b"topics")).await.ok()?;
        is_silent(&mut next).await.then_some(())
    })
    .await;
    world.stop();
    world.ended().await;
}

//! Bytes pass unchanged and in order, clients are bounded, and a shutdown answers what was asked.

use tokio::io::AsyncWriteExt as _;

use crate::broker::{Broker, METADATA, PRODUCE, answer, read_frame, request};
use crate::world::World;

#[tokio::test]
async fn pipelined_frames_pass_unchanged_in_order() {
    let broker = Broker::start().await;
    let world = World::start(&broker.address.to_string()).await;
    let large: Vec<u8> = (0..300_000_u32).map(|number| number.to_be_bytes()[3]).collect();
    let bodies: [&[u8]; 4] = [b"first", &large, b"", b"last"];
    let frames: Vec<Vec<u8>> = bodies
        .iter()
        .zip(1..)
        .map(|(body, id)| request(if id % 2 == 0 { PRODUCE } else { METADATA }, id, body))
        .collect();
    let client = world.connect().await;
    client.set_nodelay(true).unwrap();
    let (mut from, mut to) = client.into_split();
    let bytes = frames.concat();
    let sending = async {
        // The first frames arrive in pieces that end inside of heads.
        for piece in bytes[..40].chunks(3) {
            to.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        to.write_all(&bytes[40..]).await.unwrap();
    };
    let receiving = async {
        use tokio::io::AsyncReadExt as _;
        let mut answers = Vec::new();
        for _ in &bodies {
            let length = from.read_u32().await.unwrap();
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            from.read_exact(&mut frame).await.unwrap();
            answers.push(frame);
        }
        answers
    };
    let ((), answers) = tokio::join!(sending, receiving);
    let expected: Vec<Vec<u8>> = bodies.iter().zip(1..).map(|(body, id)| answer(id, body)).collect();
    assert!(answers == expected, "an answer was changed or is not in its place");
    let received: Vec<Vec<u8>> = broker.received();
    assert!(received.iter().zip(&frames).all(|(got, sent)| got == &sent[4..]) && received.len() == 4);
    world.stop();
    world.ended().await;
}

#[tokio::test]
async fn excess_client_is_cut_and_gets_next_place() {
    let broker = Broker::start().await;
    let world = World::start_with(&broker.address.to_string(), |wire| wire.connections_max = 1).await;
    let mut first = world.connect().await;
    first.write_all(&request(METADATA, 1, b"x")).await.unwrap();
    assert_eq!(read_frame(&mut first).await, Some(answer(1, b"x")));
    let mut second = world.connect().await;
    assert_eq!(read_frame(&mut second).await, None, "it is disconnected");
    drop(first);
    testkit::eventually("a free place", crate::world::TIMEOUT, || async {
        let mut next = world.connect().await;
        next.write_all(&request(METADATA, 2, b"y")).await.ok()?;
        read_frame(&mut next).await
    })
    .await;
    assert_eq!(broker.received().len(), 2, "the refused client reached the broker");
    world.stop();
    world.ended().await;
}

#[tokio::test]
async fn client_of_unreachable_broker_is_disconnected() {
    // Bound but not listening: no other process gets the port, and connections are refused.
    let refusing = tokio::net::TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let world = World::start(&refusing.local_addr().unwrap().to_string()).await;
    let mut client = world.connect().await;
    assert_eq!(read_frame(&mut client).await, None);
    world.stop();
    world.ended().await;
}

#[tokio::test]
async fn shutdown_answers_open_request_and_closes() {
    let broker = Broker::start().await;
    let world = World::start(&broker.address.to_string()).await;
    broker.answer(false);
    let mut client = world.connect().await;
    client.write_all(&request(PRODUCE, 7, b"records")).await.unwrap();
    world.wait_for("the request", || broker.received().len() == 1).await;
    world.stop();
    testkit::eventually("the end of the listener", crate::world::TIMEOUT, || async {
        tokio::net::TcpStream::connect(world.address).await.is_err().then_some(())
    })
    .await;
    broker.answer(true);
    assert_eq!(read_frame(&mut client).await, Some(answer(7, b"records")));
    assert_eq!(read_frame(&mut client).await, None, "the connection is closed");
    world.ended().await;
}

#[tokio::test]
async fn shutdown_ignores_silent_broker() {
    let broker = Broker::start().await;
    let world = World::start_with(&broker.address.to_string(), |wire| wire.drain_deadline_ms = 50).await;
    broker.answer(false);
    let mut client = world.connect().await;
    client.write_all(&request(PRODUCE, 7, b"records")).await.unwrap();
    world.wait_for("the request", || broker.received().len() == 1).await;
    world.stop();
    assert_eq!(read_frame(&mut client).await, None);
    world.ended().await;
}

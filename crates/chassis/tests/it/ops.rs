//! The ops listener has its own limits, whatever the limits of the service's interface are.

use std::time::Duration;

use chassis::{Edges, Life, Shutdown};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Time that an idle connection stays open. A connection that has to make room is closed immediately.
const IDLE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_ops_listener_keeps_64_connections_and_no_more() {
    let edges = Edges::local(&[]).await.expect("free ports");
    let ops = edges.ops.local_addr().expect("an address");
    let life = Life::start(edges, &crate::life::config(1_000), Shutdown::new());
    let mut held = Vec::new();
    for _ in 0..65 {
        let mut stream = TcpStream::connect(ops).await.expect("connects");
        let request = format!("GET /livez HTTP/1.1\r\nhost: {ops}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut status_line = [0; 12];
        stream.read_exact(&mut status_line).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&status_line), "HTTP/1.1 200");
        held.push(stream);
    }
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(IDLE / 2, held[0].read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the one that has waited longest for its client makes room for the 65th");
    drop(life);
}

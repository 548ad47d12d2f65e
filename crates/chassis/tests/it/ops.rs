//! The ops listener has its own limits, independent of those of the service's interface.

use std::time::Duration;

use chassis::{Lifecycle, Shutdown};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Time that an idle connection stays open. An evicted connection is closed immediately.
const IDLE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn ops_listener_is_limited_to_64_connections() {
    let listeners = crate::lifecycle::listeners(1_000, &[]).await;
    let ops = listeners.ops.local_addr().expect("an address");
    let lifecycle = Lifecycle::start(listeners, Shutdown::new());
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
    assert!(closed.is_ok(), "the longest idle connection was not evicted for the 65th");
    drop(lifecycle);
}

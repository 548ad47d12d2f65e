//! Accept loop of every HTTP listener: checks hosts, limits connections and slow clients, and drains on shutdown.
//!
//! axum's own `serve` has none of these limits, so the loop is here. hyper implements the protocol. Every listener of every
//! process is served by [`serve`], so the guarantees of this module, of `connection_limits` and of `hosts` hold for all of them.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{Request, header};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
};
use hyper_util::{rt::TokioTimer, service::TowerToHyperService};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{ServiceExt, service_fn};

use super::{
    connection_limits::{Limiter, Slot, TransferLimit},
    hosts::{HostRefusal, KnownHosts},
    slow_clients::{MonitoredStream, RequestBody, ResponseBody},
    unread_body::lend,
};
use crate::config::Http;

/// Limit for all headers of a request together. hyper's default is 400 KiB, and no Pitboss client needs more than this.
const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Limit of headers in a request.
const HEADERS_MAX: usize = 64;
/// Pause after a failed accept, mostly for lack of descriptors. Meanwhile the connection waits in the kernel's queue.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// State that all connections of a listener share.
#[derive(Clone)]
struct Shared {
    hosts: KnownHosts,
    router: Router,
    invalid_host: Router,
    other_host: Router,
    transfer: TransferLimit,
}

/// Serves `router` on `listener` until `stop`. Then it lets open requests finish and returns when the last connection has closed.
///
/// An answer is sent after the request's body, also if its handler did not read it. Behind one that is too long or too slow
/// (`unread_body`), the connection closes with the answer.
///
/// A request for another host (`http.hosts`) is answered with 421, a request for no host or several hosts with 400. Every request
/// carries the peer's address as [`ConnectInfo`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    http: Http,
    stop: CancellationToken,
) -> io::Result<()> {
    let hosts = KnownHosts::new(&http.hosts, listener.local_addr()?.port());
    let (invalid_host, other_host) = (HostRefusal::Invalid.router(), HostRefusal::Misdirected.router());
    let shared = Shared { hosts, router, invalid_host, other_host, transfer: TransferLimit::new(&http) };
    let limiter = Arc::new(Limiter::new(&http));
    let connections = TaskTracker::new();
    tokio::select! {
        () = accept_until(stop, &listener, &shared, &limiter, &connections) => {}
        () = limiter.close_overdue() => {}
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = limiter.close_overdue() => {}
    }
    Ok(())
}

async fn accept_until(
    stop: CancellationToken,
    listener: &TcpListener,
    shared: &Shared,
    limiter: &Arc<Limiter>,
    connections: &TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accept(listener, limiter) => accepted,
        };
        match accepted {
            Ok(Some((stream, peer, slot))) => {
                let connection = connection(stream, peer, shared.clone(), stop.clone(), slot);
                telemetry::spawn(connections.track_future(connection));
            }
            // The client's address has reached its limit, and the connection is dropped.
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Accepts a connection. If all slots hold requests in progress, it waits here, and further ones wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    limiter: &Arc<Limiter>,
) -> io::Result<Option<(TcpStream, SocketAddr, Slot)>> {
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(limiter.acquire(peer).await.map(|slot| (stream, peer, slot)))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Shared,
    stop: CancellationToken,
    slot: Slot,
) {
    let conn = Arc::clone(&slot.conn);
    let service = service_fn(move |request: Request<Incoming>| {
        let conn = Arc::clone(&conn);
        conn.request_started();
        let router = match shared.hosts.check(&request) {
            Ok(()) => shared.router.clone(),
            Err(HostRefusal::Invalid) => shared.invalid_host.clone(),
            Err(HostRefusal::Misdirected) => shared.other_host.clone(),
        };
        let transfer = shared.transfer;
        async move {
            // With this header the client waits until it is told to send its body.
            let is_sending = !request.headers().contains_key(header::EXPECT);
            let mut unread = None;
            let mut request = request.map(|incoming| match incoming.is_end_stream() {
                true => Body::empty(),
                false => {
                    let body = RequestBody::new(incoming, Arc::clone(&conn), transfer);
                    let (lent, rest) = lend(body, is_sending);
                    unread = Some(rest);
                    Body::new(lent)
                }
            });
            request.extensions_mut().insert(ConnectInfo(peer));
            let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
            if let Some(unread) = unread {
                unread.skip().await;
            }
            Ok::<_, Infallible>(response.map(|body| ResponseBody::new(body, conn)))
        }
    });
    let stream = MonitoredStream::new(stream, Arc::clone(&slot.conn));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The limiter enforces the deadlines. This time-out cannot distinguish a slow request from an idle client.
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(stream, TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let drained = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                // An idle connection closes now, and a busy one after its response.
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    tokio::select! {
        ended = drained => if let Err(error) = ended {
            // Clients may disconnect at any time.
            tracing::debug!(error = %error, "a connection ended early");
        },
        () = slot.conn.close_requested() => tracing::debug!("a connection was closed because its client was too slow"),
    }
}

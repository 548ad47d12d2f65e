//! Accept loop of every HTTP listener: checks hosts, limits connections and slow clients, and drains on shutdown.
//!
//! axum's own `serve` has none of these limits, so the loop is here. hyper implements the protocol. Every listener of every
//! process is served by [`serve`], so the guarantees of this module, of `crowd` and of `hosts` hold for all of them.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::Request;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
};
use hyper_util::{rt::TokioTimer, service::TowerToHyperService};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{ServiceExt, service_fn};

use super::{
    crowd::{Crowd, Flow, Place},
    hosts::{KnownHosts, NotOurs, refusing},
    patience::{Arriving, Leaving, Watched},
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
struct Served {
    known: KnownHosts,
    router: Router,
    unclear: Router,
    misdirected: Router,
    flow: Flow,
}

/// Serves `router` on `listener` until `stop`. Then it lets open requests finish and returns when the last connection has closed.
///
/// A request for another host (`http.hosts`) is answered with 421, a request for no host or several hosts with 400. Every request
/// carries the peer's address as [`ConnectInfo`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    http: Http,
    stop: CancellationToken,
) -> io::Result<()> {
    let known = KnownHosts::new(&http.hosts, listener.local_addr()?.port());
    let (unclear, misdirected) = (refusing(NotOurs::Unclear), refusing(NotOurs::Misdirected));
    let served = Served { known, router, unclear, misdirected, flow: Flow::of(&http) };
    let crowd = Arc::new(Crowd::new(&http));
    let connections = TaskTracker::new();
    tokio::select! {
        () = accept_until(stop, &listener, &served, &crowd, &connections) => {}
        () = crowd.watch() => {}
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = crowd.watch() => {}
    }
    Ok(())
}

async fn accept_until(
    stop: CancellationToken,
    listener: &TcpListener,
    served: &Served,
    crowd: &Arc<Crowd>,
    connections: &TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accept(listener, crowd) => accepted,
        };
        match accepted {
            Ok(Some((stream, peer, place))) => {
                let connection = connection(stream, peer, served.clone(), stop.clone(), place);
                telemetry::spawn(connections.track_future(connection));
            }
            // The client's address already has its share of the connections.
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Accepts a connection. If all places hold requests in progress, it waits here, and further ones wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    crowd: &Arc<Crowd>,
) -> io::Result<Option<(TcpStream, SocketAddr, Place)>> {
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(crowd.place(peer).await.map(|place| (stream, peer, place)))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    served: Served,
    stop: CancellationToken,
    place: Place,
) {
    let conn = Arc::clone(&place.conn);
    let service = service_fn(move |request: Request<Incoming>| {
        let conn = Arc::clone(&conn);
        conn.request_began();
        let router = match served.known.admit(&request) {
            Ok(()) => served.router.clone(),
            Err(NotOurs::Unclear) => served.unclear.clone(),
            Err(NotOurs::Misdirected) => served.misdirected.clone(),
        };
        let flow = served.flow;
        async move {
            let mut request = request.map(|incoming| match incoming.is_end_stream() {
                true => Body::empty(),
                false => Body::new(Arriving::new(incoming, Arc::clone(&conn), flow)),
            });
            request.extensions_mut().insert(ConnectInfo(peer));
            let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
            Ok::<_, Infallible>(response.map(|body| Leaving::new(body, conn)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The crowd has the deadlines. This time-out cannot distinguish a slow request from an idle client.
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(Watched::new(stream, Arc::clone(&place.conn)), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let drained = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                // An idle connection closes now, and a busy one after its answer.
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    tokio::select! {
        ended = drained => if let Err(error) = ended {
            // Clients that hang up are normal at an edge.
            tracing::debug!(error = %error, "a connection ended early");
        },
        () = place.conn.condemned() => tracing::debug!("a connection was closed because its client was too slow"),
    }
}

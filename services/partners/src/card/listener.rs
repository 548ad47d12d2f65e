//! Listener for merchants of the card provider.
//!
//! While the fault `payment.provider-down` is active the listener is closed, so that the operating system refuses every new
//! connection. Requests in progress are answered first, so a merchant knows the outcome of each request that was accepted.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use chassis::config::Http;
use faults::{FaultId, Faults, Place, Subject};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Pause between two checks of the fault, and between two attempts to listen again.
const PAUSE: Duration = Duration::from_millis(100);
/// Number of attempts to listen again. Meanwhile another process may have taken the port.
const ATTEMPTS_MAX: u32 = 100;

/// Serves `router` until `stop`, except while the fault is active.
pub(crate) async fn serve(
    mut listener: TcpListener,
    router: Router,
    http: Http,
    faults: Faults,
    stop: CancellationToken,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    loop {
        serve_until_down(listener, router.clone(), http.clone(), &faults, &stop).await?;
        if !waited_for_end(&faults, &stop).await {
            return Ok(());
        }
        let Some(reopened) = listen_again(address, &stop).await? else { return Ok(()) };
        listener = reopened;
        tracing::info!("the card provider accepts connections again");
    }
}

/// Serves until the fault is active or `stop`. The listener is closed then.
async fn serve_until_down(
    listener: TcpListener,
    router: Router,
    http: Http,
    faults: &Faults,
    stop: &CancellationToken,
) -> io::Result<()> {
    let closing = stop.child_token();
    let close = async {
        while chassis::faults::active(faults, FaultId::PaymentProviderDown, None, None).is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        tracing::warn!("the card provider closes its listener, because a fault is armed");
        closing.cancel();
        // The server ends by itself now.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = chassis::http::serve(listener, router, http, closing.clone()) => served,
        () = close => Ok(()),
    }
}

/// Waits for the end of the fault. Returns false at `stop`.
async fn waited_for_end(faults: &Faults, stop: &CancellationToken) -> bool {
    let ended = async {
        while faults.is_active(FaultId::PaymentProviderDown, Place::End, &Subject::default()) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = ended => true,
    }
}

/// Binds the address again. Returns none at `stop`.
async fn listen_again(address: SocketAddr, stop: &CancellationToken) -> io::Result<Option<TcpListener>> {
    let mut attempt = 1;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(Some(listener)),
            Err(error) if attempt == ATTEMPTS_MAX => return Err(error),
            Err(error) => tracing::debug!(error = %error, attempt, "cannot listen for merchants yet"),
        }
        attempt = attempt.saturating_add(1);
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

//! Small mail server: the minimum of RFC 5321, with bounded lengths. An e-mail is on disk before it is answered with 250.

mod line;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use faults::{FaultId, Faults};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::Smtp;
use crate::mail::Mailbox;
use session::Session;

/// Pause after a failed accept, such as one with too many open files.
const ACCEPT_PAUSE_MS: u64 = 50;

/// Serves until `stop`, then waits for the open sessions. A session that waits for a command is closed at once. One that receives
/// an e-mail is closed after the answer. It never fails.
pub async fn serve(
    listener: TcpListener,
    config: Smtp,
    mailbox: Mailbox,
    faults: Faults,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let config = Arc::new(config);
    let slots = Arc::new(Semaphore::new(config.connections_max));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "the connection of a mail client could not be accepted");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                continue;
            }
        };
        if is_down(&faults, peer) {
            refuse(stream, "421 mail service is not available, try again later\r\n").await;
            continue;
        }
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            refuse(stream, "421 too many clients, try again later\r\n").await;
            continue;
        };
        let session = Session::new(Arc::clone(&config), mailbox.clone(), faults.clone(), stop.clone());
        telemetry::spawn(async move {
            if let Err(error) = session.run(stream).await {
                tracing::debug!(error = %error, "the session of a mail client broke off");
            }
            drop(slot);
        });
    }
    let all = u32::try_from(config.connections_max).unwrap_or(u32::MAX);
    let _all_slots = slots.acquire_many(all).await;
    Ok(())
}

/// Returns true while the fault `notification.provider-down` is active. A share of it is a share of the connections.
fn is_down(faults: &Faults, peer: SocketAddr) -> bool {
    if faults.is_idle(None) {
        return false; // A connection carries no fault of a request.
    }
    let subject_key = peer.to_string();
    chassis::faults::active(faults, FaultId::NotificationProviderDown, None, Some(&subject_key)).is_some()
}

/// Closes a connection with this answer instead of a greeting.
async fn refuse(mut stream: TcpStream, answer: &str) {
    // The client may have left already, so a failed write is ignored.
    drop(stream.write_all(answer.as_bytes()).await);
}

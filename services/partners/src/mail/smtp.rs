//! Small mail server: the minimum of RFC 5321, with bounded lengths. An e-mail is on disk before it is answered with 250.

mod line;
mod session;

use std::sync::Arc;
use std::time::Duration;

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
    stop: CancellationToken,
) -> std::io::Result<()> {
    let config = Arc::new(config);
    let slots = Arc::new(Semaphore::new(config.connections_max));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                tracing::warn!(error = %error, "the connection of a mail client could not be accepted");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            refuse(stream).await;
            continue;
        };
        let session = Session::new(Arc::clone(&config), mailbox.clone(), stop.clone());
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

async fn refuse(mut stream: TcpStream) {
    // The client may have left already, so a failed write is ignored.
    drop(stream.write_all(b"421 too many clients, try again later\r\n").await);
}

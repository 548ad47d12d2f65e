//! Requests to end the program: signals, and the end of standard input.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::ChainError;

/// Requests to end the program. After `listen`, none of these signals ends the process by itself.
#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    /// Closed when standard input has ended. The parent process holds its other end, so it also ends when the parent is killed.
    input: oneshot::Receiver<()>,
}

impl Stop {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, ChainError> {
        let listen = |kind| signal(kind).map_err(ChainError::io("listening for signals"));
        let (ended, input) = oneshot::channel::<()>();
        // A thread of its own: the runtime would wait for a read of standard input before it ends.
        std::thread::spawn(move || {
            drop(io::copy(&mut io::stdin().lock(), &mut io::sink()));
            drop(ended);
        });
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            input,
        })
    }

    /// Returns when the first request arrives.
    pub(crate) async fn requested(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.input => {}
        }
    }
}

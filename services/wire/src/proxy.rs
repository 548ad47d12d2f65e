//! Accepts clients, each with a connection of its own to the broker.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use faults::Faults;
use telemetry::metric::{self, Metric};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::WireConfig;
use crate::connection::Connection;
use crate::wire_faults::WireFaults;

/// Pause after a failed accept, such as one with too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Interval at which an arming that has ended is noticed.
const DISARMED_CHECK: Duration = Duration::from_millis(200);

/// Slots of the clients, and what each of them shares.
struct Clients {
    config: Arc<WireConfig>,
    faults: WireFaults,
    slots: Arc<Semaphore>,
    /// Stops reading requests.
    stop: CancellationToken,
    /// Closes what is not answered in time.
    give_up: CancellationToken,
}

/// Serves until `stop`. Then every open request is still answered, within a limit. It never fails.
pub(crate) async fn serve(
    listener: TcpListener,
    config: WireConfig,
    faults: Faults,
    stop: CancellationToken,
) -> io::Result<()> {
    let clients = Clients {
        slots: Arc::new(Semaphore::new(config.connections_max)),
        config: Arc::new(config),
        faults: WireFaults::new(faults),
        stop: stop.clone(),
        give_up: CancellationToken::new(),
    };
    let mut ticks = tokio::time::interval(DISARMED_CHECK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {
                clients.faults.forget_disarmed();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) => clients.start(client),
            Err(error) => {
                tracing::warn!(error = %error, "the connection of a Kafka client could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    clients.finish().await;
    Ok(())
}

impl Clients {
    fn start(&self, client: TcpStream) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            metric::count(Metric::WireConnectionsRefused, 1, &[]);
            return;
        };
        let connection = Connection::new(self.faults.clone(), self.stop.clone());
        let (config, slots, give_up) =
            (Arc::clone(&self.config), Arc::clone(&self.slots), self.give_up.clone());
        show_connections(&config, &slots);
        telemetry::spawn(async move {
            tokio::select! {
                () = give_up.cancelled() => {}
                ended = connection.run(client, &config) => if let Err(error) = ended {
                    tracing::debug!(error = %error, "the connection of a Kafka client broke off");
                },
            }
            drop(slot);
            show_connections(&config, &slots);
        });
    }

    /// Waits until all clients are closed.
    async fn finish(&self) {
        let all = u32::try_from(self.config.connections_max).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(self.config.drain_deadline(), self.slots.acquire_many(all)).await;
        if drained.is_err() {
            self.give_up.cancel();
            drop(self.slots.acquire_many(all).await);
        }
    }
}

fn show_connections(config: &WireConfig, slots: &Semaphore) {
    let open = config.connections_max.saturating_sub(slots.available_permits());
    metric::gauge(Metric::WireConnections, f64::from(u32::try_from(open).unwrap_or(u32::MAX)), &[]);
}

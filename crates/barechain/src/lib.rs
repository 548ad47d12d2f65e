//! The bare chain: the least that can settle a bet as durably as the platform does. `./pitboss bench chain`, `drain` and `recovery`
//! compare the two, so that what our layers and rules cost is measured.
//!
//! An HTTP request becomes a record on a topic. A consumer takes the records in batches, writes as many documents for each as the
//! platform does (if it has to, in the platform's order: [`Order`]), and publishes an outcome. A second consumer answers the request
//! with it. There is no telemetry, no retry, no rule and no session. The settings of Kafka's clients and the write concern are those
//! of `bus` and `store`, which `crates/e2e/tests/it/workspace/bare_chain.rs` checks.
//!
//! Topics and database belong to one run: it creates them, and deletes them when it ends. The consumer that settles can be a process
//! of its own ([`Role`]), which benchmarks start late or kill. It owns nothing.

mod accounts;
mod clients;
mod error;
mod http;
mod records;
mod replies;
mod rows;
mod settings;
mod settling;
mod stop;
mod tasks;
mod topics;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use rdkafka::producer::FutureProducer;
use tokio::net::TcpListener;
use tokio::time::timeout;

pub use error::ChainError;
pub use records::{Bet, Outcome};
pub use rows::COLLECTIONS;
pub use settings::{Order, Role, Settings};

use http::Entry;
use replies::Waiting;
use rows::Rows;
use settling::Settling;
use stop::Stop;
use tasks::Tasks;
use topics::Topics;

/// Number of threads that run tasks, as in a service of the platform.
const WORKER_THREADS: usize = 1;
/// Time in which the group gives the consumer its partitions.
const JOIN_DEADLINE: Duration = Duration::from_secs(30);

/// Runs the program with the arguments of the command line.
///
/// When it is ready, it prints the address of its listener on a line of standard output, or as a settler `joined`. It ends on SIGINT,
/// on SIGTERM, and when its standard input ends.
#[must_use]
pub fn main() -> ExitCode {
    match start(&Settings::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "barechain: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn start(settings: &Settings) -> Result<(), ChainError> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(WORKER_THREADS).enable_all().build();
    runtime.map_err(ChainError::io("starting the runtime"))?.block_on(async {
        let stop = Stop::listen()?;
        if settings.role == Role::Settler {
            return settle(settings, || announce("joined"), stop.requested()).await;
        }
        let listener = TcpListener::bind(settings.listen).await;
        let listener = listener.map_err(ChainError::io("opening the listener"))?;
        run(settings, listener, |address| announce(&address.to_string()), stop.requested()).await
    })
}

fn announce(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Creates the topics, calls `ready` with the address of the listener, and answers bets until `stop` is ready. With the role of a
/// front, a settler has to settle them.
///
/// Then it deletes the topics and the database. It does that after an error, too.
///
/// # Errors
/// When the broker or the store fails, or does not answer in time.
pub async fn run(
    settings: &Settings,
    listener: TcpListener,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), ChainError> {
    let topics = Topics::new(settings)?;
    let rows = Rows::open(settings).await?;
    let mut tasks = Tasks::new();
    let ended = tokio::select! {
        ended = serve(settings, listener, &topics, &rows, &mut tasks, ready) => ended,
        () = stop => Ok(()),
    };
    // The consumers leave before their topics disappear, and the last batch is stored before its database does.
    tasks.shutdown().await;
    let (deleted, dropped) = tokio::join!(topics.delete(), rows.drop_database());
    ended.and(deleted).and(dropped)
}

/// Settles the bets of a front until `stop` is ready. Calls `ready` when the group has given it partitions. It creates and deletes
/// nothing.
///
/// # Errors
/// When the broker or the store fails, or does not answer in time.
pub async fn settle(
    settings: &Settings,
    ready: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> Result<(), ChainError> {
    let (rows, producer) = (Rows::open(settings).await?, clients::producer(settings)?);
    let mut tasks = Tasks::new();
    let settling = async {
        join(settings, &rows, &producer, &mut tasks).await?;
        ready();
        tasks.first_end().await
    };
    let ended = tokio::select! {
        ended = settling => ended,
        () = stop => Ok(()),
    };
    tasks.shutdown().await;
    ended
}

/// Starts the tasks, and returns when the first of them ends, which is an error.
async fn serve(
    settings: &Settings,
    listener: TcpListener,
    topics: &Topics,
    rows: &Rows,
    tasks: &mut Tasks,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), ChainError> {
    topics.create().await?;
    let address = listener.local_addr().map_err(ChainError::io("reading the address of the listener"))?;
    let producer = clients::producer(settings)?;
    let waiting = Arc::new(Waiting::default());
    tasks.spawn(replies::run(clients::outsider(settings)?, Arc::clone(&waiting)));
    if settings.role == Role::Chain {
        join(settings, rows, &producer, tasks).await?;
    }
    let reply_deadline = Duration::from_millis(settings.reply_deadline_ms);
    let entry = Entry { producer, waiting, topic: settings.commands_topic(), reply_deadline };
    tasks.spawn(http::serve(listener, entry));
    ready(address);
    tasks.first_end().await
}

/// Starts the consumer that settles, and returns when its group has given it partitions.
async fn join(
    settings: &Settings,
    rows: &Rows,
    producer: &FutureProducer,
    tasks: &mut Tasks,
) -> Result<(), ChainError> {
    let (consumer, mut assigned) = clients::member(settings)?;
    let settling = Settling {
        consumer,
        producer: producer.clone(),
        rows: rows.clone(),
        settings: settings.clone(),
        stop: tasks.stop_settling(),
    };
    tasks.spawn(settling.run());
    let joined = async {
        let joined = timeout(JOIN_DEADLINE, assigned.wait_for(|is_assigned| *is_assigned)).await;
        joined.is_ok_and(|joined| joined.is_ok())
    };
    tokio::select! {
        ended = tasks.first_end() => ended,
        has_joined = joined => match has_joined {
            true => Ok(()),
            false => Err(ChainError::TimedOut { doing: "joining the consumer group" }),
        },
    }
}

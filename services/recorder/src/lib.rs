//! Independent witness of the telemetry: accepts what any Sentry SDK sends, stores every byte that it acknowledges with
//! 200, and answers queries about it.
//!
//! One envelope through this crate, with the file to read for each step:
//!
//! 1. [`ingest`] admits it (key, sizes, encodings: `ingest/receive.rs`) and reads its digest ([`protocol::digest`]).
//! 2. [`journal`] appends the received bytes and acknowledges them once they are synchronised (`journal/writer.rs`).
//! 3. [`index`] stores the digests of many envelopes in one transaction (`index/write.rs`).
//!    Errors, releases and actions change the states of issues there ([`domain`]).
//! 4. [`query`] and [`pages`] find envelopes in the index and read them from the journal. `symbols` adds file and line to the frames
//!    of errors. The alert rules are evaluated beside them (`query/alerts/`).
//!
//! The recorder shares no code with the telemetry that it checks. From the telemetry crate it uses logs, its own metrics,
//! task spawning, and, for forwarded copies, rate limits and client reports. Its own events should have no DSN, because it
//! would otherwise record itself.

pub mod body;
pub mod config;
pub mod crashes;
pub mod domain;
pub mod forward;
pub mod index;
pub mod ingest;
pub mod journal;
pub mod pages;
pub mod projects;
pub mod protocol;
pub mod query;
mod symbols;

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use chassis::{Failure, Lifecycle, Listeners, Shutdown, operator::Operator};

use crate::{
    config::{Config, QUERY},
    crashes::{CrashTask, ModuleFolders},
    forward::{ForwardTask, Forwarder, NotLoopback},
    index::Index,
    ingest::{Admission, Answered, Ingest, ModeSwitch, Spool},
    journal::Journal,
    projects::Projects,
    query::{Query, Shared},
    symbols::Symbols,
};

/// Embedded default configuration.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// Entry point of the program: reads the configuration and calls [`run`]. With `symbols` as its first argument, it makes the tables
/// with file and line of programs instead.
///
/// It is in the library, so that the compiler does not generate the code behind `run` a second time for `main.rs`.
#[must_use]
pub fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == symbols::command::NAME) {
        return symbols::command::run(arguments);
    }
    let part = contracts::parts::Part::Recorder;
    chassis::main(chassis::Service::new(part, env!("CARGO_PKG_VERSION"), DEFAULTS), run)
}

/// Runs the recorder until shutdown.
///
/// Fails when a resource is missing, or when it can no longer store or find envelopes.
pub async fn run(config: Config, mut listeners: Listeners, shutdown: Shutdown) -> Result<(), Failure> {
    let query_listener = listeners.take(QUERY)?;
    let mut lifecycle = Lifecycle::start(listeners, shutdown);
    let ready = lifecycle.readiness().register("journal");

    let projects = Arc::new(load_projects(&config)?);
    let open_config = config.clone();
    let opened = telemetry::spawn_blocking(move || open(&open_config)).await?;
    let Opened { journal, index, threads } = opened.map_err(|error| {
        let directory = config.recorder.data_dir.display();
        Failure::missing(format!("cannot use {directory} (recorder.data_dir)"), error)
    })?;
    ready.set(true);

    let mode = Arc::new(ModeSwitch::default());
    let answered = Arc::new(Answered::default());
    let (forwarder, forward_task) = forwarding(&config, &projects)?;
    lifecycle.background("forward", |stop| forward_task.run(stop));
    let symbols = line_tables(&config);
    let folders: Vec<_> = std::env::split_paths(&config.recorder.module_folders).collect();
    let (crashes, crash_task) = CrashTask::new(crashes::Sources {
        index: index.clone(),
        journal: journal.clone(),
        limits: config.limits,
        folders: ModuleFolders::new(&folders),
        locate: Arc::new(symbols.clone()),
    });
    lifecycle.background("crashes", |stop| crash_task.run(stop));
    let spool = Spool::new(&config.recorder.data_dir, config.limits.spool_bytes_max);
    let admission = Admission::default();
    let ingest = Ingest {
        spool,
        journal: journal.clone(),
        projects: Arc::clone(&projects),
        limits: config.limits,
        admission: admission.clone(),
        mode: Arc::clone(&mode),
        forwarder: forwarder.clone(),
        answered: Arc::clone(&answered),
        crashes,
        answer_before_write: config.recorder.answer_before_write,
    };
    let operator = Operator::new(config.security.operator_token.clone());
    let closed_journal = journal.clone();
    let (watched_journal, watched_index) = (journal.clone(), index.clone());
    // A recorder that can no longer store or index envelopes exits, so that the supervisor restarts it.
    lifecycle.consume("journal", Duration::ZERO, |stop, _| async move {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = watched_journal.ended() => Err(ThreadExited("the journal's writer")),
            () = watched_index.ended() => Err(ThreadExited("the indexer")),
        }
    });
    let query =
        Query::new(index, journal, projects, config.limits, operator, Shared { mode, answered, forwarder })
            .with_flag_hook_secret(config.security.flag_hook_secret.clone())
            .with_symbols(symbols)
            .with_scorecard_in(&config.recorder.data_dir);
    if config.alerts.enabled {
        let (settings, watched) = (config.alerts, query.clone());
        lifecycle
            .background("alerts", move |stop| query::alerts::watch::run(watched, settings, admission, stop));
    }
    lifecycle.serve(ingest::router(ingest));
    let routes = chassis::http::with_body_limit(query::router(query), config.query.body_bytes_max);
    lifecycle.serve_on("query", query_listener, routes, config.query.clone());
    lifecycle.on_flush("journal", move |_: Duration| close(closed_journal, threads));
    lifecycle.run().await
}

fn load_projects(config: &Config) -> Result<Projects, Failure> {
    let file = &config.recorder.projects_file;
    Projects::load(file).map_err(|error| {
        Failure::missing(format!("cannot read {} (recorder.projects_file)", file.display()), error)
    })
}

/// What sends copies to a real Sentry and to the second witness.
fn forwarding(config: &Config, projects: &Projects) -> Result<(Forwarder, ForwardTask), Failure> {
    let targets =
        forward::targets(&config.forward, std::env::vars_os(), projects).map_err(Failure::invalid_setting)?;
    let (forwarder, mut task) = Forwarder::new(targets, projects, config.limits.body())?;
    let Some(address) = config.recorder.second_witness else { return Ok((forwarder, task)) };
    let address = NotLoopback::check(address).map_err(Failure::invalid_setting)?;
    let forwarder = forwarder.with_witness(address, config.limits.body(), &mut task)?;
    Ok((forwarder, task))
}

fn line_tables(config: &Config) -> Symbols {
    let folder = Some(config.symbols.folder.clone()).filter(|folder| !folder.as_os_str().is_empty());
    Symbols::open(folder)
}

struct Opened {
    journal: Journal,
    index: Index,
    threads: Vec<JoinHandle<()>>,
}

fn open(config: &Config) -> anyhow::Result<Opened> {
    let directory = &config.recorder.data_dir;
    let (journal, writer) = Journal::open(journal::Options {
        directory: directory.join("segments"),
        segment_bytes: config.recorder.segment_bytes,
        retention_bytes: config.recorder.retention_bytes,
        sync: journal::sync_data,
    })?;
    let options = index::Options {
        path: directory.join("index.sqlite"),
        gather: Duration::from_millis(config.recorder.index_gather_ms),
        limits: config.limits.body(),
        ongoing_after_s: config.recorder.ongoing_after_s as f64,
    };
    let (index, indexer) = Index::open(options, &journal)?;
    Ok(Opened { journal, index, threads: vec![writer, indexer] })
}

/// Closes the journal after the listeners. Its threads write what they hold, index it and exit.
async fn close(journal: Journal, threads: Vec<JoinHandle<()>>) -> Result<(), ThreadExited> {
    const THREADS: ThreadExited = ThreadExited("a thread of the journal");
    journal.close().await;
    telemetry::spawn_blocking(move || {
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| THREADS))
    })
    .await
    .map_err(|_| THREADS)?
}

/// A thread exited before the shutdown.
#[derive(Debug, thiserror::Error)]
#[error("{0} exited unexpectedly")]
struct ThreadExited(&'static str);

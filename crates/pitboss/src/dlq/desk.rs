//! Connection to the dead letters of one cluster: reading, and acting with a trace of its own.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bus::letter::{
    ActError, Action, History, Keep, Known, Letter, LetterReader, Limits, Note, Replayed, replay_once,
};
use bus::{Producer, admin};
use clap::Args;
use contracts::parts::{CLI_PROJECT, Part};
use contracts::topics::{DLQ_ACTIONS, catalogue};
use reqwest::Url;
use runtime::RuntimeError;
use runtime::infra::InfraPorts;
use runtime::secrets::Secrets;
use telemetry::Telemetry;

use super::entry::{Batch, Entry, unite};
use super::filter::FilterArgs;
use super::render::Frame;
use crate::checkout::Checkout;
use crate::commands::Context;

/// Time limit for reading all topics.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Memory of all letters of one read.
const LETTERS_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Time limit for the last telemetry.
const TELEMETRY_DEADLINE_MS: u64 = 5_000;

/// Options that select the cluster.
#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// Brokers of another cluster [default: the broker of this platform]
    #[arg(long, global = true, value_name = "HOST:PORT", visible_alias = "brokers")]
    pub bootstrap_servers: Option<String>,
    /// URL of the recorder's pages, for links to traces [default: that of this platform]
    #[arg(long, global = true, value_name = "URL", env = "PITBOSS_RECORDER_URL")]
    pub recorder: Option<Url>,
}

/// The dead letters of one cluster.
pub struct Desk {
    config: bus::Config,
    reader: Arc<LetterReader>,
    history: Arc<History>,
    /// URL of the recorder's pages.
    pub recorder_url: Option<String>,
}

/// Letters that a filter selected.
#[derive(Debug)]
pub struct Selected {
    /// The letters, in the order in which they were parked.
    pub entries: Vec<Entry>,
    /// Number of letters that the limits left out.
    pub left_out: u64,
    /// Not everything was read in time.
    pub is_incomplete: bool,
}

impl Desk {
    /// Connects to the cluster that `args` name.
    ///
    /// # Errors
    /// When there is neither an address nor a checkout, or the broker does not answer.
    pub async fn open(args: &PlaceArgs, context: &Context) -> Result<Self> {
        let ports = context.checkout().and_then(|checkout| checkout.ports());
        let (bootstrap_servers, local) = match &args.bootstrap_servers {
            Some(brokers) => (brokers.clone(), None),
            None => {
                let ports = ports?;
                let recorder = format!("http://127.0.0.1:{}", ports.recorder_query());
                (InfraPorts::from(ports).kafka_bootstrap(), Some(recorder))
            }
        };
        let named = args.recorder.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        let config =
            bus::Config { bootstrap_servers, client_id: CLI_PROJECT.0.to_owned(), ..bus::Config::default() };
        let reader = LetterReader::new(&config)?;
        let mut desk = Self { config, reader, history: Arc::default(), recorder_url: named.or(local) };
        if let Err(error) = desk.read_actions().await {
            let what = format!("Kafka does not answer at {} ({error})", desk.config.bootstrap_servers);
            let advice =
                "start the platform with ./pitboss up, or name a broker with --bootstrap-servers".to_owned();
            return Err(RuntimeError::Missing { what, advice }.into());
        }
        Ok(desk)
    }

    /// Reads the actions that were added since the last time.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn read_actions(&mut self) -> Result<()> {
        let actions = self.reader.actions(READ_DEADLINE).await?;
        Arc::make_mut(&mut self.history).extend(actions);
        Ok(())
    }

    /// Reads the letters that arrived since the last time, and selects up to `letters_max` of them.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn select(
        &self,
        filter: &FilterArgs,
        closed_too: bool,
        (keep, letters_max): (Keep, usize),
    ) -> Result<Selected> {
        let limits = Limits { letters_max, bytes_max: LETTERS_BYTES_MAX, deadline: READ_DEADLINE, keep };
        let (filter, history) = (filter.clone(), Arc::clone(&self.history));
        let wanted = move |letter: &Letter| filter.matches(letter) && (closed_too || history.is_open(letter));
        let read = self.reader.letters(limits, wanted).await?;
        let entries = unite(read.letters, &self.history);
        Ok(Selected { entries, left_out: read.left_out, is_incomplete: read.is_incomplete })
    }

    /// Surroundings of an output with this width.
    #[must_use]
    pub fn frame(&self, columns: usize) -> Frame {
        Frame { columns, now_ms: faults::now_ms(), recorder_url: self.recorder_url.clone() }
    }

    /// Prepares actions: the topic of actions, a producer, and telemetry to the recorder of this platform.
    ///
    /// # Errors
    /// When the topic cannot be created.
    pub async fn clerk(&self, args: &PlaceArgs, context: &Context) -> Result<Clerk> {
        // before the producer, whose spans need it
        let (telemetry, sends) = start_telemetry(args, context);
        let specs: Vec<_> = catalogue().into_iter().filter(|spec| spec.name == DLQ_ACTIONS).collect();
        admin::ensure_topics(&self.config, &specs).await?;
        Ok(Clerk { producer: Producer::new(&self.config)?, telemetry, sends })
    }
}

/// Replays and discards letters.
pub struct Clerk {
    producer: Producer,
    /// `None` if it did not start. The records are published without a trace then.
    telemetry: Option<Telemetry>,
    /// There is a DSN.
    sends: bool,
}

impl Clerk {
    /// Publishes a record again, once for all its letters.
    ///
    /// # Errors
    /// See [`bus::letter::replay_once`].
    pub async fn replay(&self, batch: &Batch<'_>, note: &Note) -> Result<Replayed, ActError> {
        let others: Vec<Known<'_>> = batch.others.iter().map(|entry| known(entry)).collect();
        replay_once(&self.producer, known(batch.first), &others, note).await
    }

    /// Gives a letter up.
    ///
    /// # Errors
    /// See [`bus::letter::discard`].
    pub async fn discard(&self, entry: &Entry, note: &Note) -> Result<Action, ActError> {
        let (letter, before) = known(entry);
        bus::letter::discard(&self.producer, letter, note, before).await
    }

    /// Sends what is pending. Returns false if the traces of the actions may be missing in the recorder.
    pub async fn close(self) -> bool {
        match self.telemetry {
            Some(telemetry) => telemetry.shutdown(TELEMETRY_DEADLINE_MS).await && self.sends,
            None => false,
        }
    }
}

fn known(entry: &Entry) -> Known<'_> {
    (&entry.letter, entry.handled.as_ref())
}

/// Starts telemetry of this process. Returns true beside it if there is a DSN. Without one the records still get a new trace.
fn start_telemetry(args: &PlaceArgs, context: &Context) -> (Option<Telemetry>, bool) {
    let mut config = telemetry::Config::silent(CLI_PROJECT.0);
    // standard output is for results
    "off".clone_into(&mut config.log_filter);
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(environment) = variable("SENTRY_ENVIRONMENT") {
        config.environment = environment;
    }
    let checkout = context.checkout().ok();
    if let Some(running) = checkout.as_ref().and_then(Checkout::running) {
        config.release = running.release;
    }
    // the recorder of this checkout knows nothing of another cluster
    config.dsn = match args.bootstrap_servers {
        Some(_) => variable("SENTRY_DSN"),
        None => checkout.as_ref().and_then(dsn),
    };
    let sends = config.dsn.is_some();
    (telemetry::init(config).ok(), sends)
}

/// DSN of the command line at this platform's recorder. `None` if the platform was started by an older `up`.
fn dsn(checkout: &Checkout) -> Option<String> {
    let (project, id) = CLI_PROJECT;
    let ports = checkout.ports().ok()?;
    let secrets = Secrets::load(&checkout.layout).filter(|secrets| secrets.dsn_keys.contains_key(project))?;
    Some(secrets.dsn(project, id, ports.http(Part::Recorder)))
}

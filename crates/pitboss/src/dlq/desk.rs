//! Connection to the dead letters of one cluster: reading, and acting in a separate trace.

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
use runtime::secrets::Secrets;
use telemetry::Telemetry;

use super::entry::{Batch, Entry, unite};
use super::filter::FilterArgs;
use super::render::Frame;
use crate::broker::{self, BrokerArgs};
use crate::checkout::Checkout;
use crate::commands::Context;
use crate::output::counted;

/// Time limit for reading all topics.
const READ_DEADLINE: Duration = Duration::from_secs(30);
/// Memory of all letters of one read.
const LETTERS_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// Time limit for the last telemetry.
const TELEMETRY_DEADLINE_MS: u64 = 5_000;

/// Options that select the cluster.
#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// Broker of the dead letters
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// URL of the recorder's pages, for links to traces [default: that of this platform]
    #[arg(long, global = true, value_name = "URL", env = "PITBOSS_RECORDER_URL")]
    pub recorder: Option<Url>,
}

/// The dead letters of one cluster.
pub struct Desk {
    config: bus::Config,
    reader: Arc<LetterReader>,
    history: Arc<History>,
    /// Number of actions that open transactions hold back.
    actions_held: u64,
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
    /// Not everything could be read: the time was too short, or something is held back.
    pub is_incomplete: bool,
    /// Records that open transactions of other producers hold back.
    pub held: Held,
}

/// Numbers of records that open transactions of other producers hold back, so that no reader gets them yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Dead letters, which are missing in the selection.
    pub letters: u64,
    /// Actions on dead letters. A letter that was replayed or discarded may seem to be open.
    pub actions: u64,
}

impl Held {
    /// Says what is held back and what follows from that, if anything is.
    #[must_use]
    pub fn note(self) -> Option<String> {
        let Self { letters, actions } = self;
        let follows = match (letters, actions) {
            (0, 0) => return None,
            (_, 0) => "what is shown is not complete",
            (..) => "letters that were replayed or discarded may seem to be open",
        };
        let (letters, actions) = (counted(letters, "dead letter"), counted(actions, "action"));
        Some(format!(
            "an open transaction of another producer holds back {letters} and {actions} on letters, so {follows}"
        ))
    }
}

impl Desk {
    /// Connects to the cluster that `args` name.
    ///
    /// # Errors
    /// When there is neither an address nor a checkout, or the broker does not answer.
    pub async fn open(args: &PlaceArgs, context: &Context) -> Result<Self> {
        let config = args.broker.open(context, CLI_PROJECT.0).await?;
        let local = match args.broker.bootstrap_servers {
            Some(_) => None,
            None => Some(format!("http://127.0.0.1:{}", context.checkout()?.ports()?.recorder_query())),
        };
        let named = args.recorder.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        let reader = LetterReader::new(&config)?;
        let recorder_url = named.or(local);
        let mut desk = Self { config, reader, history: Arc::default(), actions_held: 0, recorder_url };
        if let Err(error) = desk.read_actions().await {
            return Err(match error.downcast::<bus::ClientError>() {
                Ok(error) => broker::failed(&desk.config, error),
                Err(error) => error,
            });
        }
        Ok(desk)
    }

    /// Reads the actions that were added since the last time.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn read_actions(&mut self) -> Result<()> {
        let read = self.reader.actions(READ_DEADLINE).await?;
        Arc::make_mut(&mut self.history).extend(read.actions);
        self.actions_held = read.held;
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
        bounds: (Keep, usize),
    ) -> Result<Selected> {
        let filter = filter.clone();
        self.select_where(move |letter| filter.matches(letter), closed_too, bounds).await
    }

    /// [`Desk::select`] by any condition.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn select_where(
        &self,
        is_selected: impl Fn(&Letter) -> bool + Send + 'static,
        closed_too: bool,
        (keep, letters_max): (Keep, usize),
    ) -> Result<Selected> {
        let limits = Limits { letters_max, bytes_max: LETTERS_BYTES_MAX, deadline: READ_DEADLINE, keep };
        let history = Arc::clone(&self.history);
        let wanted = move |letter: &Letter| is_selected(letter) && (closed_too || history.is_open(letter));
        let read = self.reader.letters(limits, wanted).await?;
        let entries = unite(read.letters, &self.history);
        let held = Held { letters: read.held, actions: self.actions_held };
        let is_incomplete = read.is_incomplete || held != Held::default();
        Ok(Selected { entries, left_out: read.left_out, is_incomplete, held })
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
        // Before the producer, whose spans need it
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
    // Standard output is for results
    "off".clone_into(&mut config.log_filter);
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(environment) = variable("SENTRY_ENVIRONMENT") {
        config.environment = environment;
    }
    let checkout = context.checkout().ok();
    if let Some(running) = checkout.as_ref().and_then(Checkout::running) {
        config.release = running.release;
    }
    // The recorder of this checkout has no data of another cluster
    config.dsn = match args.broker.bootstrap_servers {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_names_what_is_held_and_what_follows() {
        let note = |letters, actions| Held { letters, actions }.note();
        assert_eq!(note(0, 0), None);
        let letters = note(2, 0).unwrap();
        assert!(letters.contains("2 dead letters and 0 actions on letters"), "{letters}");
        assert!(letters.ends_with("so what is shown is not complete"), "{letters}");
        let both = note(2, 1).unwrap();
        assert!(both.contains("1 action on") && both.ends_with("may seem to be open"), "{both}");
    }
}

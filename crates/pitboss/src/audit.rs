//! Audit of the money on a running platform (`docs/AUDIT.md`).
//!
//! It reads what the services stored, what they published, what the card provider states and which e-mails arrived, and compares
//! records that were written separately. It writes nothing and stops nothing. These rules keep running bets from causing a false
//! finding:
//! - The record that is written first is read last: an account before its ledger rows, a bet before its wager, the provider's
//!   statement before the ledger, an e-mail before its notification, an event before the document that it was published from.
//!   What was true when the first record was read is still there when the second one is read.
//! - A counterpart that is written later (events, history, facts, rollups) may be missing while it is in flight, or while an open
//!   transaction of another producer holds back what it follows from.
//! - Every suspect is examined again, twice, after a pause, unless it is about what cannot change, such as the payout of a settled
//!   bet. Only a violation that is still there is a finding.
//!
//! An audit can continue where another one ended: a [`Mark`] says up to where each source was read, and what was open there.

mod accounts;
mod bets;
mod books;
pub mod documents;
pub mod event_rules;
mod facts;
mod ledger;
pub mod mails;
mod mark;
mod orders;
mod parked;
mod partition;
pub mod pay_table;
mod payments;
mod presence;
mod published;
mod records;
mod report;
mod rollups;
pub mod rules;
mod scope;
pub mod statement;
mod tally;
mod violation;
pub mod walk;
mod window;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use contracts::Game;
use contracts::parts::Part;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use store::bson::Document;
use time::OffsetDateTime;

use self::books::{Books, Source, by_id, decode, id_of};
use self::mails::Mailbox;
use self::parked::Parked;
use self::pay_table::PayTable;
use self::published::Published;
use self::statement::{Provider, Statement};
use self::tally::{Subject, Tally};
use crate::target::{Target, silent_gateway};

pub use books::Databases;
pub use mark::Mark;
pub use report::{Check, CheckId, FINDINGS_SHOWN, Finding, Report};
pub use violation::{Amount, Violation};

/// Age up to which a record may be without its counterpart, unless the options say otherwise.
pub const IN_FLIGHT_DEFAULT: Duration = Duration::from_secs(60);
/// Longest pause before a suspect is examined again. Analytics sums its facts once a second. It is no longer than a record may be
/// in flight, because after that time nothing is expected to change.
const RECHECK_AFTER_MAX: Duration = Duration::from_secs(3);
/// Number of times that a suspect is examined again.
const RECHECKS: u32 = 2;
/// Number of documents that are read at a time.
const DOCUMENTS_AT_ONCE: u32 = 1_000;
/// Number of accounts that are read at a time. Each may carry 128 decisions in its tail.
const ACCOUNTS_AT_ONCE: u32 = 100;

/// Addresses and credentials of what an audit reads.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Connection string of the document store.
    pub mongo_uri: String,
    /// Names of the services' databases.
    pub databases: Databases,
    /// URL of the gateway, which publishes the pay table.
    pub gateway_url: String,
    /// URL of partners, the card provider and mail server.
    pub partners_url: String,
    /// Token of requests between our services.
    pub internal_token: String,
    /// Brokers with the topics.
    pub bootstrap_servers: String,
    /// Prefix of the names of topics and groups, empty except in tests that share a broker.
    pub kafka_namespace: String,
    /// Number of records of topics that were read so far, for a progress display.
    pub records_read: Arc<AtomicU64>,
    /// HTTP client without proxies.
    pub http: reqwest::Client,
}

impl Sources {
    /// Returns the sources of a running platform.
    ///
    /// # Errors
    /// When the ports cannot be derived from the gateway's, or this checkout does not have the platform's secrets.
    pub fn of(target: &Target) -> Result<Self> {
        let addresses = target.mongo_uri().zip(target.service_url(Part::Partners));
        let Some(((mongo_uri, partners_url), bootstrap_servers)) = addresses.zip(target.bootstrap_servers())
        else {
            bail!(
                "the ports of the document store, of partners and of Kafka cannot be derived from {}: name the gateway by its own port",
                target.gateway_url
            );
        };
        Ok(Self {
            mongo_uri,
            databases: Databases::default(),
            gateway_url: target.gateway_url.clone(),
            partners_url,
            internal_token: target
                .internal_token
                .clone()
                .context("this checkout has no secrets of the platform, and partners answers only with its internal token")?,
            bootstrap_servers,
            kafka_namespace: String::new(),
            records_read: Arc::default(),
            http: target.http().clone(),
        })
    }

    fn kafka(&self) -> bus::Config {
        bus::Config {
            bootstrap_servers: self.bootstrap_servers.clone(),
            namespace: self.kafka_namespace.clone(),
            ..bus::Config::default()
        }
    }
}

/// Scope of an audit.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Only records of this time or later are checked, if it is given.
    pub since: Option<OffsetDateTime>,
    /// Age up to which a record may be without its counterpart.
    pub in_flight: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { since: None, in_flight: IN_FLIGHT_DEFAULT }
    }
}

/// Audits everything that a running platform has stored.
///
/// # Errors
/// When the platform cannot be read. A violation is no error but a finding.
pub async fn run(target: &Target) -> Result<Report> {
    run_with(&Sources::of(target)?, &Options::default()).await
}

/// Audits what these sources hold, within the scope of `options`.
///
/// # Errors
/// When the sources cannot be read. A violation is no error but a finding.
pub async fn run_with(sources: &Sources, options: &Options) -> Result<Report> {
    Ok(run_from(sources, &Mark::at(options.since), options.in_flight).await?.0)
}

/// Audits what these sources hold from a mark on, and returns the mark from which the next audit can continue.
///
/// # Errors
/// When the sources cannot be read, or the mark is of another platform. A violation is no error but a finding.
pub async fn run_from(sources: &Sources, from: &Mark, in_flight: Duration) -> Result<(Report, Mark)> {
    let mut auditor = Auditor::open(sources, from, in_flight).await?;
    auditor.check_mark().await?;
    let settled_ms = auditor.settled_ms();
    let next_ms = from.since_ms.map_or(settled_ms, |since_ms| since_ms.max(settled_ms));
    let mut tally = Tally::bounded();
    // The statement first, because a payment is captured before the ledger completes it.
    let line = auditor.read_statement(&mut tally).await?;
    // An e-mail arrives after its attempt was stored.
    auditor.read_mailbox(&mut tally).await?;
    // The topics before the documents that their events were published from.
    auditor.read_topics(&mut tally).await?;
    let carried = auditor.examine_open(&mut tally).await?;
    for source in Source::ALL {
        auditor.published.update(auditor.books.now_ms()).await?;
        auditor.scan(source, &mut tally).await?;
    }
    let compared_to_s = auditor.examine_rollups(&mut tally).await?;
    for _ in 0..RECHECKS {
        auditor.examine_again(&mut tally).await?;
    }
    let mut checks = Vec::new();
    for check in CheckId::ALL {
        let empty = tally.seen(check) == 0 && !auditor.has_data(check).await?;
        checks.push(tally.result(check, empty));
    }
    let open = tally.open();
    let report = Report {
        checks,
        mark: mark::rfc3339(next_ms)?,
        carried,
        open: open.as_ref().map(|open| u64::try_from(open.len()).unwrap_or(u64::MAX)),
        held: auditor.published.held(),
    };
    let next = match open {
        Some(open) => Mark::after(next_ms, line, compared_to_s, auditor.published.marks(), open),
        // What cannot be carried along has to be read again.
        None => from.clone(),
    };
    Ok((report, next))
}

/// An audit in progress.
#[derive(Debug)]
struct Auditor {
    books: Books,
    provider: Provider,
    statement: Statement,
    mailbox: Mailbox,
    parked: Parked,
    published: Published,
    tables: Vec<PayTable>,
    from: Mark,
    since_ms: Option<i64>,
    started_ms: i64,
    in_flight_ms: i64,
    recheck_after: Duration,
}

impl Auditor {
    async fn open(sources: &Sources, from: &Mark, in_flight: Duration) -> Result<Self> {
        let mut tables = Vec::new();
        for game in Game::ALL {
            tables.push(pay_table(sources, *game).await?);
        }
        let provider = Provider {
            http: sources.http.clone(),
            base_url: sources.partners_url.clone(),
            internal_token: sources.internal_token.clone(),
        };
        let books = Books::connect(&sources.mongo_uri, &sources.databases).await?;
        let (started_ms, kafka) = (books.now_ms(), sources.kafka());
        let in_flight_ms = i64::try_from(in_flight.as_millis()).unwrap_or(i64::MAX);
        let settled_ms = started_ms.saturating_sub(in_flight_ms);
        let times = (started_ms, settled_ms);
        let published = Published::open(&kafka, from, times, Arc::clone(&sources.records_read)).await?;
        Ok(Self {
            books,
            provider,
            statement: Statement::default(),
            mailbox: Mailbox::default(),
            parked: Parked::at(kafka),
            published,
            tables,
            since_ms: from.since_ms,
            from: from.clone(),
            started_ms,
            in_flight_ms,
            recheck_after: in_flight.min(RECHECK_AFTER_MAX),
        })
    }

    /// Returns the time before which nothing was in flight when the audit began.
    const fn settled_ms(&self) -> i64 {
        self.started_ms.saturating_sub(self.in_flight_ms)
    }

    /// Returns true for a record whose counterpart may still be on its way.
    fn is_young(&self, at_ms: i64) -> bool {
        self.books.now_ms().saturating_sub(at_ms) < self.in_flight_ms
    }

    /// Returns true if what follows a record of this player may still be on its way: the record is young, or an open transaction
    /// holds records of the player back.
    fn is_pending(&self, player_id: &str, at_ms: i64) -> bool {
        self.is_young(at_ms) || self.published.may_be_held(player_id)
    }

    /// Reads one collection in batches and examines every document.
    async fn scan(&self, source: Source, tally: &mut Tally) -> Result<()> {
        let size = if source == Source::Accounts { ACCOUNTS_AT_ONCE } else { DOCUMENTS_AT_ONCE };
        let mut batches = self.books.collection(source).batches(self.scope(source, None), size).await?;
        while let Some(documents) = batches.next().await? {
            // A long read would otherwise leave more and more events in flight.
            self.published.update_if_due(self.books.now_ms()).await?;
            self.examine(source, &documents, tally).await?;
        }
        Ok(())
    }

    async fn examine(&self, source: Source, documents: &[Document], tally: &mut Tally) -> Result<()> {
        match source {
            Source::Accounts => self.examine_accounts(documents, tally).await,
            Source::Ledger => self.examine_rows(documents, tally).await,
            Source::Intents => {
                self.examine_intents(documents, tally);
                Ok(())
            }
            Source::Bets => self.examine_bets(documents, tally).await,
            Source::History => self.examine_history(documents, tally).await,
        }
    }

    /// Examines the records that were open at the mark, except those that the scan reads anyway. Returns their number.
    async fn examine_open(&self, tally: &mut Tally) -> Result<u64> {
        let open = &self.from.open;
        let mut is_row_missing = false;
        for source in [Source::Ledger, Source::Intents, Source::Bets, Source::History] {
            let ids = ids_of(open, source);
            for ids in ids.chunks(DOCUMENTS_AT_ONCE as usize) {
                let mut found = by_id(self.books.collection(source), ids).await?;
                if source == Source::Ledger {
                    // A decision that is still only in its account's tail has no row yet.
                    for id in ids.iter().filter(|id| !found.contains_key(*id)) {
                        tally.keep_open(Subject::Document(source, id.clone()));
                        is_row_missing = true;
                    }
                }
                found.retain(|_, document| self.is_before_mark(source, document));
                let documents: Vec<Document> = found.into_values().collect();
                self.examine(source, &documents, tally).await?;
            }
        }
        for subject in open {
            match subject {
                Subject::Order(sequence) => {
                    let line = self.provider.line(*sequence).await?;
                    self.examine_orders(line.as_slice(), tally).await?;
                }
                // It may be the event of a row that is still missing.
                Subject::Event(id) if is_row_missing && !self.published.has(id) => {
                    tally.keep_open(subject.clone());
                }
                _ => {}
            }
        }
        let is_before = |topic, partition, offset| !self.published.is_in_window(topic, partition, offset);
        self.examine_places(open, is_before, tally).await?;
        Ok(u64::try_from(open.len()).unwrap_or(u64::MAX))
    }

    /// Reads all suspects that may be none again after a pause, and drops those that agree now.
    async fn examine_again(&self, tally: &mut Tally) -> Result<()> {
        let subjects = tally.unconfirmed();
        if subjects.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(self.recheck_after).await;
        self.published.update(self.books.now_ms()).await?;
        let mut again = Tally::unbounded();
        self.examine_places(&subjects, |_, _, _| true, &mut again).await?;
        for source in Source::ALL {
            for ids in ids_of(&subjects, source).chunks(ACCOUNTS_AT_ONCE as usize) {
                let found = by_id(self.books.collection(source), ids).await?;
                let documents: Vec<Document> = found.into_values().collect();
                self.examine(source, &documents, &mut again).await?;
            }
        }
        for subject in subjects {
            match subject {
                Subject::Order(sequence) => {
                    let line = self.provider.line(sequence).await?;
                    self.examine_orders(line.as_slice(), &mut again).await?;
                }
                Subject::Mail(sequence) => self.examine_mails(&[sequence], &mut again).await?,
                Subject::Bucket { level, start_s } => {
                    self.examine_bucket(level, start_s, &mut again).await?;
                }
                Subject::Document(..) | Subject::Record { .. } | Subject::Event(_) => {}
            }
        }
        tally.keep_confirmed(again);
        Ok(())
    }
}

/// Returns the ids of the documents of one collection.
fn ids_of(subjects: &BTreeSet<Subject>, source: Source) -> Vec<String> {
    let ids = subjects.iter().filter_map(|subject| match subject {
        Subject::Document(of, id) if *of == source => Some(id.clone()),
        _ => None,
    });
    ids.collect()
}

/// Decodes documents. One that cannot be decoded is a suspect of `check`.
fn decode_all<T: DeserializeOwned>(
    source: Source,
    check: CheckId,
    documents: &[Document],
    tally: &mut Tally,
) -> Vec<T> {
    let mut decoded = Vec::with_capacity(documents.len());
    for document in documents {
        match decode(document) {
            Ok(document) => decoded.push(document),
            Err(what) => {
                tally.expect_none(check, &Subject::Document(source, id_of(document)), Some(what));
            }
        }
    }
    decoded
}

/// Fetches the published pay table of a game.
async fn pay_table(sources: &Sources, game: Game) -> Result<PayTable> {
    let url = format!("{}/api/v1/games/{game}/pay-table", sources.gateway_url);
    let answer = sources.http.get(&url).send().await;
    let answer = answer.map_err(|error| silent_gateway(&sources.gateway_url, error))?;
    if answer.status() != StatusCode::OK {
        bail!("the gateway answered {} to GET {url}", answer.status());
    }
    answer.json().await.with_context(|| format!("the answer to GET {url} is not a pay table"))
}

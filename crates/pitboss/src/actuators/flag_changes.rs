//! Signed records of the changes of the armed faults, so that Sentry shows with an issue what changed just before it.
//!
//! The file holds what was noted last and what a receiver has not taken yet, so a restart of the supervisor neither loses nor
//! repeats a change. A change that is sent again has the same id. The number of waiting changes is bounded, and a receiver that
//! does not answer delays no fault.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use faults::Armed;
use futures::future::join_all;
use runtime::Layout;
use runtime::layout::write_private;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::receipts::arming;

mod record;
mod webhook;

use record::{Action, Author, Change};
pub(super) use webhook::Webhook;
use webhook::{PostError, Receiver};

/// Largest number of changes that wait for a receiver, which takes as many at once. A further one displaces the oldest.
const WAITING_MAX: usize = 100;
/// Pause after the first failure. Each further one doubles it, up to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Author of a change of the flag file, which does not say who it was.
const OPERATOR: &str = "operator";
/// Author of the end of a fault whose time is over.
const EXPIRY: &str = "expiry";

/// Arming of a fault as it was noted last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Noted {
    arming: String,
    expires_at_ms: Option<i64>,
}

/// Content of the file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    /// The armed faults by name.
    armed: BTreeMap<String, Noted>,
    /// Id of the last change.
    last_id: i64,
    /// Changes that a receiver has not taken yet, the oldest first, by the receiver's name.
    waiting: BTreeMap<String, VecDeque<Change>>,
}

/// The changes of the armed faults, in memory and in the file.
pub(super) struct FlagChanges<R = Webhook> {
    path: PathBuf,
    flag_file: PathBuf,
    content: RefCell<Content>,
    receivers: Vec<R>,
    /// Wakes the senders.
    noted: watch::Sender<u64>,
    is_loss_logged: Cell<bool>,
    pause_min: Duration,
}

impl<R: Receiver> FlagChanges<R> {
    /// Continues the file of an earlier supervisor.
    pub(super) fn open(layout: &Layout, receivers: Vec<R>) -> Self {
        let path = layout.flag_changes_file();
        let text = std::fs::read(&path).unwrap_or_default();
        let mut content: Content = serde_json::from_slice(&text).unwrap_or_default();
        content.waiting.retain(|name, _| receivers.iter().any(|receiver| receiver.name() == name));
        let (flag_file, noted) = (layout.faults_file(), watch::Sender::new(0));
        let (content, is_loss_logged, pause_min) = (RefCell::new(content), Cell::new(false), PAUSE_MIN);
        Self { path, flag_file, content, receivers, noted, is_loss_logged, pause_min }
    }

    /// Compares the armed faults with those that were noted last, and notes each difference for every receiver.
    pub(super) fn note(&self, armed: &[Armed], now_ms: i64) {
        let now: BTreeMap<String, Noted> =
            armed.iter().map(|armed| (armed.id.as_str().to_owned(), Noted::of(armed))).collect();
        {
            let mut content = self.content.borrow_mut();
            if content.armed == now {
                return;
            }
            let changed = differences(&content.armed, &now, self.changed_at_ms(now_ms), now_ms);
            for (action, flag, author, at_ms) in changed {
                // In microseconds, so that ids grow even if the file is lost.
                content.last_id = now_ms.saturating_mul(1_000).max(content.last_id.saturating_add(1));
                let change = Change::new(action, content.last_id, at_ms, Author::named(author), flag);
                for receiver in &self.receivers {
                    let waiting = content.waiting.entry(receiver.name().to_owned()).or_default();
                    if waiting.len() >= WAITING_MAX {
                        waiting.pop_front();
                        self.log_loss(receiver.name());
                    }
                    waiting.push_back(change.clone());
                }
            }
            content.armed = now;
        }
        self.write();
        self.noted.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Sends to each receiver what it has not taken. It never returns.
    pub(super) async fn send(&self) {
        join_all(self.receivers.iter().map(|receiver| self.send_to(receiver))).await;
        std::future::pending::<()>().await;
    }

    async fn send_to(&self, receiver: &R) -> Infallible {
        let (name, mut noted, mut failures) = (receiver.name(), self.noted.subscribe(), 0_u32);
        loop {
            // Before the reading, so that a change that is noted during it wakes the next wait.
            noted.mark_unchanged();
            let waiting = self.waiting(name);
            if waiting.is_empty() {
                if noted.changed().await.is_err() {
                    return std::future::pending().await; // The sender is a part of this value.
                }
                continue;
            }
            match receiver.post(&waiting).await {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!("changes of faults reach {name} again");
                    }
                    failures = 0;
                    self.forget(name, &waiting);
                }
                Err(PostError::Refused(reason)) => {
                    tracing::error!("{name} refused changes of faults, which are not sent again: {reason}");
                    self.forget(name, &waiting);
                }
                Err(PostError::NotUp) => tokio::time::sleep(self.pause_min).await,
                Err(PostError::Failed(reason)) => {
                    failures = failures.saturating_add(1);
                    if failures == 1 {
                        tracing::warn!("changes of faults do not reach {name} and are sent again: {reason}");
                    }
                    tokio::time::sleep(pause_after(failures, self.pause_min)).await;
                }
            }
        }
    }

    /// Logs the first loss only.
    fn log_loss(&self, name: &str) {
        if !self.is_loss_logged.replace(true) {
            tracing::warn!("{name} takes no changes of faults: of {WAITING_MAX} the oldest are dropped");
        }
    }

    fn waiting(&self, name: &str) -> Vec<Change> {
        self.content.borrow().waiting.get(name).into_iter().flatten().cloned().collect()
    }

    fn forget(&self, name: &str, taken: &[Change]) {
        if let Some(waiting) = self.content.borrow_mut().waiting.get_mut(name) {
            waiting.retain(|change| !taken.contains(change));
        }
        self.write();
    }

    fn write(&self) {
        let written = serde_json::to_vec_pretty(&*self.content.borrow()).map_err(anyhow::Error::from);
        let written = written.and_then(|text| Ok(write_private(&self.path, &text)?));
        if let Err(error) = written {
            tracing::error!("cannot write the changes of faults: {error}");
        }
    }

    /// Time of the last change of the flag file, which is before any effect of it. The present, if the file is missing.
    fn changed_at_ms(&self, now_ms: i64) -> i64 {
        let modified = std::fs::metadata(&self.flag_file).and_then(|metadata| metadata.modified());
        let since = modified.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        since.and_then(|since| i64::try_from(since.as_millis()).ok()).map_or(now_ms, |at| at.min(now_ms))
    }
}

impl Noted {
    fn of(armed: &Armed) -> Self {
        Self { arming: arming(armed), expires_at_ms: armed.expires_at_ms }
    }
}

/// Action, fault, author, and time.
type Difference = (Action, String, &'static str, i64);

/// The differences between two states, the oldest first.
fn differences(
    before: &BTreeMap<String, Noted>,
    after: &BTreeMap<String, Noted>,
    changed_at_ms: i64,
    now_ms: i64,
) -> Vec<Difference> {
    let ended = before.iter().filter(|(flag, _)| !after.contains_key(*flag)).map(|(flag, noted)| {
        let expired_at_ms = noted.expires_at_ms.filter(|at_ms| *at_ms <= now_ms);
        let (author, at_ms) = expired_at_ms.map_or((OPERATOR, changed_at_ms), |at_ms| (EXPIRY, at_ms));
        (Action::Deleted, flag.clone(), author, at_ms)
    });
    let armed = after.iter().filter_map(|(flag, noted)| match before.get(flag) {
        None => Some((Action::Created, flag.clone(), OPERATOR, changed_at_ms)),
        Some(known) if known != noted => Some((Action::Updated, flag.clone(), OPERATOR, changed_at_ms)),
        Some(_) => None,
    });
    let mut all: Vec<Difference> = ended.chain(armed).collect();
    all.sort_by_key(|(.., at_ms)| *at_ms);
    all
}

fn pause_after(failures: u32, pause_min: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    pause_min.saturating_mul(1 << doublings).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests;

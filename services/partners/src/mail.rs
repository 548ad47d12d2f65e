//! Mailbox: the e-mails that arrived over SMTP, in order.
//!
//! All e-mails are on disk. Memory holds the newest ones, up to a limit in bytes. Evicted e-mails are counted, so that a reader
//! never takes a part for the whole.

pub mod http;
pub mod smtp;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::now_epoch_ms;
use crate::journal::{Journal, JournalError};

/// E-mail, as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Number in order of arrival: 1, 2, 3.
    pub sequence: u64,
    /// Sender of the envelope, empty for a bounce.
    pub from: String,
    /// Recipients of the envelope.
    pub to: Vec<String>,
    /// `Message-ID` header, without its brackets.
    pub message_id: Option<String>,
    /// `Subject` header, not decoded.
    pub subject: Option<String>,
    /// Headers and body. Bytes that are not UTF-8 become replacement characters.
    pub raw: String,
    /// Time of acceptance.
    pub received_at_epoch_ms: i64,
}

/// Mailbox. Clones share their state.
#[derive(Debug, Clone)]
pub struct Mailbox {
    state: Arc<Mutex<State>>,
}

/// Part of the mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Messages {
    /// E-mails, oldest first.
    pub messages: Vec<Mail>,
    /// Number of the oldest e-mails that are only on disk and are not returned.
    pub dropped: u64,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    newest: Newest,
}

/// Newest e-mails, up to a limit in bytes.
#[derive(Debug)]
struct Newest {
    mails: VecDeque<Mail>,
    bytes: usize,
    bytes_max: usize,
    /// Sequence of the newest e-mail.
    last: u64,
}

impl Newest {
    fn with_limit(bytes_max: usize) -> Self {
        Self { mails: VecDeque::new(), bytes: 0, bytes_max, last: 0 }
    }

    fn push(&mut self, mail: Mail) {
        self.last = mail.sequence;
        self.bytes = self.bytes.saturating_add(mail.size_bytes());
        self.mails.push_back(mail);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.mails.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.size_bytes());
        }
    }

    fn dropped(&self) -> u64 {
        self.last.saturating_sub(u64::try_from(self.mails.len()).unwrap_or(u64::MAX))
    }
}

impl Mail {
    /// Returns the approximate size in memory, which is also the least size in an answer.
    fn size_bytes(&self) -> usize {
        let texts = [Some(&self.raw), Some(&self.from), self.message_id.as_ref(), self.subject.as_ref()];
        let texts = texts.into_iter().flatten().chain(&self.to).map(String::len);
        texts.fold(std::mem::size_of::<Self>(), usize::saturating_add)
    }
}

impl Mailbox {
    /// Opens the mailbox. Memory holds at most `kept_bytes_max` bytes of e-mails.
    pub fn open(path: &Path, kept_bytes_max: usize) -> Result<Self, JournalError> {
        let mut newest = Newest::with_limit(kept_bytes_max);
        let journal = Journal::open(path, |_, mail| newest.push(mail))?;
        Ok(Self { state: Arc::new(Mutex::new(State { journal, newest })) })
    }

    /// Stores an e-mail, which is on disk when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// When the e-mail could not be stored, so it was not accepted.
    pub fn store(&self, from: &str, to: &[String], content: &[u8]) -> Result<u64, JournalError> {
        let raw = String::from_utf8_lossy(content).into_owned();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = state.newest.last.saturating_add(1);
        let without_brackets = |id: String| id.trim_start_matches('<').trim_end_matches('>').to_owned();
        let mail = Mail {
            sequence,
            from: from.to_owned(),
            to: to.to_vec(),
            message_id: header(&raw, "message-id").map(without_brackets),
            subject: header(&raw, "subject"),
            raw,
            received_at_epoch_ms: now_epoch_ms(),
        };
        state.journal.append(&mail)?;
        state.newest.push(mail);
        Ok(sequence)
    }

    /// Returns the e-mails after `since`, at most `limit`. They have at most `bytes_max`, but the first is always returned.
    #[must_use]
    pub fn since(&self, since: u64, limit: usize, bytes_max: usize) -> Messages {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let from = state.newest.mails.partition_point(|mail| mail.sequence <= since);
        let mut bytes = 0_usize;
        let fits = |mail: &&Mail| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(mail.size_bytes());
            is_first || bytes <= bytes_max
        };
        let messages = state.newest.mails.range(from..).take(limit).take_while(fits).cloned().collect();
        Messages { messages, dropped: state.newest.dropped() }
    }
}

/// Returns the first header with that name, with folded lines joined.
fn header(raw: &str, name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in raw.lines() {
        if let Some(unfolded) = value.as_mut() {
            if !line.starts_with([' ', '\t']) {
                break;
            }
            unfolded.push(' ');
            unfolded.push_str(line.trim());
        } else if line.is_empty() {
            break;
        } else if let Some((found, rest)) = line.split_once(':')
            && found.eq_ignore_ascii_case(name)
        {
            value = Some(rest.trim().to_owned());
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_unfolded_and_body_is_ignored() {
        let raw = "Subject: A big\r\n  win\r\nMessage-ID: <x@y>\r\n\r\nX-Late: no\r\n";
        assert_eq!(header(raw, "subject").as_deref(), Some("A big win"));
        assert_eq!(header(raw, "MESSAGE-ID").as_deref(), Some("<x@y>"));
        assert_eq!(header(raw, "x-late"), None);
    }

    #[test]
    fn evicted_mails_are_counted_after_restart() {
        const MAILS: u64 = 100;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail.jsonl");
        let content = format!("Subject: x\r\n\r\n{}\r\n", "y".repeat(1_000));
        let mailbox = Mailbox::open(&path, 20_000).unwrap();
        for n in 1..=MAILS {
            assert_eq!(mailbox.store("a@b", &["c@d".to_owned()], content.as_bytes()).unwrap(), n);
        }
        let all = mailbox.since(0, 1_000, usize::MAX);
        let held: usize = all.messages.iter().map(Mail::size_bytes).sum();
        assert!(held <= 20_000, "{held} bytes");
        assert_eq!(all.dropped + all.messages.len() as u64, MAILS);
        assert_eq!(all.messages.last().map(|mail| mail.sequence), Some(MAILS));
        assert_eq!(all.messages[0].sequence, all.dropped + 1);

        let page = mailbox.since(all.dropped, 1_000, 3_000);
        assert_eq!(page.messages, all.messages[..2], "as many as fit");
        assert_eq!(mailbox.since(MAILS - 1, 10, 1).messages.len(), 1, "the first e-mail is always returned");
        drop(mailbox);
        let again = Mailbox::open(&path, 20_000).unwrap();
        assert_eq!(again.since(0, 1_000, usize::MAX), all);
        assert_eq!(again.store("a@b", &[], b"").unwrap(), MAILS + 1);
    }
}

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

use crate::card::now_epoch_ms;
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
    shelf: Arc<Mutex<Shelf>>,
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
struct Shelf {
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
    fn up_to(bytes_max: usize) -> Self {
        Self { mails: VecDeque::new(), bytes: 0, bytes_max, last: 0 }
    }

    fn push(&mut self, mail: Mail) {
        self.last = mail.sequence;
        self.bytes = self.bytes.saturating_add(mail.weight());
        self.mails.push_back(mail);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.mails.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.weight());
        }
    }

    fn dropped(&self) -> u64 {
        self.last.saturating_sub(u64::try_from(self.mails.len()).unwrap_or(u64::MAX))
    }
}

impl Mail {
    /// Returns the approximate size in memory, which is also the least size in an answer.
    fn weight(&self) -> usize {
        let texts = [Some(&self.raw), Some(&self.from), self.message_id.as_ref(), self.subject.as_ref()];
        let texts = texts.into_iter().flatten().chain(&self.to).map(String::len);
        texts.fold(std::mem::size_of::<Self>(), usize::saturating_add)
    }
}

impl Mailbox {
    /// Opens the mailbox. Memory holds at most `kept_bytes_max` bytes of e-mails.
    pub fn open(path: &Path, kept_bytes_max: usize) -> Result<Self, JournalError> {
        let mut newest = Newest::up_to(kept_bytes_max);
        let journal = Journal::open(path, |_, mail| newest.push(mail))?;
        Ok(Self { shelf: Arc::new(Mutex::new(Shelf { journal, newest })) })
    }

    /// Keeps an e-mail, which is on disk when this returns. Blocks on the disk.
    ///
    /// # Errors
    /// When the e-mail could not be kept, so it was not accepted.
    pub fn keep(&self, from: &str, to: &[String], content: &[u8]) -> Result<u64, JournalError> {
        let raw = String::from_utf8_lossy(content).into_owned();
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = shelf.newest.last.saturating_add(1);
        let bare = |id: String| id.trim_start_matches('<').trim_end_matches('>').to_owned();
        let mail = Mail {
            sequence,
            from: from.to_owned(),
            to: to.to_vec(),
            message_id: header(&raw, "message-id").map(bare),
            subject: header(&raw, "subject"),
            raw,
            received_at_epoch_ms: now_epoch_ms(),
        };
        shelf.journal.append(&mail)?;
        shelf.newest.push(mail);
        Ok(sequence)
    }

    /// Returns the e-mails after `since`, at most `limit`. They have at most `bytes_max`, but the first is always returned.
    #[must_use]
    pub fn since(&self, since: u64, limit: usize, bytes_max: usize) -> Messages {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let from = shelf.newest.mails.partition_point(|mail| mail.sequence <= since);
        let mut bytes = 0_usize;
        let fits = |mail: &&Mail| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(mail.weight());
            is_first || bytes <= bytes_max
        };
        let messages = shelf.newest.mails.range(from..).take(limit).take_while(fits).cloned().collect();
        Messages { messages, dropped: shelf.newest.dropped() }
    }
}

/// Returns the first header with that name, with folded lines joined.
fn header(raw: &str, name: &str) -> Option<String> {
    let mut value: Option<String> = None;
    for line in raw.lines() {
        if let Some(so_far) = value.as_mut() {
            if !line.starts_with([' ', '\t']) {
                break;
            }
            so_far.push(' ');
            so_far.push_str(line.trim());
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
    fn headers_are_found_folded_and_never_in_the_body() {
        let raw = "Subject: A big\r\n  win\r\nMessage-ID: <x@y>\r\n\r\nX-Late: no\r\n";
        assert_eq!(header(raw, "subject").as_deref(), Some("A big win"));
        assert_eq!(header(raw, "MESSAGE-ID").as_deref(), Some("<x@y>"));
        assert_eq!(header(raw, "x-late"), None);
    }

    #[test]
    fn the_oldest_mails_leave_memory_and_are_counted_also_after_a_restart() {
        const MAILS: u64 = 100;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail.jsonl");
        let content = format!("Subject: x\r\n\r\n{}\r\n", "y".repeat(1_000));
        let mailbox = Mailbox::open(&path, 20_000).unwrap();
        for n in 1..=MAILS {
            assert_eq!(mailbox.keep("a@b", &["c@d".to_owned()], content.as_bytes()).unwrap(), n);
        }
        let all = mailbox.since(0, 1_000, usize::MAX);
        let held: usize = all.messages.iter().map(Mail::weight).sum();
        assert!(held <= 20_000, "{held} bytes");
        assert_eq!(all.dropped + all.messages.len() as u64, MAILS);
        assert_eq!(all.messages.last().map(|mail| mail.sequence), Some(MAILS));
        assert_eq!(all.messages[0].sequence, all.dropped + 1);

        let page = mailbox.since(all.dropped, 1_000, 3_000);
        assert_eq!(page.messages, all.messages[..2], "as many as fit");
        assert_eq!(mailbox.since(MAILS - 1, 10, 1).messages.len(), 1, "never none while there are some");
        drop(mailbox);
        let again = Mailbox::open(&path, 20_000).unwrap();
        assert_eq!(again.since(0, 1_000, usize::MAX), all);
        assert_eq!(again.keep("a@b", &[], b"").unwrap(), MAILS + 1);
    }
}

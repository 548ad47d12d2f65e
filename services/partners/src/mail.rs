//! The mail box: what arrived over SMTP, in order, on disk.

pub mod http;
pub mod smtp;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::card::now_epoch_ms;
use crate::journal::{Journal, JournalError};

/// One mail, as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// 1, 2, 3, in order of arrival.
    pub sequence: u64,
    /// The envelope's sender; empty for a bounce.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The `Message-ID` header, without its brackets.
    pub message_id: Option<String>,
    /// The `Subject` header as it was written.
    pub subject: Option<String>,
    /// Headers and body; bytes that are not UTF-8 are shown as replacement characters.
    pub raw: String,
    /// When it was accepted.
    pub received_at_epoch_ms: i64,
}

/// The mail box; clones are the same one.
#[derive(Debug, Clone)]
pub struct Mailbox {
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug)]
struct Shelf {
    journal: Journal,
    mails: Vec<Mail>,
}

impl Mailbox {
    /// Opens the mail box.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let (journal, mails) = Journal::open::<Mail>(path)?;
        Ok(Self { shelf: Arc::new(Mutex::new(Shelf { journal, mails })) })
    }

    /// Keeps a mail; when this returns, it is on disk. Blocks for it.
    ///
    /// # Errors
    /// When it could not be kept; then it was not accepted.
    pub fn keep(&self, from: &str, to: &[String], content: &[u8]) -> Result<u64, JournalError> {
        let raw = String::from_utf8_lossy(content).into_owned();
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = u64::try_from(shelf.mails.len()).unwrap_or(u64::MAX).saturating_add(1);
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
        shelf.mails.push(mail);
        Ok(sequence)
    }

    /// At most `limit` mails after `since`.
    #[must_use]
    pub fn since(&self, since: u64, limit: usize) -> Vec<Mail> {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = usize::try_from(since).unwrap_or(usize::MAX);
        shelf.mails.iter().skip(skipped).take(limit).cloned().collect()
    }
}

/// The first header of that name, folded lines joined.
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
}

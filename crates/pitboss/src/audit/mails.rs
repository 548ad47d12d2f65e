//! Pass over the e-mails that arrived at partners: each is about a notification, and arrived no more often than it was attempted.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use store::bson::doc;

use super::bets::found;
use super::books::{between, by_id, has_any};
use super::documents::Notification;
use super::report::CheckId;
use super::statement::Provider;
use super::tally::{Subject, Tally, Verdict};
use super::window::CLOCKS_DIFFER_MS_MAX;
use super::{Auditor, DOCUMENTS_AT_ONCE, rules};

/// E-mail that arrived. Its content is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Mail {
    /// Number in order of arrival: 1, 2, 3.
    pub sequence: u64,
    /// `Message-ID` header, without its brackets.
    pub message_id: Option<String>,
    /// Time of acceptance, in milliseconds since the epoch.
    pub received_at_epoch_ms: i64,
}

impl Mail {
    /// Returns the id of its notification. `None`: its Message-ID is not `<event>.<channel>@<domain>`.
    #[must_use]
    pub fn notification_id(&self) -> Option<String> {
        // A long one may be on its own line, below the name of its header, and then keeps its brackets.
        let message_id = self.message_id.as_ref()?.trim_matches([' ', '<', '>']);
        let (local, _domain) = message_id.rsplit_once('@')?;
        let (event_id, channel) = local.rsplit_once('.')?;
        Some(format!("{}/{channel}", unescaped(event_id)?))
    }
}

/// Returns an id whose unusual bytes are each written as `_` and two hex digits.
fn unescaped(text: &str) -> Option<String> {
    let mut pieces = text.split('_');
    let mut id = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (hex, rest) = piece.split_at_checked(2)?;
        id.push(u8::from_str_radix(hex, 16).ok()?);
        id.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(id).ok()
}

/// Part of the mailbox.
#[derive(Debug, Deserialize)]
struct Page {
    messages: Vec<Mail>,
}

/// E-mails that partners holds in memory, the newest ones up to a limit in bytes.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    mails: BTreeMap<u64, Mail>,
    /// Numbers of the e-mails about each notification, in order of arrival.
    copies: HashMap<String, Vec<u64>>,
}

impl Mailbox {
    async fn read(partners: &Provider) -> Result<Self> {
        let (mut mailbox, mut since) = (Self::default(), 0_u64);
        loop {
            let query = [("since", since.to_string())];
            let page: Option<Page> = partners.get("/mail/v1/messages", &query).await?;
            let mails = page.context("partners has no mailbox")?.messages;
            let Some(last) = mails.last() else { return Ok(mailbox) };
            since = last.sequence;
            mails.into_iter().for_each(|mail| mailbox.add(mail));
        }
    }

    fn add(&mut self, mail: Mail) {
        if let Some(id) = mail.notification_id() {
            self.copies.entry(id).or_default().push(mail.sequence);
        }
        self.mails.insert(mail.sequence, mail);
    }

    /// Returns the e-mails about the same notification that arrived before this one.
    fn earlier(&self, mail: &Mail) -> Vec<&Mail> {
        let copies = mail.notification_id().and_then(|id| self.copies.get(&id));
        let earlier = copies.into_iter().flatten().filter(|sequence| **sequence < mail.sequence);
        earlier.filter_map(|sequence| self.mails.get(sequence)).collect()
    }
}

impl Auditor {
    /// Reads the whole mailbox, so that a repetition of an older e-mail is found, and examines the e-mails in scope and those that
    /// were open at the mark.
    pub(super) async fn read_mailbox(&mut self, tally: &mut Tally) -> Result<()> {
        self.mailbox = Mailbox::read(&self.provider).await?;
        // Partners stamps e-mails with its own clock.
        let since_ms = self.since_ms.map(|since_ms| since_ms.saturating_sub(CLOCKS_DIFFER_MS_MAX));
        let is_examined = |mail: &&Mail| {
            since_ms.is_none_or(|since_ms| mail.received_at_epoch_ms >= since_ms)
                || self.from.open.contains(&Subject::Mail(mail.sequence))
        };
        let sequences: Vec<u64> =
            self.mailbox.mails.values().filter(is_examined).map(|mail| mail.sequence).collect();
        self.examine_mails(&sequences, tally).await
    }

    /// Examines e-mails. Their notifications are read after them: an attempt is stored before its e-mail is handed over.
    pub(super) async fn examine_mails(&self, sequences: &[u64], tally: &mut Tally) -> Result<()> {
        for sequences in sequences.chunks(DOCUMENTS_AT_ONCE as usize) {
            let mails: Vec<&Mail> =
                sequences.iter().filter_map(|sequence| self.mailbox.mails.get(sequence)).collect();
            let mut ids: Vec<String> = mails.iter().filter_map(|mail| mail.notification_id()).collect();
            ids.sort_unstable();
            ids.dedup();
            let notifications = by_id(&self.books.notifications, &ids).await?;
            for mail in mails {
                let id = mail.notification_id();
                let notification = id.map_or(Ok(None), |id| found::<Notification>(&notifications, &id));
                let earlier = self.mailbox.earlier(mail);
                let verdict = match notification {
                    Ok(notification) => rules::mail(mail, &earlier, notification.as_ref()),
                    Err(what) => Verdict::Differs(what),
                };
                let others: Vec<Subject> = earlier.iter().map(|mail| Subject::Mail(mail.sequence)).collect();
                tally.record(CheckId::Mails, &Subject::Mail(mail.sequence), verdict, &others);
            }
        }
        Ok(())
    }

    /// Returns true if notification had sent an e-mail before this audit. An e-mail arrives before that is stored, so in an audit
    /// of a later time it may be one of before that time.
    pub(super) async fn has_mails(&self) -> Result<bool> {
        if self.since_ms.is_some() {
            return Ok(false);
        }
        let mut sent = between("ended_at", None, Some(self.started_ms));
        sent.extend(doc! { "state": "sent" });
        has_any(&self.books.notifications, sent).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(sequence: u64, message_id: &str) -> Mail {
        Mail { sequence, message_id: Some(message_id.to_owned()), received_at_epoch_ms: 0 }
    }

    #[test]
    fn message_id_names_its_notification() {
        let of = |message_id: &str| mail(1, message_id).notification_id();
        assert_eq!(of("5f0c-1.email@x.invalid").as_deref(), Some("5f0c-1/email"));
        assert_eq!(of("a_3e_40_3cb.email@x.invalid").as_deref(), Some("a>@<b/email"));
        assert_eq!(of("a_c3_a4.email@x").as_deref(), Some("aä/email"));
        assert_eq!(of(" <5f0c-1.email@x.invalid>").as_deref(), Some("5f0c-1/email"));
        for other in ["", "5f0c-1.email", "5f0c-1@x.invalid", "a_.email@x", "a_zz.email@x", "a_c3.email@x"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn earlier_mails_are_those_of_its_notification() {
        let mut mailbox = Mailbox::default();
        for (sequence, id) in [(1, "a.email@x"), (2, "b.email@x"), (3, "a.email@y"), (4, "a.email@x")] {
            mailbox.add(mail(sequence, id));
        }
        let earlier = |sequence: u64| -> Vec<u64> {
            mailbox.earlier(&mailbox.mails[&sequence]).iter().map(|mail| mail.sequence).collect()
        };
        assert_eq!([earlier(1), earlier(2), earlier(3), earlier(4)], [vec![], vec![], vec![1], vec![1, 3]]);
    }
}

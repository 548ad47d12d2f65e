//! E-mails: their identity and their form. A kind whose text has rules has its own module. Other texts are in their handlers.

use std::fmt::Write as _;

/// Channel of e-mails. Together with the event's id it identifies one notification.
pub const CHANNEL: &str = "email";

/// An e-mail without its recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Message-ID. It depends only on the event, so every repetition has the same one.
    pub message_id: String,
    /// Subject.
    pub subject: String,
    /// Body, with salutation and signature.
    pub body: String,
}

impl Mail {
    /// Builds the e-mail about an event to the player with this name. `domain` is that of the Message-ID.
    #[must_use]
    pub fn new(event_id: &str, domain: &str, display_name: &str, subject: &str, text: &str) -> Self {
        Self {
            message_id: message_id(event_id, domain),
            subject: subject.to_owned(),
            body: format!("Hello {display_name},\n\n{text}\n\nPitboss\n"),
        }
    }
}

/// Builds `<event.channel@domain>`. An id may have any visible character. All except letters, digits and `-` are written in hex.
fn message_id(event_id: &str, domain: &str) -> String {
    let mut local = String::with_capacity(event_id.len());
    for byte in event_id.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            local.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(local, "_{byte:02x}").ok();
        }
    }
    format!("<{local}.{CHANNEL}@{domain}>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_id_is_stable_unique_and_escaped() {
        assert_eq!(message_id("5f0c-1", "x.invalid"), "<5f0c-1.email@x.invalid>");
        assert_eq!(message_id("a>@<b", "x.invalid"), "<a_3e_40_3cb.email@x.invalid>");
        assert_ne!(message_id("a_", "x"), message_id("a_5f", "x"));
    }

    #[test]
    fn body_has_salutation_and_signature() {
        let mail = Mail::new("5f0c-1", "x.invalid", "Ada", "You won", "It is on your balance already.");
        assert_eq!(mail.subject, "You won");
        assert_eq!(mail.body, "Hello Ada,\n\nIt is on your balance already.\n\nPitboss\n");
    }
}

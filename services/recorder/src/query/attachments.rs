//! Attachments of an event or of feedback: files that its SDK sent in the same envelope, by name and size.
//!
//! Their bytes are in the raw envelope.

use serde::Serialize;

use crate::protocol::{
    envelope::{Envelope, Item},
    event::LABEL_BYTES_MAX,
    fields::Fields,
};

/// Item type of an attachment.
const ATTACHMENT: &str = "attachment";
/// Largest number of attachments that are listed.
const ATTACHMENTS_MAX: usize = 20;

/// One attachment.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Attachment {
    /// Empty when the SDK sent no name.
    pub(crate) filename: String,
    pub(crate) content_type: Option<String>,
    pub(crate) bytes: u64,
}

/// Returns the attachments of an envelope.
pub(super) fn attachments(envelope: &Envelope<'_>) -> Vec<Attachment> {
    let items = envelope.items.iter().filter(|item| item.item_type() == ATTACHMENT);
    items.take(ATTACHMENTS_MAX).map(attachment).collect()
}

fn attachment(item: &Item<'_>) -> Attachment {
    let headers = Fields::parse(item.headers_raw);
    Attachment {
        filename: headers.short("filename", LABEL_BYTES_MAX).unwrap_or_default(),
        content_type: headers.short("content_type", LABEL_BYTES_MAX),
        bytes: item.payload_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_have_name_type_and_size() {
        let body = concat!(
            "{}\n{\"type\":\"event\"}\n{}\n",
            "{\"type\":\"attachment\",\"length\":3,\"filename\":\"a.txt\",\"content_type\":\"text/plain\"}\na\nb\n",
            "{\"type\":\"attachment\",\"length\":0}\n\n",
        );
        let listed = attachments(&Envelope::parse(body.as_bytes()).expect("an envelope"));
        let text = Attachment {
            filename: "a.txt".to_owned(),
            content_type: Some("text/plain".to_owned()),
            bytes: 3,
        };
        assert_eq!(listed, [text, Attachment { filename: String::new(), content_type: None, bytes: 0 }]);
        let many = "{\"type\":\"attachment\",\"length\":0}\n\n".repeat(ATTACHMENTS_MAX + 1);
        let body = format!("{{}}\n{many}");
        let listed = attachments(&Envelope::parse(body.as_bytes()).expect("an envelope"));
        assert_eq!(listed.len(), ATTACHMENTS_MAX);
    }
}

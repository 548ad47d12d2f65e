//! What the `sentry` crate captured (errors, logs, metrics), rewritten on its way out: scrubbed whole, and with the
//! sampling context of its trace in the envelope's header.

use std::time::Duration;

use sentry::protocol::EnvelopeItem;
use sentry::{Envelope, TransportOptions};
use serde_json::{Map, Value};
use std::sync::Arc;

use super::{Writer, lose_all};
use crate::bridge::encode::{Header, SDK, now_rfc3339};
use crate::drop_count::{Category, Reason};
use crate::dsc::{Dsc, FIELDS};
use crate::report::DSC_CONTEXT;
use crate::scrub;
use crate::transport::{Outgoing, Transport};

/// The SDK's transport: hands everything to the writer.
pub(crate) struct SdkTransport {
    pub(crate) writer: Writer,
    pub(crate) transport: Arc<Transport>,
}

/// Gives the SDK [`SdkTransport`].
pub(crate) struct Factory(pub(crate) Arc<SdkTransport>);

impl sentry::TransportFactory for Factory {
    fn create_transport_with_options(&self, _: TransportOptions) -> Arc<dyn sentry::Transport> {
        Arc::clone(&self.0) as Arc<dyn sentry::Transport>
    }
}

impl sentry::Transport for SdkTransport {
    fn send_envelope(&self, envelope: Envelope) {
        self.writer.captured(envelope);
    }

    fn flush(&self, timeout: Duration) -> bool {
        let begun = std::time::Instant::now();
        self.writer.flush(timeout) && self.transport.flush(timeout.saturating_sub(begun.elapsed()))
    }
}

pub(super) fn losses_of(envelope: &Envelope) -> Vec<(Category, u64)> {
    envelope
        .items()
        .map(|item| match item {
            EnvelopeItem::Event(_) => (Category::Error, 1),
            EnvelopeItem::Transaction(_) => (Category::Transaction, 1),
            EnvelopeItem::SessionUpdate(_) | EnvelopeItem::SessionAggregates(_) => (Category::Session, 1),
            EnvelopeItem::MonitorCheckIn(_) => (Category::Monitor, 1),
            EnvelopeItem::Attachment(attachment) => (Category::Attachment, amount(attachment.buffer.len())),
            EnvelopeItem::ItemContainer(items) if items.ty() == "log" => {
                (Category::LogItem, amount(items.len()))
            }
            EnvelopeItem::ItemContainer(items) => (Category::TraceMetric, amount(items.len())),
            _ => (Category::Default, 1),
        })
        .collect()
}

fn amount(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

pub(super) fn write(envelope: &Envelope, transport: &Transport) {
    let losses = losses_of(envelope);
    let mut bytes = Vec::new();
    if envelope.to_writer(&mut bytes).is_err() {
        lose_all(Reason::InternalSdkError, &losses);
        return;
    }
    let event_id = envelope.uuid().map(|id| id.as_simple().to_string()).unwrap_or_default();
    let mut items = Items { body: Vec::with_capacity(bytes.len()), trace: None, losses: Vec::new() };
    for ((header, payload), (category, quantity)) in Split(&bytes).zip(losses) {
        items.add(header, payload, (category, quantity), transport);
    }
    let Some((category, _)) = items.losses.first().copied() else { return };
    let header =
        Header { event_id: &event_id, sent_at: now_rfc3339(), sdk: SDK, trace: items.trace.as_ref() };
    match serde_json::to_vec(&header) {
        Ok(mut out) => {
            out.push(b'\n');
            out.append(&mut items.body);
            transport.submit(Outgoing::new(category, out, items.losses));
        }
        Err(_) => lose_all(Reason::InternalSdkError, &items.losses),
    }
}

/// The items that go out, as they are collected.
struct Items {
    body: Vec<u8>,
    trace: Option<Dsc>,
    losses: Vec<(Category, u64)>,
}

impl Items {
    fn add(
        &mut self,
        mut header: Map<String, Value>,
        payload: &[u8],
        loss: (Category, u64),
        transport: &Transport,
    ) {
        let Ok(mut document) = serde_json::from_slice::<Value>(payload) else {
            // what cannot be read cannot be scrubbed, and what was not scrubbed does not leave
            lose_all(Reason::Filtered, &[loss]);
            return;
        };
        if header.get("type").is_some_and(|kind| kind == "client_report") {
            transport.report_losses_of_sdk(&document);
            return;
        }
        if transport.is_limited(loss.0) {
            lose_all(Reason::RatelimitBackoff, &[loss]);
            return;
        }
        self.trace = take_dsc(&mut document).or(self.trace.take());
        scrub::json(&mut document);
        let Ok(text) = serde_json::to_vec(&document) else {
            lose_all(Reason::InternalSdkError, &[loss]);
            return;
        };
        header.insert("length".to_owned(), text.len().into());
        if let Ok(mut line) = serde_json::to_vec(&header) {
            self.body.append(&mut line);
            self.body.push(b'\n');
            self.body.extend_from_slice(&text);
            self.body.push(b'\n');
            self.losses.push(loss);
        }
    }
}

/// The sampling context that [`crate::report::LinkErrors`] put aside.
fn take_dsc(event: &mut Value) -> Option<Dsc> {
    let Value::Object(fields) = event.get_mut("contexts")?.as_object_mut()?.remove(DSC_CONTEXT)? else {
        return None;
    };
    let mut dsc = Dsc::default();
    for (name, value) in fields {
        if let (true, Value::String(value)) = (FIELDS.contains(&name.as_str()), value) {
            dsc.set(&name, &value);
        }
    }
    Some(dsc)
}

/// The items of an envelope as the SDK writes it: after the header line, a header line and a payload each.
struct Split<'a>(&'a [u8]);

impl<'a> Split<'a> {
    fn line(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let line = self.0.get(..end)?;
        self.0 = self.0.get(end + 1..)?;
        Some(line)
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = (Map<String, Value>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = self.line()?;
        let mut header: Map<String, Value> = serde_json::from_slice(line).ok()?;
        if !header.contains_key("type") {
            // the envelope's own header, the first time
            line = self.line()?;
            header = serde_json::from_slice(line).ok()?;
        }
        let stated =
            header.get("length").and_then(Value::as_u64).and_then(|length| usize::try_from(length).ok());
        let length = stated.or_else(|| self.0.iter().position(|byte| *byte == b'\n'))?;
        let payload = self.0.get(..length)?;
        self.0 = self.0.get(length + 1..).unwrap_or_default();
        Some((header, payload))
    }
}

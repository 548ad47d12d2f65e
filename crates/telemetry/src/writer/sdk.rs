//! Encoder for envelopes of the `sentry` crate (errors, logs, metrics). It scrubs them completely, renames attributes to the
//! conventions' names, links logs to their span, and puts the sampling context into the envelope's header.

use std::time::Duration;

use sentry::protocol::EnvelopeItem;
use sentry::protocol::client_report::{Category as Lost, LossSource as _};
use sentry::{Envelope, TransportOptions};
use serde_json::{Map, Value};
use std::sync::Arc;

use super::{Writer, lose_all};
use crate::attributes::{FLAG_CONTEXT, PARENT_SPAN_ID, wire};
use crate::drop_count::{Category, Reason, lose_named};
use crate::exception_group;
use crate::sampling_context::{DSC_CONTEXT, DSC_PREFIX, SamplingContext};
use crate::scrub;
use crate::transaction::encode::{Header, SDK, now_rfc3339};
use crate::transport::{Outgoing, Transport};

/// The SDK's transport, which passes everything to the writer.
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
        let started = std::time::Instant::now();
        self.writer.flush(timeout) && self.transport.flush(timeout.saturating_sub(started.elapsed()))
    }
}

/// Losses of an item in the categories that Sentry counts (logs and metrics in bytes, too).
type Losses = Vec<(Category, u64)>;

fn losses_of_item(item: &EnvelopeItem) -> Losses {
    let category = |loss: Lost| match loss {
        Lost::Error => Category::Error,
        Lost::Session => Category::Session,
        Lost::Transaction => Category::Transaction,
        Lost::Span => Category::Span,
        Lost::Attachment => Category::Attachment,
        Lost::Monitor => Category::Monitor,
        Lost::LogItem => Category::LogItem,
        Lost::LogByte => Category::LogByte,
        Lost::TraceMetric => Category::TraceMetric,
        Lost::TraceMetricByte => Category::TraceMetricByte,
        _ => Category::Default,
    };
    // A lost report is not a loss, and `Items::add` or `lose_envelope` counts what it reports
    item.losses()
        .filter(|loss| loss.reason.is_none())
        .map(|loss| (category(loss.category), loss.quantity))
        .collect()
}

/// Counts the whole envelope as lost. Losses in its client reports keep their own reasons.
pub(super) fn lose_envelope(reason: Reason, envelope: &Envelope) {
    for item in envelope.items() {
        if let EnvelopeItem::ClientReport(report) = item {
            if let Ok(report) = serde_json::to_value(report) {
                count_losses_of_sdk(&report);
            }
        } else {
            lose_all(reason, &losses_of_item(item));
        }
    }
}

/// Counts losses that the SDK reported before anything reached this crate.
fn count_losses_of_sdk(report: &Value) {
    for entry in report.get("discarded_events").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let quantity = entry.get("quantity").and_then(Value::as_u64).unwrap_or(0);
        lose_named(text("reason"), text("category"), quantity);
    }
}

/// Returns true if it contains a category with priority. Everything else can wait.
pub(super) fn goes_first(envelope: &Envelope) -> bool {
    envelope.items().any(|item| losses_of_item(item).iter().any(|(category, _)| category.goes_first()))
}

pub(super) fn write(envelope: &Envelope, transport: &Transport) {
    let losses: Vec<Losses> = envelope.items().map(losses_of_item).collect();
    let mut bytes = Vec::new();
    if envelope.to_writer(&mut bytes).is_err() {
        lose_envelope(Reason::InternalSdkError, envelope);
        return;
    }
    let event_id = envelope.uuid().map(|id| id.as_simple().to_string()).unwrap_or_default();
    let mut items = Items { body: Vec::with_capacity(bytes.len()), trace: None, losses: Vec::new() };
    let left =
        each_item(&bytes, losses, |header, payload, losses| items.add(header, payload, losses, transport));
    left.iter().for_each(|losses| lose_all(Reason::InternalSdkError, losses));
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

/// The items to send, while they are collected.
struct Items {
    body: Vec<u8>,
    trace: Option<SamplingContext>,
    losses: Vec<(Category, u64)>,
}

impl Items {
    fn add(&mut self, mut header: Map<String, Value>, payload: &[u8], losses: Losses, transport: &Transport) {
        let Ok(mut document) = serde_json::from_slice::<Value>(payload) else {
            // Unreadable data cannot be scrubbed, and unscrubbed data must not leave the process
            lose_all(Reason::EventProcessor, &losses);
            return;
        };
        let kind = header.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind == "client_report" {
            count_losses_of_sdk(&document);
            return;
        }
        if losses.first().is_some_and(|(category, _)| transport.is_limited(*category)) {
            lose_all(Reason::RatelimitBackoff, &losses);
            return;
        }
        if matches!(kind, "log" | "trace_metric") {
            entries(&mut document);
        }
        self.trace = take_dsc(&mut document).or(self.trace.take());
        remove_type_of_flags(&mut document);
        exception_group::promote(&mut document);
        scrub::json(&mut document);
        let Ok(text) = serde_json::to_vec(&document) else {
            lose_all(Reason::InternalSdkError, &losses);
            return;
        };
        header.insert("length".to_owned(), text.len().into());
        let Ok(mut line) = serde_json::to_vec(&header) else {
            lose_all(Reason::InternalSdkError, &losses);
            return;
        };
        self.body.append(&mut line);
        self.body.push(b'\n');
        self.body.extend_from_slice(&text);
        self.body.push(b'\n');
        self.losses.extend(losses);
    }
}

/// Calls `add` with each item and its losses. Returns the losses of items that cannot be told apart any more, which are not sent.
fn each_item(
    bytes: &[u8],
    losses: Vec<Losses>,
    mut add: impl FnMut(Map<String, Value>, &[u8], Losses),
) -> Vec<Losses> {
    let mut losses = losses.into_iter();
    for (header, payload) in Split(bytes) {
        add(header, payload, losses.next().unwrap_or_default());
    }
    losses.collect()
}

/// Gives logs and metrics the names of the wire, and logs the `span_id` field of the specification.
fn entries(document: &mut Value) {
    let entries = document.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten();
    for entry in entries.filter_map(Value::as_object_mut) {
        let Some(Value::Object(attributes)) = entry.get_mut("attributes").map(Value::take) else { continue };
        let span_id = attributes.get(PARENT_SPAN_ID).and_then(|id| id.get("value")).cloned();
        let attributes = attributes.into_iter().map(|(name, attribute)| named_for_wire(&name, attribute));
        let attributes: Map<String, Value> = attributes.collect();
        entry.insert("attributes".to_owned(), Value::Object(attributes));
        if let Some(span_id) = span_id {
            entry.entry("span_id").or_insert(span_id);
        }
    }
}

/// Converts the SDK's wrapped attribute (`{"value", "type"}`) to its name and type on the wire.
fn named_for_wire(name: &str, mut attribute: Value) -> (String, Value) {
    let Some(value) = attribute.get_mut("value").map(Value::take) else {
        return (name.to_owned(), attribute);
    };
    let (name, value) = wire::of_field(name, value);
    (name.into_owned(), serde_json::json!({ "type": wire::type_of(&value), "value": value }))
}

/// Removes the type that the SDK writes into contexts that it does not know. Other SDKs send the flags without a type.
fn remove_type_of_flags(event: &mut Value) {
    let flags = event.get_mut("contexts").and_then(|contexts| contexts.get_mut(FLAG_CONTEXT));
    if let Some(Value::Object(flags)) = flags {
        flags.remove("type");
    }
}

/// Removes the sampling context that [`crate::report::LinkErrors`] stored in the event, and returns it.
fn take_dsc(event: &mut Value) -> Option<SamplingContext> {
    let Value::Object(fields) = event.get_mut("contexts")?.as_object_mut()?.remove(DSC_CONTEXT)? else {
        return None;
    };
    let mut dsc = SamplingContext::default();
    for (name, value) in fields {
        if let (Some(name), Value::String(value)) = (name.strip_prefix(DSC_PREFIX), value) {
            dsc.set(name, &value);
        }
    }
    Some(dsc)
}

/// The items of an envelope in the SDK's format: after the envelope's header line, a header line and a payload for each.
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
            // The first line is the envelope's own header
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_behind_a_broken_header_are_counted() {
        let losses =
            || vec![vec![(Category::Error, 1)], vec![(Category::LogItem, 2), (Category::LogByte, 80)]];
        let whole = "{}\n{\"type\":\"event\",\"length\":2}\n{}\n{\"type\":\"log\",\"length\":2}\n{}\n";
        for (bytes, sent) in [(whole.len(), 2), (whole.len() - 5, 1), (4, 0)] {
            let mut added = Vec::new();
            let left = each_item(&whole.as_bytes()[..bytes], losses(), |_, _, losses| added.push(losses));
            assert_eq!(added.len(), sent, "{bytes} bytes");
            assert_eq!([added, left].concat(), losses(), "each is sent or counted");
        }
    }
}

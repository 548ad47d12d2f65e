//! Client reports, which report lost telemetry to Sentry.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Outgoing;
use crate::drop_count::{Category, Drop};

#[derive(Serialize)]
struct Report {
    timestamp: f64,
    discarded_events: Vec<Discarded>,
}

#[derive(Serialize)]
struct Discarded {
    reason: &'static str,
    category: &'static str,
    quantity: u64,
}

/// The item (header and payload) that reports losses by reason, category and quantity, or `None` without losses.
#[must_use]
pub fn client_report(losses: impl IntoIterator<Item = (&'static str, &'static str, u64)>) -> Option<String> {
    let discarded_events: Vec<Discarded> = losses
        .into_iter()
        .map(|(reason, category, quantity)| Discarded { reason, category, quantity })
        .collect();
    if discarded_events.is_empty() {
        return None;
    }
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    let body = serde_json::to_string(&Report { timestamp, discarded_events }).ok()?;
    Some(format!("{{\"type\":\"client_report\",\"length\":{}}}\n{body}\n", body.len()))
}

/// The envelope that reports these losses. Losing it is not counted as a loss.
pub(super) fn envelope(drops: &[Drop]) -> Option<Outgoing> {
    let losses = drops
        .iter()
        .filter_map(|drop| Some((drop.reason.reported_as()?, drop.category.as_str(), drop.quantity)));
    let text = format!("{{}}\n{}", client_report(losses)?);
    Some(Outgoing::new(Category::Default, text.into_bytes(), Vec::new()))
}

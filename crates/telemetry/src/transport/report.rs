//! Client reports: telling Sentry what it did not get.

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

/// The envelope that reports these losses. It is no loss itself.
pub(super) fn envelope(drops: &[Drop]) -> Option<Outgoing> {
    let discarded_events: Vec<Discarded> = drops
        .iter()
        .filter_map(|drop| {
            let reason = drop.reason.reported_as()?;
            Some(Discarded { reason, category: drop.category.as_str(), quantity: drop.quantity })
        })
        .collect();
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    let body = serde_json::to_string(&Report { timestamp, discarded_events }).ok()?;
    let text = format!("{{}}\n{{\"type\":\"client_report\",\"length\":{}}}\n{body}\n", body.len());
    Some(Outgoing::new(Category::Default, text.into_bytes(), Vec::new()))
}

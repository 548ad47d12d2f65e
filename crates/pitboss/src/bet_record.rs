//! A bet as a console publishes it, past the gateway: a key, one line of JSON, and headers.

use bus::RawRecord;
use contracts::EventType;
use contracts::topics::Topic;
use serde_json::json;

/// Trace headers of one record, in their order.
pub(crate) type TraceHeaders = Vec<(&'static str, Vec<u8>)>;

/// A bet of a registered player on the slot machine.
pub(crate) fn place_bet(
    player_id: &str,
    stake_minor: i64,
    currency: &str,
    headers: TraceHeaders,
) -> RawRecord {
    let data = json!({
        "playerId": player_id,
        "game": "slots",
        "stake": { "minor": stake_minor.to_string(), "currency": currency },
    });
    let event = json!({ "type": EventType::PlaceBet.as_str(), "data": data });
    RawRecord {
        topic: Topic::BetsCommands.name().to_owned(),
        key: Some(player_id.to_owned().into()),
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
        value: event.to_string().into(),
    }
}

//! Alerts and the conditions of rules, as the last evaluation stored them.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::schema::{signed, unsigned};
use crate::{
    domain::alerting::{ALERTS_MAX, Alert},
    journal::IndexEntry,
    protocol::alert_state::StoredAlerts,
};

/// Stores what an envelope of the recorder itself changed.
pub(super) fn apply(transaction: &Transaction<'_>, indexed: &IndexEntry) -> rusqlite::Result<()> {
    for stored in &indexed.digest.alerts {
        let seq = signed(indexed.seq);
        for alert in &stored.alerts {
            let sql = "INSERT OR REPLACE INTO alerts VALUES (?1, ?2, ?3)";
            transaction.prepare_cached(sql)?.execute(params![signed(alert.id), seq, json(alert)?])?;
        }
        // The alerts have rows of their own.
        let conditions =
            StoredAlerts { upto: stored.upto, conditions: stored.conditions.clone(), alerts: Vec::new() };
        let sql = "INSERT OR REPLACE INTO alert_conditions VALUES (1, ?1, ?2)";
        transaction.prepare_cached(sql)?.execute(params![seq, json(&conditions)?])?;
    }
    Ok(())
}

/// Deletes what was stored before this `seq`, which the journal has no more.
pub(super) fn purge(transaction: &Transaction<'_>, floor: u64) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM alerts WHERE changed_seq < ?1", [signed(floor)])?;
    transaction.execute("DELETE FROM alert_conditions WHERE changed_seq < ?1", [signed(floor)])?;
    Ok(())
}

/// Returns the newest alerts, newest first.
pub fn alerts(connection: &Connection) -> rusqlite::Result<Vec<Alert>> {
    let mut statement = connection.prepare_cached("SELECT alert FROM alerts ORDER BY id DESC LIMIT ?1")?;
    let rows = statement.query_map([signed(ALERTS_MAX as u64)], |row| row.get::<_, String>(0))?;
    rows.map(|text| parse(&text?)).collect()
}

/// Returns one alert.
pub fn alert(connection: &Connection, id: u64) -> rusqlite::Result<Option<Alert>> {
    let mut statement = connection.prepare_cached("SELECT alert FROM alerts WHERE id = ?1")?;
    let found: Option<String> = statement.query_row([signed(id)], |row| row.get(0)).optional()?;
    found.map(|text| parse(&text)).transpose()
}

/// Returns the conditions of the last evaluation that changed something, and the `seq` at which they are stored.
pub fn conditions(connection: &Connection) -> rusqlite::Result<Option<(u64, StoredAlerts)>> {
    let mut statement = connection.prepare_cached("SELECT changed_seq, conditions FROM alert_conditions")?;
    let found: Option<(i64, String)> =
        statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((seq, text)) = found else { return Ok(None) };
    Ok(Some((unsigned(seq), parse(&text)?)))
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> rusqlite::Result<T> {
    let text = rusqlite::types::Type::Text;
    serde_json::from_str(json)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, text, error.into()))
}

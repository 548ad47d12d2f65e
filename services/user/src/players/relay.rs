//! The relay: each entry of an outbox, in order, is copied to `user.changes`, published and acknowledged; then only is
//! it taken out. A time-out of a publish is never taken for an acknowledgement, so an event may go out twice, under the
//! same id and with the same bytes.

use contracts::{Classify, ErrorClass};
use store::StoreError;
use store::bson::{DateTime, doc};

use super::Players;
use super::document::{ChangeRow, OutboxEntry, PlayerDocument};
use crate::error::UserError;

impl Players {
    /// Relays what the caller has just read or written. A failure is left to the sweeper: the change is stored, and
    /// its caller gets the answer.
    pub(super) async fn relay_or_leave(&self, player: &PlayerDocument) {
        if let Err(error) = self.relay(player).await {
            if error.class() == ErrorClass::Transient {
                tracing::warn!(player.id = player.id, error = %error, "an event of a player waits for the sweeper");
            } else {
                telemetry::report(&error, &[("operation", "relay")]);
            }
        }
    }

    /// Relays everything in the outbox as read.
    pub(super) async fn relay(&self, player: &PlayerDocument) -> Result<(), UserError> {
        let mut entries: Vec<&OutboxEntry> = player.outbox.iter().collect();
        entries.sort_by_key(|entry| entry.seq);
        let mut acknowledged = Vec::with_capacity(entries.len());
        let mut failed = None;
        for entry in entries {
            if let Err(error) = self.relay_entry(&player.id, entry).await {
                failed = Some(error);
                break;
            }
            acknowledged.push(entry.seq);
        }
        self.trim(&player.id, acknowledged).await?;
        failed.map_or(Ok(()), Err)
    }

    async fn relay_entry(&self, player_id: &str, entry: &OutboxEntry) -> Result<(), UserError> {
        let row = ChangeRow::new(player_id, entry);
        match self.changes.insert_one(&row).await {
            Ok(()) => {}
            Err(StoreError::DuplicateKey { .. }) => {
                // Copied before, by somebody who then died or is doing the same now. Anything else is a contradiction.
                let known = self.changes.find_one(doc! { "_id": &row.id }).await?;
                if known.is_none_or(|known| known.entry != *entry) {
                    return Err(UserError::Corrupt("a change is stored twice, and differently"));
                }
            }
            Err(error) => return Err(error.into()),
        }
        self.producer.publish(&entry.event()?).await?;
        Ok(())
    }

    /// Takes out what was seen acknowledged, leaving the version alone.
    async fn trim(&self, player_id: &str, acknowledged: Vec<i64>) -> Result<(), UserError> {
        if !acknowledged.is_empty() {
            let out = doc! { "$pull": { "outbox": { "seq": { "$in": acknowledged } } } };
            self.players.update_one(doc! { "_id": player_id }, out).await?;
        }
        // A second write, and only if nothing came meanwhile: a mark too many costs the sweeper one look.
        let empty = doc! { "_id": player_id, "outbox": { "$size": 0 } };
        self.players.update_one(empty, doc! { "$unset": { "oldest_event_at": "" } }).await?;
        Ok(())
    }

    /// Players with an entry that is older than that, the oldest first, but for those in `parked` and those whose document this
    /// version cannot read.
    pub(super) async fn waiting(
        &self,
        age_ms: u32,
        parked: &[String],
        limit: u32,
    ) -> Result<Vec<PlayerDocument>, StoreError> {
        // Whose clock is wrong does not matter: what is old is old by the store's.
        self.mongo.ping().await?;
        let now_ms = self.mongo.now().timestamp_millis();
        let before = DateTime::from_millis(now_ms.saturating_sub(i64::from(age_ms)));
        let old = doc! { "oldest_event_at": { "$lte": before }, "_id": { "$nin": parked } };
        self.players.find_readable(old, doc! { "oldest_event_at": 1 }, limit).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use store::mongo::Mongo;

    use super::super::{Registration, alone};

    const HOUR_MS: i64 = 3_600_000;

    #[tokio::test]
    async fn what_is_old_is_old_by_the_stores_clock_and_not_by_ours() {
        let mongo = Mongo::connect(&testkit::patient::mongo("relay")).await.unwrap();
        let asked = Registration::new("ada@players.example".into(), "12345678".into(), "Ada".into(), "EUR");
        // Nobody hears of it, so it waits.
        alone::players(&mongo).await.register("k", &asked.unwrap(), None).await.unwrap();
        for off_ms in [HOUR_MS, -HOUR_MS] {
            let wrong = alone::players(&mongo.clone().with_clock_off_by(off_ms)).await;
            let old = wrong.waiting(1_800_000, &[], 10).await.unwrap();
            assert!(old.is_empty(), "half an hour has not passed; the clock is off by {off_ms} ms");
            testkit::eventually("what waits", Duration::from_secs(60), || async {
                wrong.waiting(0, &[], 10).await.unwrap().pop()
            })
            .await;
        }
        mongo.drop_database().await.unwrap();
    }
}

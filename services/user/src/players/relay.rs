//! Publishes outbox entries in order. Each one is copied to `user.changes` and published. It is removed only after the
//! acknowledgement. A time-out does not count as one, so an event may be published twice, with the same id and bytes.

use contracts::{Classify, ErrorClass};
use store::StoreError;
use store::bson::{DateTime, doc};

use super::Players;
use super::document::{ChangeRow, OutboxEntry, PlayerDocument};
use crate::error::UserError;

impl Players {
    /// Relays a player's outbox as just read or written. After a failure the sweeper retries: the change is stored, and the
    /// caller gets the answer.
    pub(super) async fn relay_or_log(&self, player: &PlayerDocument) {
        if let Err(error) = self.relay(player).await {
            if error.class() == ErrorClass::Transient {
                tracing::warn!(player.id = player.id, error = %error, "the sweeper has to publish an event");
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
                // Copied before, by a process that died or one that relays now. A different entry is a contradiction.
                let known = self.changes.find_one(doc! { "_id": &row.id }).await?;
                if known.is_none_or(|known| known.entry != *entry) {
                    return Err(UserError::Corrupt("a change has two different entries"));
                }
            }
            Err(error) => return Err(error.into()),
        }
        self.producer.publish(&entry.event()?).await?;
        Ok(())
    }

    /// Removes acknowledged entries. The version stays the same.
    async fn trim(&self, player_id: &str, acknowledged: Vec<i64>) -> Result<(), UserError> {
        if !acknowledged.is_empty() {
            let out = doc! { "$pull": { "outbox": { "seq": { "$in": acknowledged } } } };
            self.players.update_one(doc! { "_id": player_id }, out).await?;
        }
        // A second write, only for an outbox that is still empty. A mark that stays by mistake costs the sweeper one read.
        let empty = doc! { "_id": player_id, "outbox": { "$size": 0 } };
        self.players.update_one(empty, doc! { "$unset": { "oldest_event_at": "" } }).await?;
        Ok(())
    }

    /// Returns players with an entry older than `age_ms`, oldest first. It leaves out `parked` players and documents that this
    /// version cannot read.
    pub(super) async fn with_due_events(
        &self,
        age_ms: u32,
        parked: &[String],
        limit: u32,
    ) -> Result<Vec<PlayerDocument>, StoreError> {
        // Age is measured by the store's clock, so that a wrong local clock does not matter.
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

    use super::super::{Registration, offline};
    use super::*;
    use crate::domain::Change;

    const HOUR_MS: i64 = 3_600_000;

    #[tokio::test]
    async fn age_of_events_is_measured_by_store_clock() {
        let mongo = Mongo::connect(&testkit::long_timeouts::mongo("relay")).await.unwrap();
        let registration =
            Registration::new("ada@players.example".into(), "12345678".into(), "Ada".into(), "EUR");
        // The broker is unreachable, so the event stays in the outbox.
        offline::players(&mongo).await.register("k", &registration.unwrap(), None).await.unwrap();
        for off_ms in [HOUR_MS, -HOUR_MS] {
            let wrong = offline::players(&mongo.clone().with_clock_off_by(off_ms)).await;
            let old = wrong.with_due_events(1_800_000, &[], 10).await.unwrap();
            assert!(old.is_empty(), "half an hour has not passed; the clock is off by {off_ms} ms");
            testkit::eventually("the pending event", Duration::from_secs(60), || async {
                wrong.with_due_events(0, &[], 10).await.unwrap().pop()
            })
            .await;
        }
        mongo.drop_database().await.unwrap();
    }

    /// The store's time goes back by one hour between two changes, as that of a new primary may.
    #[tokio::test]
    async fn times_of_changes_increase_when_clock_goes_back() {
        let mongo = Mongo::connect(&testkit::long_timeouts::mongo("relay")).await.unwrap();
        let registration =
            Registration::new("ada@players.example".into(), "12345678".into(), "Ada".into(), "EUR").unwrap();
        let ahead = offline::players(&mongo.clone().with_clock_off_by(HOUR_MS)).await;
        let id = ahead.register("k", &registration, None).await.unwrap();
        let players = offline::players(&mongo).await;
        for (key, email_enabled) in [("off", false), ("on", true)] {
            let change = Change::Preferences { email_enabled };
            testkit::eventually("the change to be stored", Duration::from_secs(60), || async {
                players.change(&id, key, &change).await.ok()
            })
            .await;
        }
        let player = players.find(&id).await.unwrap().unwrap();
        let times: Vec<i64> = player.outbox.iter().map(|entry| entry.at.timestamp_millis()).collect();
        let first = player.registered_at.timestamp_millis();
        assert_eq!(times, [first, first + 1, first + 2]);
        assert_eq!(player.last_at.map(DateTime::timestamp_millis), Some(first + 2));
        let later = DateTime::from_millis(first + 60_000);
        assert_eq!(player.next_at(later), later, "the store's time counts again");
        let of_older_build = PlayerDocument { last_at: None, outbox: Vec::new(), ..player };
        assert_eq!(of_older_build.next_at(DateTime::from_millis(0)).timestamp_millis(), first + 1);
        mongo.drop_database().await.unwrap();
    }
}

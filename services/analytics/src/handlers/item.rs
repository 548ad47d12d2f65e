//! Fault `analytics.fan-out`: a new fact of a settled bet is published again as one record per item, and analytics reads them.
//!
//! It guarantees that a record is fanned out at most once, that an item is never fanned out, and that no figure contains items.

use async_trait::async_trait;
use bus::{Delivery, Handle, HandlerError, Outcome, Producer};
use contracts::proto::analytics::v1::FactItem;
use contracts::{Event, ids};
use faults::{FaultId, Faults};

use crate::domain::fact::{Fact, Kind};

const SOURCE: &str = "/pitboss/analytics";

/// Publishes the items.
pub(crate) struct FanOut {
    pub(crate) producer: Producer,
    pub(crate) faults: Faults,
}

impl FanOut {
    /// Publishes the items of a new fact while the fault is active. A failure loses the rest of the items and is only logged,
    /// because the fact itself is stored.
    pub(crate) async fn publish_items(&self, cause: &Event, fact: &Fact) {
        let Some(count) = self.items(cause, fact) else { return };
        for number in 1..=count {
            let item = item(cause, fact, number, count);
            if let Err(error) = self.producer.publish(&item).await {
                tracing::warn!(error = %error, "the items of a fact were not published from item {number} of {count} on");
                return;
            }
        }
    }

    /// Returns the number of items into which the fault splits this fact.
    fn items(&self, cause: &Event, fact: &Fact) -> Option<i32> {
        if fact.kind != Kind::BetSettled {
            return None;
        }
        let (player_id, key) = (Some(fact.player_id.as_str()), Some(cause.id.as_str()));
        let values = chassis::faults::active(&self.faults, FaultId::AnalyticsFanOut, player_id, key)?;
        i32::try_from(values.get("items")).ok()
    }
}

fn item(cause: &Event, fact: &Fact, number: i32, count: i32) -> Event {
    let (player_id, fact_id) = (fact.player_id.clone(), cause.id.to_string());
    let message = FactItem { player_id, fact_id, number, count };
    Event { id: ids::item_id(&cause.id, number), ..Event::follower(&cause.id, SOURCE, message) }
}

/// Reads an item and does nothing with it.
#[derive(Debug)]
pub(super) struct OnItem;

#[async_trait]
impl Handle<FactItem> for OnItem {
    async fn handle(&self, _: &FactItem, _: &Delivery) -> Result<Outcome, HandlerError> {
        Ok(Outcome::Applied)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use contracts::Topic;

    use super::*;

    #[test]
    fn items_of_a_fact_have_ids_of_their_own() {
        let message =
            FactItem { player_id: "p-1".to_owned(), fact_id: "e-0".to_owned(), number: 1, count: 1 };
        let cause = Event::follower(&"e-1".parse().unwrap(), "test", message);
        let fact = Fact {
            kind: Kind::BetSettled,
            player_id: "p-1".to_owned(),
            game: "slots".to_owned(),
            currency: "EUR".to_owned(),
            in_minor: 100,
            out_minor: 0,
            at_ms: 0,
        };
        let all: Vec<Event> = (1..=20).map(|number| item(&cause, &fact, number, 20)).collect();
        let ids: BTreeSet<&str> = all.iter().map(|event| event.id.as_str()).collect();
        assert_eq!(ids.len(), 20);
        assert_eq!(item(&cause, &fact, 7, 20).id, all[6].id, "the same item has the same id");
        assert!(all.iter().all(|event| event.event_type().topic() == Topic::AnalyticsItems));
        assert!(all.iter().all(|event| event.message.validate().is_ok()));
    }
}

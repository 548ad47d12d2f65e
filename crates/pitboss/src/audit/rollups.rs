//! Check that the rollups of analytics are the sums of the facts.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use store::bson::{Bson, DateTime, Document, doc};

use super::Auditor;
use super::books::has_any;
use super::report::CheckId;
use super::tally::{Subject, Tally, Verdict};
use super::violation::{Amount, Violation};

/// Largest number of groups in one sum: games times currencies times kinds of facts.
const GROUPS_MAX: u32 = 10_000;
/// Age up to which a mark of analytics says that a bucket is about to be summed again. Marks of a dead process are taken over
/// after about two minutes.
const MARK_AGE_MAX_MS: i64 = 300_000;

/// Length of the buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// Ten seconds.
    Slot,
    /// One minute.
    Minute,
    /// One hour.
    Hour,
}

impl Level {
    const ALL: [Self; 3] = [Self::Slot, Self::Minute, Self::Hour];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }

    const fn length_s(self) -> i64 {
        match self {
            Self::Slot => 10,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    /// Returns the start of the latest bucket that begins at this time or before.
    const fn floor_s(self, at_s: i64) -> i64 {
        at_s - at_s.rem_euclid(self.length_s())
    }

    /// Returns the start of the earliest bucket that begins at this time or later.
    const fn ceil_s(self, at_s: i64) -> i64 {
        self.floor_s(at_s + self.length_s() - 1)
    }
}

/// Sums of one game and currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    facts: i128,
    stake_minor: i128,
    payout_minor: i128,
    deposited_minor: i128,
    withdrawn_minor: i128,
}

/// Sums by game and currency.
type Groups = BTreeMap<(String, String), Sums>;

impl Auditor {
    /// Compares all levels, up to the time before which nothing is in flight. Returns how far each of them agrees, so that the next
    /// audit compares the first bucket that differs again, and all later ones.
    pub(super) async fn examine_rollups(&self, tally: &mut Tally) -> Result<BTreeMap<Level, i64>> {
        let mut agrees_to_s = BTreeMap::new();
        for level in Level::ALL {
            let (mut from_s, mut to_s) = self.range_s(level);
            agrees_to_s.insert(level, from_s.max(to_s));
            if from_s >= to_s {
                continue;
            }
            let (rollups, facts) = self.sums(level, from_s, to_s).await?;
            let count: i128 = facts.values().map(|sums| sums.facts).sum();
            tally.checked(CheckId::Rollups, u64::try_from(count).unwrap_or(0));
            if rollups == facts {
                continue;
            }
            // Halves the range until the first bucket that differs is left.
            while to_s - from_s > level.length_s() {
                let middle_s = from_s + level.floor_s((to_s - from_s) / 2);
                if middle_s == from_s {
                    break;
                }
                let (rollups, facts) = self.sums(level, from_s, middle_s).await?;
                if rollups == facts { from_s = middle_s } else { to_s = middle_s }
            }
            agrees_to_s.insert(level, from_s);
            self.examine_bucket(level, from_s, tally).await?;
        }
        Ok(agrees_to_s)
    }

    /// Compares one bucket.
    pub(super) async fn examine_bucket(&self, level: Level, start_s: i64, tally: &mut Tally) -> Result<()> {
        let to_s = start_s + level.length_s();
        let (rollups, facts) = self.sums(level, start_s, to_s).await?;
        let Some(what) = difference(&rollups, &facts) else { return Ok(()) };
        let younger = DateTime::from_millis(self.books.now_ms() - MARK_AGE_MAX_MS);
        let marked = doc! { "start_s": { "$gte": start_s, "$lt": to_s }, "marked_at": { "$gte": younger } };
        let verdict = if has_any(&self.books.dirty, marked).await? {
            Verdict::InFlight
        } else {
            Verdict::Differs(what)
        };
        tally.record(CheckId::Rollups, &Subject::Bucket { level, start_s }, verdict, &[]);
        Ok(())
    }

    /// Returns the range of whole buckets from the mark until nothing is in flight.
    fn range_s(&self, level: Level) -> (i64, i64) {
        let after_mark = || self.since_ms.map_or(0, |ms| level.ceil_s(ms.div_euclid(1_000) + 1));
        let from_s = self.from.compared_to_s.get(&level).copied().unwrap_or_else(after_mark);
        // The same range in the whole audit, or a bucket that ends during the audit would count as one that was not compared.
        let settled_ms = self.started_ms.saturating_sub(self.in_flight_ms);
        (from_s, level.floor_s(settled_ms.div_euclid(1_000)))
    }

    /// Returns true if there are facts that a check of the rollups must see.
    pub(super) async fn has_facts(&self) -> Result<bool> {
        let (from_s, to_s) = self.range_s(Level::Slot);
        has_any(&self.books.facts, doc! { "slot_s": { "$gte": from_s, "$lt": to_s } }).await
    }

    /// Returns the sums of the rollups, and then those of the facts, of the buckets that start in a range.
    async fn sums(&self, level: Level, from_s: i64, to_s: i64) -> Result<(Groups, Groups)> {
        let matched = doc! { "level": level.as_str(), "start_s": { "$gte": from_s, "$lt": to_s } };
        let sum = |field: &str| doc! { "$sum": format!("${field}") };
        let grouped = doc! {
            "_id": { "game": "$game", "currency": "$currency" },
            "facts": sum("facts"),
            "stake_minor": sum("stake_minor"),
            "payout_minor": sum("payout_minor"),
            "deposited_minor": sum("deposited_minor"),
            "withdrawn_minor": sum("withdrawn_minor"),
        };
        let pipeline = vec![doc! { "$match": matched }, doc! { "$group": grouped }];
        let rollups = all(self.books.rollups.aggregate(pipeline, GROUPS_MAX).await?)?;
        let matched = doc! { "slot_s": { "$gte": from_s, "$lt": to_s } };
        let grouped = doc! {
            "_id": { "game": "$game", "currency": "$currency", "kind": "$kind" },
            "facts": { "$sum": 1_i64 },
            "in_minor": sum("in_minor"),
            "out_minor": sum("out_minor"),
        };
        let pipeline = vec![doc! { "$match": matched }, doc! { "$group": grouped }];
        let facts = all(self.books.facts.aggregate(pipeline, GROUPS_MAX).await?)?;
        Ok((sums_of_rollups(&rollups), sums_of_facts(&facts)))
    }
}

/// Refuses an answer that may have been cut.
fn all(groups: Vec<Document>) -> Result<Vec<Document>> {
    if groups.len() >= GROUPS_MAX as usize {
        bail!("analytics has more than {GROUPS_MAX} groups, which is too many for one sum");
    }
    Ok(groups)
}

fn sums_of_rollups(groups: &[Document]) -> Groups {
    let mut sums = Groups::new();
    for group in groups {
        let added = Sums {
            facts: integer(group, "facts"),
            stake_minor: integer(group, "stake_minor"),
            payout_minor: integer(group, "payout_minor"),
            deposited_minor: integer(group, "deposited_minor"),
            withdrawn_minor: integer(group, "withdrawn_minor"),
        };
        sums.insert(key(group), added);
    }
    sums
}

fn sums_of_facts(groups: &[Document]) -> Groups {
    let mut sums = Groups::new();
    for group in groups {
        let kind = group.get_document("_id").and_then(|id| id.get_str("kind")).unwrap_or_default();
        let (in_minor, out_minor) = (integer(group, "in_minor"), integer(group, "out_minor"));
        let of = sums.entry(key(group)).or_default();
        of.facts += integer(group, "facts");
        match kind {
            "bet_settled" | "bet_reversed" => {
                of.stake_minor += in_minor;
                of.payout_minor += out_minor;
            }
            "deposit_completed" => of.deposited_minor += in_minor,
            "withdrawal_completed" => of.withdrawn_minor += out_minor,
            _ => {}
        }
    }
    sums
}

fn key(group: &Document) -> (String, String) {
    let part = |name: &str| {
        let id = group.get_document("_id").ok();
        id.and_then(|id| id.get_str(name).ok()).unwrap_or("?").to_owned()
    };
    (part("game"), part("currency"))
}

/// Reads a sum: 32 or 64 bits as its size needs, and a float if it exceeds 64 bits.
fn integer(group: &Document, field: &str) -> i128 {
    match group.get(field) {
        Some(Bson::Int32(n)) => i128::from(*n),
        Some(Bson::Int64(n)) => i128::from(*n),
        Some(Bson::Double(n)) => *n as i128,
        _ => 0,
    }
}

/// Describes the first group that differs.
fn difference(rollups: &Groups, facts: &Groups) -> Option<Violation> {
    let mut named = rollups.keys().chain(facts.keys());
    let (game, currency) = named.find(|key| rollups.get(*key) != facts.get(*key))?;
    let mut amounts = Vec::new();
    let mut of = |groups: &Groups, [stake, payout, deposits, withdrawals]: [&'static str; 4]| {
        let sums = groups.get(&(game.clone(), currency.clone())).copied().unwrap_or_default();
        let of = [
            Amount::new(stake, sums.stake_minor, currency),
            Amount::new(payout, sums.payout_minor, currency),
            Amount::new(deposits, sums.deposited_minor, currency),
            Amount::new(withdrawals, sums.withdrawn_minor, currency),
        ];
        let [stake, payout, deposits, withdrawals] = &of;
        let text = format!(
            "{} facts, stake {stake}, payout {payout}, deposits {deposits}, withdrawals {withdrawals}",
            sums.facts
        );
        amounts.extend(of);
        text
    };
    let rollups = of(rollups, ["stake", "payout", "deposits", "withdrawals"]);
    let facts = of(facts, ["stake of facts", "payout of facts", "deposits of facts", "withdrawals of facts"]);
    let what = format!("{game} {currency}: the rollups say {rollups}. The facts sum to {facts}");
    Some(Violation::of(what, amounts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Vec<Document> {
        let of = |kind: &str| doc! { "game": "slots", "currency": "EUR", "kind": kind };
        vec![
            doc! { "_id": of("bet_settled"), "facts": 3_i32, "in_minor": 300_i64, "out_minor": 500_i32 },
            doc! { "_id": of("bet_reversed"), "facts": 1_i32, "in_minor": -100_i64, "out_minor": 0_i32 },
            doc! { "_id": of("bet_rejected"), "facts": 2_i32, "in_minor": 0_i32, "out_minor": 0_i32 },
        ]
    }

    fn rollups(payout_minor: i64) -> Vec<Document> {
        let id = doc! { "game": "slots", "currency": "EUR" };
        vec![doc! {
            "_id": id, "facts": 6_i64, "stake_minor": 200_i64, "payout_minor": payout_minor,
            "deposited_minor": 0_i64, "withdrawn_minor": 0_i64,
        }]
    }

    #[test]
    fn reversals_and_rejections_sum_as_in_analytics() {
        assert_eq!(difference(&sums_of_rollups(&rollups(500)), &sums_of_facts(&facts())), None);
        let what = difference(&sums_of_rollups(&rollups(501)), &sums_of_facts(&facts())).unwrap().what;
        assert!(
            what.contains("slots EUR")
                && what.contains("payout 5.01 EUR")
                && what.contains("payout 5.00 EUR"),
            "{what}"
        );
        let missing = difference(&Groups::new(), &sums_of_facts(&facts())).unwrap().what;
        assert!(missing.contains("0 facts") && missing.contains("6 facts"), "{missing}");
    }

    #[test]
    fn ranges_consist_of_whole_buckets() {
        assert_eq!((Level::Minute.floor_s(119), Level::Minute.ceil_s(61)), (60, 120));
        assert_eq!((Level::Hour.floor_s(3_600), Level::Hour.ceil_s(3_600)), (3_600, 3_600));
    }
}

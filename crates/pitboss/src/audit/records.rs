//! Pass over the topics: every event against the records of the services that wrote it and of those that read it, and every command
//! against its end.
//!
//! A record is read before what it is compared with, because it was written after that: a decision has its row and a bet its state
//! before their event is published, and a group has decided a command before it commits the command's offset.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Result;
use bus::Record;
use contracts::{Event, EventId, EventType, Message, Topic};
use store::bson::Document;

use super::bets::found;
use super::books::{Source, by_id};
use super::documents::{Bet, Fact, Row};
use super::facts::Judged;
use super::published::TOPICS;
use super::report::CheckId;
use super::tally::{Subject, Tally, Verdict};
use super::{Auditor, event_rules};

/// Number of records whose counterparts are read at a time.
const RECORDS_AT_ONCE: usize = 1_000;

/// Record with its event.
struct Observed<'a> {
    record: &'a Record,
    event: Event,
    subject: Subject,
}

/// Places of records, by topic and partition.
type Places = BTreeMap<Topic, BTreeMap<i32, BTreeSet<i64>>>;

impl Auditor {
    /// Reads all topics from the mark to the ends that they had when the audit began, and examines their records. Of commands, only
    /// those that their group has completed.
    pub(super) async fn read_topics(&self, tally: &mut Tally) -> Result<()> {
        for (topic, group) in TOPICS {
            if let Some(group) = group {
                let unread = self.published.leave_out_unread(group, topic).await?;
                tally.in_flight(CheckId::CommandEnds, unread);
            }
            while let Some(records) = self.published.chunk(topic).await? {
                for records in records.chunks(RECORDS_AT_ONCE) {
                    self.examine_sightings(topic, records, tally);
                    self.examine_records(topic, records, tally).await?;
                }
            }
        }
        Ok(())
    }

    /// Examines single records again, by their places. Those that the broker has deleted since are left out.
    pub(super) async fn examine_places(
        &self,
        subjects: &BTreeSet<Subject>,
        is_wanted: impl Fn(Topic, i32, i64) -> bool,
        tally: &mut Tally,
    ) -> Result<()> {
        let mut places = Places::new();
        for subject in subjects {
            if let Subject::Record { topic, partition, offset } = subject
                && let Ok(topic) = topic.parse::<Topic>()
                && is_wanted(topic, *partition, *offset)
            {
                places.entry(topic).or_default().entry(*partition).or_default().insert(*offset);
            }
        }
        for (topic, places) in places {
            let records = self.published.records_at(topic, places).await?;
            for records in records.chunks(RECORDS_AT_ONCE) {
                self.examine_records(topic, records, tally).await?;
            }
        }
        Ok(())
    }

    /// Compares records with those that came before them on their topic, and keeps their events.
    fn examine_sightings(&self, topic: Topic, records: &[Record], tally: &mut Tally) {
        if !matches!(topic, Topic::BetsEvents | Topic::PaymentsEvents) {
            return;
        }
        for Observed { record, event, subject } in observed(topic, records) {
            let sighting = self.published.register(topic, record, &event);
            tally.checked(CheckId::EventContents, 1);
            if let Some(other) = sighting.other_content {
                let what = format!("{} has another content in another record", event_rules::named(&event));
                tally.lasting(CheckId::EventContents, &subject, what.into(), &[other]);
            }
            if let Message::WagerApplied(wager) = &event.message
                && sighting.is_first
            {
                tally.checked(CheckId::EventOrder, 1);
                if let Some(newer) = self.published.newer_before(topic, record, &event, wager.seq) {
                    let what = format!(
                        "{} has number {} in the account of player {}, and number {newer} was published before it",
                        event_rules::named(&event),
                        wager.seq,
                        event.player_id()
                    );
                    tally.lasting(CheckId::EventOrder, &subject, what.into(), &[]);
                }
            }
        }
    }

    async fn examine_records(&self, topic: Topic, records: &[Record], tally: &mut Tally) -> Result<()> {
        match topic {
            Topic::BetsCommands | Topic::PaymentsCommands => {
                self.examine_commands(topic, records, tally).await
            }
            _ => {
                // What cannot be read is parked by every group that reads the topic. It is not a Pitboss event.
                let observed: Vec<Observed<'_>> = observed(topic, records).collect();
                self.examine_settlements(&observed, tally).await?;
                self.examine_decisions(&observed, tally).await?;
                self.examine_void_events(&observed, tally).await?;
                self.examine_event_facts(&observed, tally).await
            }
        }
    }

    async fn examine_settlements(&self, observed: &[Observed<'_>], tally: &mut Tally) -> Result<()> {
        let of_bets: Vec<(&Observed<'_>, &str)> = observed
            .iter()
            .filter_map(|one| Some((one, event_rules::bet_of_event(&one.event.message)?)))
            .collect();
        let ids: Vec<String> = unique(of_bets.iter().map(|(_, id)| (*id).to_owned()));
        let bets = self.books.by_id(Source::Bets, &ids).await?;
        for (one, bet_id) in of_bets {
            let problem = match found::<Bet>(&bets, bet_id) {
                Ok(bet) => event_rules::settlement_event(&one.event, bet.as_ref()),
                Err(what) => Some(what),
            };
            let bet = Subject::Document(Source::Bets, bet_id.to_owned());
            let verdict = problem.map_or(Verdict::Agrees, Verdict::Differs);
            tally.record(CheckId::SettlementEvents, &one.subject, verdict, &[bet]);
        }
        Ok(())
    }

    async fn examine_decisions(&self, observed: &[Observed<'_>], tally: &mut Tally) -> Result<()> {
        let is_decision = |one: &&Observed<'_>| {
            one.event.event_type().topic() == Topic::PaymentsEvents
                && one.event.event_type() != EventType::CommandConflict
        };
        let decisions: Vec<&Observed<'_>> = observed.iter().filter(is_decision).collect();
        let key = |one: &Observed<'_>| one.event.causation_id.as_ref().map(|cause| format!("c:{cause}"));
        let rows = self.books.rows_by_key(&unique(decisions.iter().filter_map(|one| key(one)))).await?;
        for one in decisions {
            let row = key(one).and_then(|key| rows.get(&key));
            let problem = event_rules::decision_event(&one.event, &one.record.value, row);
            let others: Vec<Subject> = row.iter().map(|row| super::ledger::subject(row)).collect();
            let verdict = problem.map_or(Verdict::Agrees, Verdict::Differs);
            tally.record(CheckId::DecisionEvents, &one.subject, verdict, &others);
        }
        Ok(())
    }

    async fn examine_void_events(&self, observed: &[Observed<'_>], tally: &mut Tally) -> Result<()> {
        let key = |one: &Observed<'_>| {
            event_rules::wager_of_void(&one.event.message).map(|wager_id| format!("w:{wager_id}"))
        };
        let voids: Vec<(&Observed<'_>, String)> =
            observed.iter().filter_map(|one| Some((one, key(one)?))).collect();
        let rows = self.books.rows_by_key(&unique(voids.iter().map(|(_, key)| key.clone()))).await?;
        for (one, key) in voids {
            let row = rows.get(&key);
            let others: Vec<Subject> = row.iter().map(|row| super::ledger::subject(row)).collect();
            let verdict = event_rules::void_event(&one.event, row).map_or(Verdict::Agrees, Verdict::Differs);
            tally.record(CheckId::VoidEvents, &one.subject, verdict, &others);
        }
        Ok(())
    }

    async fn examine_event_facts(&self, observed: &[Observed<'_>], tally: &mut Tally) -> Result<()> {
        let counted: Vec<&Observed<'_>> =
            observed.iter().filter(|one| event_rules::counted(&one.event.message).is_some()).collect();
        let facts =
            by_id(&self.books.facts, &unique(counted.iter().map(|one| one.event.id.to_string()))).await?;
        let judge = |one: &&Observed<'_>| {
            let is_young = one.record.timestamp_ms.is_some_and(|at_ms| self.is_young(at_ms));
            // Only events that analytics counts are here.
            let rule = |fact: Option<&Fact>| {
                event_rules::event_fact(&one.event, fact, is_young).unwrap_or(Verdict::Agrees)
            };
            Judged::new(one.subject.clone(), Some(one.event.id.as_str()), &facts, rule)
        };
        let judged: Vec<Judged> = counted.iter().map(judge).collect();
        self.record_facts(CheckId::EventFacts, judged, tally).await
    }

    /// Examines commands that their group has completed. A command that cannot be read must be a dead letter. A group passes types
    /// that it does not handle: those of other topics.
    async fn examine_commands(&self, topic: Topic, records: &[Record], tally: &mut Tally) -> Result<()> {
        let commands: Vec<(&Record, Result<Event, EventId>)> = records
            .iter()
            .map(|record| {
                let view = record.view();
                (record, Event::decode(&view).map_err(|_| view.identity()))
            })
            .filter(|(_, event)| event_rules::is_handled(topic, event.as_ref().ok()))
            .collect();
        let (mut bet_ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for event in commands.iter().filter_map(|(_, event)| event.as_ref().ok()) {
            if topic == Topic::BetsCommands {
                bet_ids.insert(event.id.to_string());
            } else {
                keys.extend(event_rules::keys_of_ends(event));
            }
        }
        let bets = self.books.by_id(Source::Bets, &bet_ids.into_iter().collect::<Vec<_>>()).await?;
        let rows = self.rows_of_ends(&keys.into_iter().collect::<Vec<_>>()).await?;
        let is_decided =
            |event: &Result<Event, EventId>| event.as_ref().is_ok_and(|event| is_ended(event, &bets, &rows));
        if commands.iter().any(|(_, event)| !is_decided(event)) {
            self.parked.update().await?;
        }
        let group = TOPICS.iter().find(|(known, _)| *known == topic).and_then(|(_, group)| *group);
        let letter = |event: &Result<Event, EventId>| {
            group.and_then(|group| self.parked.standing(group, id_of_command(event).as_str()))
        };
        let now_ms = self.books.now_ms();
        for (record, event) in &commands {
            let name = match event {
                Ok(event) => event_rules::named(event),
                Err(id) => format!("the unreadable record {id}"),
            };
            let verdict = match event_rules::command_end(&name, is_decided(event), letter(event), now_ms) {
                Verdict::Differs(_) if self.parked.may_be_held() => Verdict::InFlight,
                verdict => verdict,
            };
            tally.record(CheckId::CommandEnds, &subject_of(topic, record), verdict, &[]);
        }
        Ok(())
    }

    /// Returns the ledger rows under any of these keys, by key. A command has several keys, so the number of rows is bounded here.
    async fn rows_of_ends(&self, keys: &[String]) -> Result<HashMap<String, Row>> {
        let mut rows = HashMap::new();
        for keys in keys.chunks(RECORDS_AT_ONCE) {
            rows.extend(self.books.rows_by_key(keys).await?);
        }
        Ok(rows)
    }
}

fn subject_of(topic: Topic, record: &Record) -> Subject {
    Subject::record(topic.name(), record.partition, record.offset)
}

/// Decodes records, and leaves out those that cannot be read.
fn observed(topic: Topic, records: &[Record]) -> impl Iterator<Item = Observed<'_>> {
    records.iter().filter_map(move |record| {
        let event = Event::decode(&record.view()).ok()?;
        Some(Observed { record, event, subject: subject_of(topic, record) })
    })
}

fn id_of_command(event: &Result<Event, EventId>) -> &EventId {
    match event {
        Ok(event) => &event.id,
        Err(id) => id,
    }
}

fn is_ended(event: &Event, bets: &HashMap<String, Document>, rows: &HashMap<String, Row>) -> bool {
    bets.contains_key(event.id.as_str())
        || event_rules::keys_of_ends(event).iter().any(|key| rows.contains_key(key))
}

/// Returns each value once, because a read returns each document once.
fn unique(values: impl Iterator<Item = String>) -> Vec<String> {
    values.collect::<BTreeSet<_>>().into_iter().collect()
}

//! Faults of analytics.

use super::{alert, scopes};
use crate::{Acts, Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static N_PLUS_ONE: Definition = Definition {
    id: FaultId::AnalyticsNPlusOne,
    acts: Acts::InService,
    services: &["analytics"],
    title: "Player metrics read each bet with a separate query",
    breaks: "While analytics handles a settled bet, it reads the ids of the player's last bets with one \
             query, and then each bet with a separate query.",
    params: &[ParamSpec {
        name: "bets_max",
        doc: "Largest number of bets that are read one by one for one record.",
        default: 100,
        min: 5,
        max: 250,
    }],
    default_scope: Scope::All,
    scopes: scopes::EVERY,
    safety: "Reads only. One record makes at most `bets_max` + 1 queries more, each with the store's \
             time-out. The figures are the same, and no player waits for them.",
    evidence: &[
        "Inside one `queue.process` of analytics: a source `db` span, then at least 5 equal consecutive `db` \
         spans under the same parent, at least 50 ms together (the rule of Sentry's N+1 detector). It needs \
         a player with about 100 bets, on a fast store with 200.",
        "These spans are in the trace of the bet itself, four Kafka hops behind the player's click.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: analytics takes longer for each bet, and its lag rises under load. Players see nothing. \
              Where: the trace of a bet ends in a staircase of equal `db` spans in analytics. Sentry opens \
              an N+1 issue for that `queue.process`. Meaning: a list is read one by one for every record. \
              The cost grows with the bets of the player. Do: compare the number of `db` spans per record \
              with the release before. Switch the fault off (`./pitboss fault off analytics.n-plus-one`). \
              See the lag of the group return to zero.",
};

pub(crate) static SLOW_AGGREGATION: Definition = Definition {
    id: FaultId::AnalyticsSlowAggregation,
    acts: Acts::InService,
    services: &["analytics"],
    title: "The summary is aggregated without an index",
    breaks: "Before analytics answers the summary of figures, it groups the collection \
             `slow_aggregation_facts`, which has no index. The store reads and compares every document of \
             it. A request that comes before the rows are written is not affected. It waits for them for \
             half a second at most.",
    params: &[],
    default_scope: Scope::All,
    scopes: scopes::PROCESS,
    safety: "The collection belongs to the fault alone. Analytics writes it when the fault is armed, until \
             one aggregation takes 700 ms, and at most 200 000 rows (about 32 MB). It drops the collection \
             ten seconds after the fault has ended, and at its next start. The result is discarded, so the \
             figures are the same.",
    evidence: &[
        "In a request of analytics, one `db` span of at least 500 ms with `db.operation.name` `aggregate` \
         and `db.collection.name` `slow_aggregation_facts`, beside the usual short ones.",
        "A log line in the same trace with the plan that the store reports for the aggregation (`COLLSCAN`), \
         or that it reports none.",
    ],
    alerts: &[alert::LATENCY_P95],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: the summary of figures answers late. Bets and payments are as fast as before. Where: in \
              the trace of `GET /api/v1/summary` one `db` span of analytics is long and has the operation \
              `aggregate`. Meaning: the aggregation has no index for its filter, so its time grows with all \
              facts instead of those of its window. Do: read the plan of the aggregation. Add the index, or \
              take the query out (here: `./pitboss fault off analytics.slow-aggregation`). The long span \
              disappears, and the figures are unchanged.",
};

pub(crate) static FAN_OUT: Definition = Definition {
    id: FaultId::AnalyticsFanOut,
    acts: Acts::InService,
    services: &["analytics"],
    title: "One record is published again as one record per item",
    breaks: "When analytics has handled a settled bet, it publishes one record for each item to the topic \
             `casino.analytics.items.v1`, and reads all of them itself.",
    params: &[ParamSpec {
        name: "items",
        doc: "Number of records that one settled bet becomes.",
        default: 20,
        min: 1,
        max: 100,
    }],
    default_scope: Scope::All,
    scopes: scopes::EVERY,
    safety: "A record is fanned out at most once, and an item never: its handler only reads it. The figures \
             do not contain items. Retention of the topic is one hour.",
    evidence: &[
        "In the trace of one bet, `items` spans `queue.publish` to `casino.analytics.items.v1` below one \
         `queue.process` of analytics, and as many `queue.process` of analytics from that topic.",
        "The figures of the summary are the same as without the fault.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: analytics handles many times more records than there are bets, and its lag rises under \
              load. Players see nothing. Where: the trace of a bet ends in many equal `queue.publish` spans \
              of analytics, and a topic grows to which no other service writes. Meaning: a consumer \
              multiplies its input. The culprit is the producer of the items, not their consumer. Do: \
              compare published with processed records per topic. Switch the fault off (`./pitboss fault off \
              analytics.fan-out`). See the lag of the group return to zero.",
};

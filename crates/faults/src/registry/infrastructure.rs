//! Faults of the document store, the cache and the receiver of telemetry.

use super::{alert, scopes};
use crate::{Acts, Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static MONGO_STALL: Definition = Definition {
    id: FaultId::MongoStall,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "The document store freezes from time to time",
    breaks: "The supervisor stops the store's process for `stall_ms` and lets it continue, once in each \
             `interval_ms`. Connections stay open, and no request is answered during a stall.",
    params: &[
        ParamSpec {
            name: "stall_ms",
            doc: "Time for which the store is frozen, in milliseconds.",
            default: 3_000,
            min: 100,
            max: 8_000,
        },
        ParamSpec {
            name: "interval_ms",
            doc: "Time from one stall to the next, in milliseconds.",
            default: 10_000,
            min: 1_000,
            max: 60_000,
        },
    ],
    default_scope: Scope::All,
    scopes: scopes::PLATFORM,
    safety: "The process is stopped by a signal and loses nothing. It always continues when the fault ends \
             or the platform stops. Every operation has a time-out, is tried again in place, and holds its \
             lane. None is skipped.",
    evidence: &[
        "`db` spans of about `stall_ms` in several services at the same time, or with an error after the \
         store's time-out.",
        "`bets.latency` rises by the stall, and the lag of the groups rises and falls with it.",
        "No bet is lost, and none is settled twice.",
    ],
    alerts: &[alert::LATENCY_P95],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: everything waits at the same moments, and continues together. Where: the long `db` spans \
              of all services start within one stall, for all kinds of queries. Meaning: the store itself is \
              frozen (disk, memory, election). No single query is the cause. Do: look at the store's process \
              and its disk. Let it continue (here: `./pitboss fault off mongo.stall`). Lag returns to zero. \
              Run `./pitboss audit`.",
};

pub(crate) static REDIS_FLUSH: Definition = Definition {
    id: FaultId::RedisFlush,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "The cache is emptied again and again",
    breaks: "The supervisor deletes every key of the platform's own Redis once in each `interval_ms`.",
    params: &[ParamSpec {
        name: "interval_ms",
        doc: "Time from one deletion to the next, in milliseconds.",
        default: 5_000,
        min: 500,
        max: 60_000,
    }],
    default_scope: Scope::All,
    scopes: scopes::PLATFORM,
    safety: "Redis keeps only what can be computed again or may be lost: sessions are read from the store, \
             and rate limits count from zero again. No balance and no result depends on it.",
    evidence: &[
        "`cache.get` spans with `cache.hit` false where the same reads hit before, and `cache.reads` counts \
         misses.",
        "More `db` spans for the same requests. Players stay logged in.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: requests are a little slower, and the store has more reads. Where: the share of hits in \
              `cache.reads` falls in steps. In traces a `db` span follows each missed `cache.get`. Meaning: \
              the cache was emptied (a restart, an eviction, a wrong command), and it fills again from the \
              store. Do: look at Redis' uptime, memory and commands. Stop the deletions (here: `./pitboss \
              fault off redis.flush`). The share of hits rises to its usual value.",
};

pub(crate) static SENTRY_DOWN: Definition = Definition {
    id: FaultId::SentryDown,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "The receiver of telemetry is out of order",
    breaks: "The recorder, which receives the telemetry in Sentry's place, refuses it, does not answer, or \
             answers that its limit is reached. Its queries keep working.",
    params: &[ParamSpec {
        name: "mode",
        doc: "How the receiver fails: 0 refuses with 503, 1 does not answer, 2 answers 429.",
        default: 0,
        min: 0,
        max: 2,
    }],
    default_scope: Scope::All,
    scopes: scopes::PLATFORM,
    safety: "Telemetry is sent in the background from bounded queues. What does not fit is dropped and \
             counted. No request and no record waits for it.",
    evidence: &[
        "During the fault nothing new is recorded, and results and latencies are as before.",
        "After the fault, client reports say what was dropped, by reason and category.",
        "The metric `telemetry.drops` of the services counts.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: no new events, traces and metrics in Sentry, while players see nothing. Where: \
              `telemetry.drops` on the services' own metrics page. Later the client reports. Meaning: the \
              receiver is unreachable, slow or over its limit. The system works without being watched. Do: \
              check Sentry's status and quota. Let it receive again (here: `./pitboss fault off \
              sentry.down`). Telemetry continues, and the gap is as large as the client reports say.",
};

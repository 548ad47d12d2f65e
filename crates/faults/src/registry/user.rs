//! Faults of user.

use super::{alert, scopes};
use crate::{Acts, Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static UNAUTHORIZED: Definition = Definition {
    id: FaultId::UserUnauthorized,
    acts: Acts::InService,
    services: &["user"],
    title: "Valid sessions are answered with 401",
    breaks: "User answers the check of a valid session as if the session had ended, and reports a handled \
             error. The gateway then answers with 401.",
    params: &[],
    default_scope: Scope::All,
    scopes: scopes::EVERY,
    safety: "No session is deleted or changed, so the same token works again when the fault has ended. Bets \
             and payments that were accepted before are completed.",
    evidence: &[
        "`http.server` transactions of the gateway with the status `unauthenticated` (401) for valid tokens.",
        "One handled error issue in user, with the player as user and the armed fault as flag context.",
    ],
    alerts: &[alert::ERROR_RATE],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: players are asked to log in again, and a new log-in does not help. Where: the \
              transactions of the gateway have the status `unauthenticated`, and in their traces user's \
              session check was answered as not found. One handled issue in user counts the checks. Meaning: \
              user refuses sessions that exist. Keys and expiry of the tokens are fine, else the gateway \
              would refuse them without asking user. Do: check that Redis answers and that `cache.errors` \
              did not rise. Switch the fault off (`./pitboss fault off user.unauthorized`). Sessions work \
              again without a new log-in.",
};

pub(crate) static N_PLUS_ONE: Definition = Definition {
    id: FaultId::UserNPlusOne,
    acts: Acts::InService,
    services: &["user"],
    title: "The bet history reads each bet with a separate query",
    breaks: "The bet history reads the ids of a page with one query, and then every bet of the page and the \
             bet before it with a query each, one after the other.",
    params: &[ParamSpec {
        name: "bets_max",
        doc: "Largest number of bets that one request reads one by one, each with the bet before it. The \
              rest of the page is read as usual.",
        default: 100,
        min: 5,
        max: 100,
    }],
    default_scope: Scope::All,
    scopes: scopes::EVERY,
    safety: "Reads only. One request makes at most twice `bets_max` and two queries more, each with the \
             store's time-out. The answer has the same content.",
    evidence: &[
        "In one request of user: a source `db` span, then at least 5 equal consecutive `db` spans under the \
         same parent, at least 50 ms together (the rule of Sentry's N+1 detector). It needs a player with \
         about 100 bets.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: the history page becomes slower the more bets a player has. Everything else is as fast \
              as before. Where: the trace of `GET /api/v1/me/bets` shows a staircase of equal `db` spans in \
              user. Sentry opens an N+1 issue that names the query. Meaning: a list is read one by one. Each \
              query is fast, their number is the problem. Do: compare the number of `db` spans per request \
              with the release before. Switch the fault off (`./pitboss fault off user.n-plus-one`). The \
              same request has one query again.",
};

pub(crate) static SLOW_QUERY: Definition = Definition {
    id: FaultId::UserSlowQuery,
    acts: Acts::InService,
    services: &["user"],
    title: "The bet history waits for a query without an index",
    breaks: "Before user reads a page of the bet history, it searches the collection `slow_query_rows` by a \
             field that has no index. The store compares every document of the collection. A request that \
             comes before the rows are written is not affected. It waits for them for half a second at most. \
             So as a fault of one request it acts from the second request on, within ten seconds of the one \
             before.",
    params: &[],
    default_scope: Scope::All,
    scopes: scopes::EVERY,
    safety: "The rows belong to the fault alone. User writes them when the fault is armed, until one search \
             takes 700 ms, and at most 200 000 rows (about 32 MB). It drops the collection ten seconds after \
             the fault has ended, and at its next start. The search reads only, with the store's time-out, \
             and the page has the same content.",
    evidence: &[
        "In a request of user, one `db` span of at least 500 ms with `db.operation.name` `find` and \
         `db.collection.name` `slow_query_rows`, followed by the usual query.",
        "A log line in the same trace with the plan that the store reports for the search (`COLLSCAN`), or \
         that it reports none.",
    ],
    alerts: &[alert::LATENCY_P95],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: the history page takes half a second more, for every player. Everything else is as fast \
              as before. Where: in the trace of `GET /api/v1/me/bets` one `db` span of user is long, and \
              there is no staircase of short ones. Sentry opens a slow query issue that names the query. \
              Meaning: the store scans a whole collection, because no index covers the filter. The time \
              grows with the number of documents. Do: read the plan of the query. Add the missing index, or \
              take the query out (here: `./pitboss fault off user.slow-query`). The long span disappears.",
};

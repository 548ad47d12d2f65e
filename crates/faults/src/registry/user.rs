//! Faults of user.

use super::alert;
use crate::{Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static UNAUTHORIZED: Definition = Definition {
    id: FaultId::UserUnauthorized,
    services: &["user"],
    title: "Valid sessions are answered with 401",
    breaks: "User answers the check of a valid session as if the session had ended, and reports a handled \
             error. The gateway then answers with 401.",
    params: &[],
    default_scope: Scope::All,
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
              user refuses sessions that exist; keys and expiry of the tokens are fine, else the gateway \
              would refuse them without asking user. Do: check that Redis answers and that `cache.errors` \
              did not rise; switch the fault off (`./pitboss fault off user.unauthorized`); sessions work \
              again without a new log-in.",
};

pub(crate) static N_PLUS_ONE: Definition = Definition {
    id: FaultId::UserNPlusOne,
    services: &["user"],
    title: "The bet history reads each bet with a query of its own",
    breaks: "The bet history reads the ids of a page with one query, and then every bet of the page with a \
             query of its own, one after the other.",
    params: &[ParamSpec {
        name: "bets_max",
        doc: "Largest number of bets that one request reads one by one. The rest of the page is read as \
              usual.",
        default: 100,
        min: 5,
        max: 100,
    }],
    default_scope: Scope::All,
    safety: "Reads only. One request makes at most `bets_max` + 1 queries, each with the store's time-out. \
             The answer has the same content.",
    evidence: &[
        "In one request of user: a source `db` span, then at least 5 equal consecutive `db` spans under the \
         same parent, at least 50 ms together (the rule of Sentry's N+1 detector). It needs a player with \
         about 100 bets.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: the history page becomes slower the more bets a player has; everything else is as fast \
              as before. Where: the trace of `GET /api/v1/me/bets` shows a staircase of equal `db` spans in \
              user; Sentry opens an N+1 issue that names the query. Meaning: a list is read one by one; each \
              query is fast, their number is the problem. Do: compare the number of `db` spans per request \
              with the release before; switch the fault off (`./pitboss fault off user.n-plus-one`); the \
              same request has one query again.",
};

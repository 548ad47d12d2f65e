//! Faults of analytics.

use crate::{Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static N_PLUS_ONE: Definition = Definition {
    id: FaultId::AnalyticsNPlusOne,
    services: &["analytics"],
    title: "Player metrics read each bet with a query of its own",
    breaks: "While analytics handles a settled bet, it reads the ids of the player's last bets with one \
             query, and then each of them with a query of its own.",
    params: &[ParamSpec {
        name: "bets_max",
        doc: "Largest number of bets that are read one by one for one record.",
        default: 50,
        min: 5,
        max: 100,
    }],
    default_scope: Scope::All,
    safety: "Reads only. One record makes at most `bets_max` + 1 queries more, each with the store's \
             time-out. The figures are the same, and a player waits for none of them.",
    evidence: &[
        "Inside one `queue.process` of analytics: a source `db` span, then at least 5 equal consecutive `db` \
         spans under the same parent, at least 50 ms together (the rule of Sentry's N+1 detector). It needs \
         a player with about 50 bets.",
        "These spans are in the trace of the bet itself, four Kafka hops behind the player's click.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: analytics takes longer for each bet, and its lag rises under load; players see nothing. \
              Where: the trace of a bet ends in a staircase of equal `db` spans in analytics; Sentry opens \
              an N+1 issue for that `queue.process`. Meaning: a list is read one by one for every record; \
              the cost grows with the bets of the player. Do: compare the number of `db` spans per record \
              with the release before; switch the fault off (`./pitboss fault off analytics.n-plus-one`); \
              see the lag of the group return to zero.",
};

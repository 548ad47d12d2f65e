//! Faults of game.

use super::scopes;
use crate::{Acts, Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static CPU_SPIKE: Definition = Definition {
    id: FaultId::GameCpuSpike,
    acts: Acts::InService,
    services: &["game"],
    title: "A spin burns CPU time",
    breaks: "As a part of the draw, game hunts for primes from 1 000 000 upwards.",
    params: &[
        ParamSpec {
            name: "duration_ms",
            doc: "Time after which the hunt of one spin ends, in milliseconds.",
            default: 300,
            min: 10,
            max: 2_000,
        },
        ParamSpec {
            name: "profile_s",
            doc: "Time for which game profiles itself continuously from each spin on, in seconds. 0 is not at all.",
            default: 0,
            min: 0,
            max: 600,
        },
    ],
    default_scope: Scope::All,
    scopes: scopes::EVERY,
    safety: "The hunt ends after `duration_ms` and needs no memory. It runs once for each new bet, on a \
             thread for blocking work, so that the listeners still answer. The stops of the reels are as \
             random as before.",
    evidence: &[
        "In game, a span `hunt_primes` of about `duration_ms` below the bet's `queue.process`, without a \
         `db` or `http` span below it.",
        "A CPU profile of the bet's transaction in game, in which `game::primes::hunt_primes` has most of \
         the samples.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: bets take longer by an equal amount, and under load game falls behind. Where: in the \
              bet's trace one span of game is long and has no database or network span below it. The CPU \
              time of the process rises with the bets. Meaning: game computes. No other system is slow. Do: \
              take the function's name from the span or the profile. Switch the fault off (`./pitboss fault \
              off game.cpu-spike`). The span disappears and the lag of game's group returns to zero.",
};

pub(crate) static RTP_DRIFT: Definition = Definition {
    id: FaultId::GameRtpDrift,
    acts: Acts::InService,
    services: &["game"],
    title: "The slot machine pays less than it promises",
    breaks: "Game reduces every payout, so that the machine returns the given share instead of the published \
             one (95.953 %). The reels are not changed, and no exception is raised.",
    params: &[ParamSpec {
        name: "rtp_percent",
        doc: "Share of all stakes that game pays back in the long run, in percent.",
        default: 70,
        min: 1,
        max: 95,
    }],
    default_scope: Scope::All,
    scopes: scopes::EVERY,
    safety: "Payouts only become smaller, and no balance becomes negative. The outcome of a bet is stored \
             before it is published, so every bet of the drill can be found and compared with the published \
             table afterwards.",
    evidence: &[
        "The ratio of `game.payout.paid` to `game.payout.owed` (by the published table, for the same reels) \
         leaves its band with the first bets that win.",
        "The metric `bets.rtp.ratio` falls towards `rtp_percent`. It needs many bets.",
        "No error event.",
    ],
    alerts: &[],
    money: MoneyVerdict::Found,
    runbook: "Seen: no error at all. The RTP metric sinks over minutes, and players complain. Where: the \
              ratio of paid to owed shows it with the first wins, because it compares each payout with the \
              published table for the same reels. `bets.rtp.ratio` is a statistic and follows later. \
              Meaning: the ledger is consistent, because every bet paid what game decided. Game decided less \
              than it owes. Do: look at one winning bet, its reels and its payout. Compare release and pay \
              table version. Switch the fault off (`./pitboss fault off game.rtp-drift`). Players of the \
              affected bets are owed the difference.",
};

pub(crate) static PAYOUT_SCALE: Definition = Definition {
    id: FaultId::GamePayoutScale,
    acts: Acts::InService,
    services: &["game"],
    title: "Payouts are too high by a factor",
    breaks: "Game multiplies every payout by the factor, as if cents were taken for units. No exception is \
             raised.",
    params: &[ParamSpec {
        name: "factor",
        doc: "Number by which the payout of a winning bet is multiplied.",
        default: 100,
        min: 2,
        max: 1_000,
    }],
    default_scope: Scope::All,
    scopes: scopes::EVERY,
    safety: "A payout is capped at the largest amount that a transfer can carry (10^12 minor units). Use it \
             with play money only, for one player or a short time (`--player`, `--for`): the players keep \
             the balance until compensating entries are made.",
    evidence: &[
        "The ratio of `game.payout.paid` to `game.payout.owed` is far above 1 with the first bet that wins.",
        "The metric `bets.payout.sum` grows faster than `bets.stake.sum`.",
        "No error event.",
        "`./pitboss audit` finds the bets.",
    ],
    alerts: &[],
    money: MoneyVerdict::Found,
    runbook: "Seen: no error. Balances and the payout metric jump. Where: the ratio of paid to owed shows it \
              with the first win. `./pitboss audit` lists the bets whose payout differs from the published \
              table. Meaning: the ledger is balanced, and the amounts are wrong, because game asked payment \
              for too much. Do: stop it first (`./pitboss fault off game.payout-scale`). Run `./pitboss \
              audit` and keep its list. Put the amounts right with compensating entries, never by editing \
              balances. Run the audit again.",
};

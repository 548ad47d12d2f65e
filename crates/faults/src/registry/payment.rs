//! Faults of payment.

use super::{alert, scopes};
use crate::{Acts, Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static RANDOM_FAILURE: Definition = Definition {
    id: FaultId::PaymentRandomFailure,
    acts: Acts::InService,
    services: &["payment"],
    title: "A share of the payments fails",
    breaks: "Payment declines a deposit or withdrawal before its first request to the card provider, and \
             reports an error. The payment id decides about the share, so a retry of the same payment cannot \
             hide the fault.",
    params: &[],
    default_scope: Scope::SharePercent(10),
    scopes: scopes::EVERY,
    safety: "Nothing moves at the provider. The payment ends like one that the provider declined, so a \
             withdrawn amount is returned. A payment that was sent to the provider before is spared.",
    evidence: &[
        "One error issue in payment, grouped, with the armed fault as flag context.",
        "Spans with the attribute `flag.evaluation.payment.random-failure`, and no `http.client` span in the \
         trace of a failed payment.",
        "The metrics `payments.ended` with outcome `failed`, and `payments.success.ratio` below its usual \
         band.",
    ],
    alerts: &[alert::PAYMENT_FAILURES, alert::ERROR_RATE],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: `payments.success.ratio` falls and one issue grows in the project payment. Its events \
              name different payments. Where: the issue's trace leads from the gateway's request to the \
              failed span in payment. Analytics shows the ratio. Meaning: payments fail inside payment, not \
              at the card provider, which received no request. Do: compare the failure rate by release and \
              by the flag context of the events. Switch the fault off (`./pitboss fault off \
              payment.random-failure`). See that new payments complete, then run `./pitboss audit`. Players \
              whose deposit failed were not charged and can try again.",
};

pub(crate) static PROVIDER_SLOW: Definition = Definition {
    id: FaultId::PaymentProviderSlow,
    acts: Acts::InService,
    services: &["partners"],
    title: "The card provider answers late",
    breaks: "The simulated card provider handles a charge, a payout or a look-up as usual, and waits before \
             it answers.",
    params: &[ParamSpec {
        name: "delay_ms",
        doc: "Time that the provider waits before it answers, in milliseconds. From payment's \
              `provider.timeout_ms` (2000) on, requests and look-ups time out, and payments stay pending \
              until the fault ends.",
        default: 2_000,
        min: 1,
        max: 30_000,
    }],
    default_scope: Scope::All,
    scopes: scopes::KEYS_AND_REQUESTS,
    safety: "Payment's pool limits the requests in flight, each has a time-out, and no consumer lane waits \
             for them. A request without an answer is looked up, and its key never moves money twice. A \
             payment is parked and reported after 60 attempts without an outcome, which takes up to 47 \
             minutes, so longer delays need an end (`--for`).",
    evidence: &[
        "`http.client` spans in payment that last at least `delay_ms` or until the time-out.",
        "p95 of deposits and withdrawals above its usual value.",
    ],
    alerts: &[alert::LATENCY_P95],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: deposits and withdrawals stay pending for seconds. Bets are as fast as before. Where: \
              the `http.client` span towards partners is the long one in the payment's trace. With a \
              time-out it has the status `deadline_exceeded` and a look-up follows. Meaning: the provider is \
              slow, and payment waits as it should. Do: confirm that only spans towards the provider grew. \
              Ask the provider (here: `./pitboss fault off payment.provider-slow`). Pending payments end by \
              an answer or by a look-up. Do not settle one by hand while its outcome is open.",
};

pub(crate) static PROVIDER_DOWN: Definition = Definition {
    id: FaultId::PaymentProviderDown,
    acts: Acts::InService,
    services: &["partners"],
    title: "The card provider refuses connections",
    breaks: "The simulated card provider closes its listener and all connections of its merchants, so that \
             the operating system refuses every new connection.",
    params: &[],
    default_scope: Scope::All,
    scopes: scopes::PROCESS,
    safety: "Nothing reaches the provider, so no money moves twice. Payments stay stored with their due \
             time, and an attempt without a connection never parks one. The provider's statement stays \
             readable on its other listener.",
    evidence: &[
        "`http.client` spans in payment with an error and without a status code, several for one payment, \
         with growing pauses between the `payment.provider` transactions.",
        "One grouped issue in payment that says that the card provider cannot be reached.",
        "Deposits stay pending, no deposit fails, and all of them complete when the fault has ended.",
    ],
    alerts: &[alert::ERROR_RATE],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: deposits and withdrawals stay pending. Bets are as fast as before, and one issue grows \
              in the project payment. Where: the `http.client` span towards partners ends at once with an \
              error and without an answer. The attempts of one payment are in one trace. Meaning: the \
              provider is not reachable. No request was received, so no outcome is open. Do: check the \
              provider and the network (here: `./pitboss fault off payment.provider-down`). Payment sends \
              pending payments at their next attempt. Run `./pitboss audit`, which has to find nothing. Do \
              not decline a pending payment by hand.",
};

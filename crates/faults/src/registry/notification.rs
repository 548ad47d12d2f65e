//! Faults of notification.

use super::{alert, scopes};
use crate::{Acts, Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static PROVIDER_DOWN: Definition = Definition {
    id: FaultId::NotificationProviderDown,
    acts: Acts::InService,
    services: &["partners"],
    title: "The mail server refuses every e-mail for now",
    breaks: "The simulated mail server answers every connection with 421 (not available) and closes it.",
    params: &[],
    default_scope: Scope::All,
    scopes: scopes::KEYS,
    safety: "E-mails stay stored with their due time, and retries wait with doubling pauses from 5 s up to \
             an hour. An e-mail is given up and reported only after about six and a half hours. Settled bets \
             are not touched.",
    evidence: &[
        "`send mail` transactions in notification with the status `unavailable`, several for one e-mail, \
         with growing pauses between them.",
        "No issue while e-mails are retried. Those that are given up are reported, and all of them are one \
         issue.",
        "`notifications.failed` counts, and `notifications.sent` does not rise while big wins are settled.",
    ],
    alerts: &[alert::ERROR_RATE],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: players get no e-mails. `notifications.sent` does not rise, and the number of due \
              notifications grows. Where: the `send mail` transactions in notification fail, and their trace \
              is that of the win. Bets and payments are as before. Meaning: the mail server does not accept \
              e-mails. Notification keeps them and tries again. Do: check the mail server (here: `./pitboss \
              fault off notification.provider-down`). Notification sends due e-mails at their next attempt. \
              An e-mail that was given up is listed and has to be retried by an operator.",
};

pub(crate) static PROVIDER_SLOW: Definition = Definition {
    id: FaultId::NotificationProviderSlow,
    acts: Acts::InService,
    services: &["partners"],
    title: "The mail server answers late",
    breaks: "The simulated mail server waits before it accepts an e-mail.",
    params: &[ParamSpec {
        name: "delay_ms",
        doc: "Time that the mail server waits before it answers the content of an e-mail, in milliseconds.",
        default: 5_000,
        min: 1,
        max: 60_000,
    }],
    default_scope: Scope::All,
    scopes: scopes::KEYS,
    safety: "At most eight e-mails are in flight, one a player. No consumer lane waits for an e-mail, and \
             claims are renewed during an attempt, so no e-mail is sent twice.",
    evidence: &[
        "`send mail` transactions in notification that last at least `delay_ms`.",
        "The time from a win to its e-mail grows by at least `delay_ms`, and further when more e-mails are \
         due than can be in flight.",
    ],
    alerts: &[alert::LATENCY_P95],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: e-mails arrive late, and none is missing. Where: `send mail` in notification is the long \
              transaction in the win's trace. The lag of notification's group stays low, because its lanes \
              wait for no e-mail. Meaning: the mail server is slow. Under many wins due e-mails queue up. \
              Do: compare the duration of deliveries with the number of due notifications. Switch the fault \
              off (`./pitboss fault off notification.provider-slow`). Then notification sends the due \
              e-mails.",
};

pub(crate) static POISON: Definition = Definition {
    id: FaultId::NotificationPoison,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "Records that cannot be decoded reach notification",
    breaks: "The supervisor publishes `count` records to a topic that notification reads, once each time the \
             fault is armed. Their headers name a producer and a type, and their bytes are no event of any \
             type.",
    params: &[ParamSpec {
        name: "count",
        doc: "Number of records that cannot be decoded.",
        default: 1,
        min: 1,
        max: 100,
    }],
    default_scope: Scope::All,
    scopes: scopes::PLATFORM,
    safety: "No record decodes into a command or an event, so nothing is done about any of them. Each group \
             that reads the topic parks its copy once. The dead-letter topic keeps the bytes for inspection.",
    evidence: &[
        "In each group that reads the topic, one issue about records that cannot be decoded. It names the \
         producer.",
        "In each group that reads the topic, one dead letter for each record: a `queue.publish` span to the \
         group's dead-letter topic below the failed `queue.process`, and one more in `./pitboss dlq list`. \
         It has the record's headers.",
        "A flood of them (`count` of 20 or more) opens the breaker of each of these groups: one more issue, \
         `bus.breaker.open`, and a pause after which each group continues.",
        "Records before and after it on the same partition are handled as usual.",
    ],
    alerts: &[alert::DEAD_LETTERS],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: in each group that reads the topic, one issue about a record that cannot be decoded and \
              one dead letter. Players get their e-mails. Where: the issue names the producer, the topic, \
              the partition and the offset. `./pitboss dlq show` has the headers and the bytes. Meaning: a \
              producer wrote what its readers do not understand. Trying again would not help, so the record \
              was parked. Do: go to the producer that the issue and the header `ce_source` name. Stop the \
              fault (`./pitboss fault off notification.poison`). Replay the record after a fix, or discard \
              it. See that no further dead letter arrives.",
};

//! Faults of the broker, and of the connection between it and a client.

use super::{alert, scopes};
use crate::{Acts, Definition, FaultId, MoneyVerdict, ParamSpec, Scope};

pub(crate) static BROKER_RESTART: Definition = Definition {
    id: FaultId::KafkaBrokerRestart,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "The broker stops and comes back",
    breaks: "The supervisor stops the broker, waits `down_ms` and starts it again, once each time the fault \
             is armed.",
    params: &[ParamSpec {
        name: "down_ms",
        doc: "Time between the end of the broker and its start, in milliseconds.",
        default: 2_000,
        min: 0,
        max: 20_000,
    }],
    default_scope: Scope::All,
    scopes: scopes::PLATFORM,
    safety: "The broker ends as at a shutdown and keeps its log. Producers keep records in bounded queues \
             and try again. Consumers continue at their committed offsets. A command counts as accepted only \
             when the broker has stored it.",
    evidence: &[
        "Errors of producers and consumers are grouped: one issue for each kind and service, not one for \
         each message.",
        "`queue.publish` spans as long as the outage, or with an error.",
        "No acknowledged command is lost: every accepted bet settles.",
    ],
    alerts: &[alert::ERROR_RATE, alert::LATENCY_P95],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: bets are answered with 202 or 503 for some seconds, then settle together. Where: all \
              services report errors of the same broker at the same time. `queue.publish` spans are as long \
              as the outage. Meaning: the broker was gone. Clients hold what they have and try again. Do: \
              read the broker's log. Wait until it is ready (`./pitboss fault off kafka.broker-restart` ends \
              the fault). See that the lag returns to zero, then run `./pitboss audit`.",
};

pub(crate) static ACL_DENIED: Definition = Definition {
    id: FaultId::KafkaAclDenied,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "Writing to a topic is denied",
    breaks: "The supervisor adds an access rule to the broker that denies writing to \
             `casino.payments.events.v1`, and removes it when the fault ends. Reading is not affected.",
    params: &[],
    default_scope: Scope::All,
    scopes: scopes::PLATFORM,
    safety: "The rule concerns one topic and is removed when the fault ends or the platform stops. Work that \
             needs the topic is held and tried again, never skipped.",
    evidence: &[
        "One grouped issue that names the topic and says that access was denied.",
        "Work that needs the topic waits and is not lost. It is done when the fault has ended.",
    ],
    alerts: &[alert::ERROR_RATE],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: one kind of work stops, and one issue grows. Where: the issue names topic and service. \
              All other topics move. Meaning: an access rule of the broker changed. The service is healthy \
              and is not allowed to do its work. Do: list the access rules of the topic. Remove the rule \
              (here: `./pitboss fault off kafka.acl-denied`). The held work continues. Run `./pitboss \
              audit`.",
};

pub(crate) static MESSAGE_TOO_LARGE: Definition = Definition {
    id: FaultId::KafkaMessageTooLarge,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "The largest size of a message is lowered on a topic in use",
    breaks: "The supervisor lowers `max.message.bytes` of `casino.bets.commands.v1` to `bytes_max`, and \
             restores it when the fault ends.",
    params: &[ParamSpec {
        name: "bytes_max",
        doc: "Largest size of a record batch that the broker accepts on the topic, in bytes.",
        default: 100,
        min: 1,
        max: 1_000_000,
    }],
    default_scope: Scope::All,
    scopes: scopes::PLATFORM,
    safety: "Records on the topic stay readable. A refused command was stored nowhere, so no bet is half \
             done and no stake is taken.",
    evidence: &[
        "Two issues in gateway: one for the refused records and one for the topic.",
        "The player's request is refused with a reason, and no span of game or payment follows.",
    ],
    alerts: &[alert::ERROR_RATE],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: every bet is refused at once. Deposits work. Where: the `queue.publish` span in gateway \
              has the error, and an issue names the topic. No later span follows. Meaning: the broker's \
              limit is below the size of the platform's records, so trying again cannot help. Do: compare the topic's \
              `max.message.bytes` with its usual value. Restore it (here: `./pitboss fault off \
              kafka.message-too-large`). New bets settle.",
};

pub(crate) static RECORDS_DELETED: Definition = Definition {
    id: FaultId::KafkaRecordsDeleted,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "Records that were not read yet are deleted",
    breaks: "The supervisor stops notification until records wait for it, deletes the records of that topic \
             as far as every other group has read them, and starts notification again. It does so once each \
             time the fault is armed.",
    params: &[],
    default_scope: Scope::All,
    scopes: scopes::PLATFORM,
    safety: "Only one topic of events loses its records: the ledger, the bets and the history were written \
             from it before or do not need it. E-mails about the deleted events are not sent.",
    evidence: &[
        "A gap that is counted: the group, the partition, the first missing offset and the number of missing \
         records.",
        "One grouped issue in notification about the gap.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: an issue about a gap. Some players miss an e-mail. Where: the issue names topic, \
              partition and both offsets. Meaning: records were deleted before the group had read them \
              (retention too short, or a deletion by hand). Reading continues after the gap. Do: find who \
              deleted them. Switch the fault off (`./pitboss fault off kafka.records-deleted`). Restore from \
              the ledger what the events would have caused. The size of the gap is their number.",
};

pub(crate) static THROTTLED: Definition = Definition {
    id: FaultId::KafkaThrottled,
    acts: Acts::Supervisor,
    services: &["supervisor"],
    title: "The broker slows a client down by quota",
    breaks: "The supervisor gives gateway's client a quota for producing of `bytes_per_s`. The broker delays \
             its answers to a client that exceeds it.",
    params: &[ParamSpec {
        name: "bytes_per_s",
        doc: "Bytes a second that the client may produce on average.",
        default: 1_000,
        min: 100,
        max: 1_000_000,
    }],
    default_scope: Scope::All,
    scopes: scopes::PLATFORM,
    safety: "Nothing is refused by the broker. Gateway's queue of records is bounded, and a full one refuses \
             new bets before they are accepted. The quota is removed when the fault ends.",
    evidence: &[
        "`queue.publish` spans of gateway become longer, without an error.",
        "The lag of the consumers stays low: they wait for a producer, so gateway is the one to look at.",
    ],
    alerts: &[alert::LATENCY_P95],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: bets become slower the more of them there are, without errors. Where: `queue.publish` in \
              gateway is the long span, and consumers handle each record as fast as before. Meaning: the \
              broker delays one client by a quota. The broker and the consumers are healthy. Do: list the \
              quotas of the client. Remove the quota (here: `./pitboss fault off kafka.throttled`). \
              Publishing is as fast as before.",
};

pub(crate) static REPLY_LOST: Definition = Definition {
    id: FaultId::KafkaReplyLost,
    acts: Acts::InService,
    services: &["wire"],
    title: "The broker stores records, and its answer is lost",
    breaks: "The proxy between user and the broker forwards a produce request, waits for the broker's \
             answer, drops it and closes the connection. It does so `count` times each time the fault is \
             armed.",
    params: &[ParamSpec {
        name: "count",
        doc: "Number of answers that are lost.",
        default: 1,
        min: 1,
        max: 1_000,
    }],
    default_scope: Scope::All,
    scopes: scopes::PROCESS,
    safety: "The records are stored before the answer is lost. The client sends them again under the same \
             producer id and sequence, and the broker stores them once. Only user is behind the proxy.",
    evidence: &[
        "The `queue.publish` span of user lasts longer than usual and has `messaging.message.retry.count`, \
         and the metric `bus.publish.retried` counts it.",
        "The topic has the record once, and its consumers have no second effect.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: a change of a player's data takes longer than usual, once. Where: the `queue.publish` \
              span in user is long and has `messaging.message.retry.count`, and the broker's other clients \
              are as fast as before. Meaning: the outcome of a publication was unknown. Trying again is \
              right, because the broker recognises the repetition. Do: look at the network between this \
              service and the broker. Switch the fault off (`./pitboss fault off kafka.reply-lost`). Check \
              that no consumer counted a duplicate effect.",
};

pub(crate) static HALF_OPEN: Definition = Definition {
    id: FaultId::KafkaHalfOpen,
    acts: Acts::InService,
    services: &["wire"],
    title: "Connections to the broker stay open and answer nothing",
    breaks: "The proxy between user and the broker keeps all connections open, forwards nothing, and accepts \
             new connections without an answer. When the fault ends it closes them.",
    params: &[],
    default_scope: Scope::All,
    scopes: scopes::PROCESS,
    safety: "Only user is behind the proxy. Its client gives up a request after its time-out and connects \
             again. Records wait in a bounded queue, and user's consumers continue at their committed \
             offsets.",
    evidence: &[
        "`queue.publish` spans of user that end as `cancelled` when the caller gives up, or as \
         `deadline_exceeded` after the time-out of a publish (30 s), which `bus.publish.unknown` counts.",
        "The lag of the group `user` rises, because its members answer no heartbeat.",
        "After the fault, user connects again and publishes and consumes.",
    ],
    alerts: &[],
    money: MoneyVerdict::Unaffected,
    runbook: "Seen: changes of players' data fail after some time, although the broker is up. Where: only \
              user has time-outs. Its connections exist on both sides. Meaning: a peer or a firewall dropped \
              the connection without closing it. Only time-outs detect that. Do: compare the clients' view \
              of the connection with the broker's. Restore the path (here: `./pitboss fault off \
              kafka.half-open`). Then user continues.",
};

//! From a mail server that is down, records that were rejected by mistake, and records that cannot be decoded, to the fix and the
//! replay.

use faults::FaultId;

use crate::drill::{Break, LetterAction, Scenario, Step, Until};
use crate::evidence::Evidence;
use crate::verify::{Row, Workload};

const BETS: Workload = Workload::Bets { count: 10, earlier_bets: 0 };

pub(super) fn scenario() -> Scenario {
    let steps = vec![
        Step::Say(
            "Three incidents of notification follow. The first one ends by waiting, the second one by a fix and a replay, and the \
             third one by giving up. All of them must leave bets and money alone.",
        ),
        Step::Load(BETS),
        Step::Say(
            "First incident: the mail server refuses every e-mail. The drill plays until a player has a big win, because each \
             big win causes an e-mail.",
        ),
        Step::arm(FaultId::NotificationProviderDown),
        Step::WatchUntil(Until::Evidence),
        Step::Say(
            "The e-mail is not lost and no dead letter: it is stored with a time at which it is tried again. The fix is the mail \
             server, and nothing has to be replayed.",
        ),
        Step::Heal,
        Step::Say(
            "Second incident: notification rejects good records for good, as a release with a bug would. Nothing is wrong with \
             the records.",
        ),
        Step::Arm(Box::new(rejecting())),
        Step::WatchUntil(Until::Evidence),
        Step::Say(
            "Each rejected record became a dead letter, with its bytes and its place. When most of the last 20 records are dead \
             letters, the group pauses for 10 s, so that a bad release does not move the whole topic. The fix is the \
             release, and it comes before the replay.",
        ),
        Step::Heal,
        Step::Letters(LetterAction::List),
        Step::Say(
            "Look at one letter with ./pitboss dlq show ID: its reason, its bytes, and its trace. Then replay. A replay keeps the \
             identity of the record, so what was applied once is not applied again.",
        ),
        Step::Letters(LetterAction::Replay { heals: true }),
        Step::Say(
            "After a fix every replayed record is handled, and none comes back. Each replay is a separate trace, linked to the \
             first one, and it ends in a queue.process of notification that is ok.",
        ),
        Step::Say(
            "Third incident: a producer writes a record that cannot be decoded. Waiting does not help here.",
        ),
        Step::arm(FaultId::NotificationPoison),
        Step::WatchUntil(Until::Evidence),
        Step::Say(
            "The record became a dead letter of each group that reads the topic. The records before and behind it were handled. \
             The first step of the fix is to stop the producer.",
        ),
        Step::Heal,
        Step::Letters(LetterAction::List),
        Step::Say(
            "These letters look like those before, except for their reason. Replay them, and see the difference.",
        ),
        Step::Letters(LetterAction::Replay { heals: false }),
        Step::Say(
            "These letters came back: the bytes are wrong, and no replay repairs bytes. After a fix of the reader they would have \
             been handled. A record without any use is discarded, with a reason.",
        ),
        Step::Letters(LetterAction::Discard),
        Step::Audit,
    ];
    Scenario { name: "notification-drills", title: "from dead letters to the fix and the replay", steps }
}

/// Notification rejects the records of the bets.
fn rejecting() -> Break {
    let usual = Break::of(FaultId::ConsumerDelayedOnPurpose);
    let rejected = Evidence::SegmentStatus {
        service: "notification",
        op: "queue.process",
        status: "invalid_argument",
        count_min: 3,
    };
    let evidence = Evidence::All(vec![Evidence::issue("notification", ""), rejected]);
    let row = Row { params: &[("permanent", 1)], workload: BETS, evidence, ..usual.row };
    Break { row, scope: usual.scope, is_hidden: false }
}

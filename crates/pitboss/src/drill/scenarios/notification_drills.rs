//! From a mail server that is down, and records that nobody can decode, to the fix and the replay.

use faults::FaultId;

use crate::drill::{LetterAction, Scenario, Step, Until};
use crate::verify::Workload;

const BETS: Workload = Workload::Bets { count: 10, earlier_bets: 0 };

pub(super) fn scenario() -> Scenario {
    let steps = vec![
        Step::Say(
            "Two incidents of notification follow. In the first one waiting helps, in the second one it does not. Both must leave \
             bets and money alone.",
        ),
        Step::Load(BETS),
        Step::Say(
            "First incident: the mail server refuses every e-mail. The drill plays until somebody wins much, because that is what \
             an e-mail is sent for.",
        ),
        Step::arm(FaultId::NotificationProviderDown),
        Step::WatchUntil(Until::Evidence),
        Step::Say(
            "The e-mail is not lost and no dead letter: it is stored with a time at which it is tried again. The fix is the mail \
             server, and nothing has to be replayed.",
        ),
        Step::Heal,
        Step::Say(
            "Second incident: a producer writes a record that nobody can decode. Waiting does not help here.",
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
            "Look at one letter with ./pitboss dlq show ID: its reason, its bytes, and its trace. Then replay. A replay keeps the \
             identity of the record, so what was applied once is not applied again.",
        ),
        Step::Letters(LetterAction::Replay),
        Step::Say(
            "These letters came back: the bytes are wrong, and no replay repairs bytes. After a fix of the reader they would have \
             been handled. What nobody can use is discarded, with a reason.",
        ),
        Step::Letters(LetterAction::Discard),
        Step::Audit,
    ];
    Scenario { name: "notification-drills", title: "from dead letters to the fix and the replay", steps }
}

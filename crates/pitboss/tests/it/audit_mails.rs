//! Rule of the audit over e-mails: a repetition needs an attempt whose outcome was unknown, and has the same Message-ID.

use pitboss::audit::documents::Notification;
use pitboss::audit::mails::Mail;
use pitboss::audit::rules::{self, Verdict};
use store::bson::{Document, deserialize_from_document, doc};

fn mail(sequence: u64, message_id: &str) -> Mail {
    Mail { sequence, message_id: Some(message_id.to_owned()), received_at_epoch_ms: 0 }
}

fn notification(counters: Document) -> Notification {
    let mut stored = doc! { "_id": "win-1/email", "player_id": "ada", "state": "sent" };
    stored.extend(counters);
    deserialize_from_document(stored).expect("a document of this form")
}

/// Returns the verdict on the last of these e-mails, which all have one Message-ID.
fn of(arrived: u64, counters: Document) -> Verdict {
    let mails: Vec<Mail> = (1..=arrived).map(|sequence| mail(sequence, "win-1.email@x")).collect();
    let (last, earlier) = mails.split_last().expect("an e-mail");
    rules::mail(last, &earlier.iter().collect::<Vec<_>>(), Some(&notification(counters)))
}

fn differs(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Differs(_))
}

#[test]
fn mail_arrives_once_for_each_attempt() {
    assert_eq!(of(1, doc! { "attempts": 1, "unknown": 0, "put_off": 0 }), Verdict::Agrees);
    assert!(differs(&of(2, doc! { "attempts": 1, "unknown": 0, "put_off": 0 })), "it was sent again");
    assert_eq!(of(2, doc! { "attempts": 2, "unknown": 1, "put_off": 0 }), Verdict::Agrees, "a process died");
    assert!(differs(&of(3, doc! { "attempts": 2, "unknown": 1, "put_off": 0 })));
    assert!(differs(&of(2, doc! { "attempts": 4, "unknown": 0, "put_off": 3 })), "three were refused");
    assert_eq!(of(1, doc! {}), Verdict::Agrees, "an older build stored no counters");
    assert_eq!(of(2, doc! { "attempts": 2, "unknown": 1 }), Verdict::Agrees, "it was taken over from one");
}

#[test]
fn attempt_without_delivery_does_not_count() {
    let parked = doc! { "state": "parked", "attempts": 2, "unknown": 2, "put_off": 0 };
    assert_eq!(of(2, parked.clone()), Verdict::Agrees);
    assert!(differs(&of(3, parked)), "there were two attempts, and both may have delivered it");
    let due = doc! { "state": "due", "attempts": 1, "unknown": 1, "put_off": 0 };
    assert_eq!(of(1, due.clone()), Verdict::Agrees);
    assert!(differs(&of(2, due)), "the next attempt has not begun");
    for state in ["refused", "skipped", "waiting"] {
        let ended = doc! { "state": state, "attempts": 2, "unknown": 1, "put_off": 0 };
        assert_eq!(of(1, ended.clone()), Verdict::Agrees, "{state}");
        assert!(differs(&of(2, ended)), "{state}: the last attempt delivered nothing");
    }
    assert!(differs(&of(1, doc! { "state": "due", "attempts": 0 })), "nothing was tried");
}

#[test]
fn mail_needs_its_notification() {
    assert!(differs(&rules::mail(&mail(1, "win-1.email@x"), &[], None)));
    let nameless = Mail { message_id: None, ..mail(1, "") };
    assert!(differs(&rules::mail(&nameless, &[], None)));
}

#[test]
fn second_message_id_is_found() {
    let (first, second) = (mail(1, "win-1.email@x"), mail(2, "win-1.email@y"));
    let sent = notification(doc! { "attempts": 2, "unknown": 1, "put_off": 0 });
    let verdict = rules::mail(&second, &[&first], Some(&sent));
    let Verdict::Differs(violation) = verdict else { panic!("{verdict:?}") };
    assert!(violation.what.contains("win-1.email@x") && violation.what.contains("win-1.email@y"));
}

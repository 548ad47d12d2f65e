//! The flag file under a running process: changes, damage, expiry, requests, and ten thousand writes beside reads.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use faults::{Armed, FaultId, Faults, Options, Place, Scope, State, Subject, Values, now_ms, request};
use tempfile::TempDir;

const SECRET: &[u8] = b"a secret of this test";
const SLOW: FaultId = FaultId::ConsumerSlow;
/// Time in which a change of the file has to be in effect. The watcher looks five times a second, but a busy machine may not let it.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

struct World {
    _folder: TempDir,
    file: PathBuf,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("faults.json");
        Self { _folder: folder, file }
    }

    fn options(&self) -> Options {
        Options {
            file: self.file.clone(),
            service: "game",
            release: "pitboss@1.0.0".to_owned(),
            secret: SECRET.to_vec(),
        }
    }

    fn watch(&self) -> Faults {
        Faults::watch(self.options())
    }

    fn write(&self, armed: &[Armed]) {
        State { armed: armed.to_vec(), ..State::default() }.write(&self.file).unwrap();
    }
}

fn slow(delay_ms: i64) -> Armed {
    let values = Values::new(SLOW, [("delay_ms", delay_ms)]).unwrap();
    Armed { id: SLOW, scope: Scope::All, values, expires_at_ms: None }
}

fn delay_ms(faults: &Faults) -> Option<i64> {
    faults.active(SLOW, &Subject::default()).map(|values| values.get("delay_ms"))
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SEEN_WITHIN, "still not true: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn nothing_is_active_without_file_or_armed_fault() {
    let request = request::sign(&[(SLOW, Vec::new())], now_ms() + 60_000, SECRET);
    let with_request = Subject { request: Some(&request), ..Subject::default() };
    for id in FaultId::ALL {
        assert_eq!(Faults::none().active(id, &with_request), None);
    }
    let world = World::new();
    let faults = world.watch();
    assert_eq!(delay_ms(&faults), None);
    assert_eq!(faults.problem(), None, "a missing file is no problem");
    assert!(faults.armed().is_empty() && faults.applied().is_empty());
}

#[test]
fn state_of_file_is_in_effect_at_start() {
    let world = World::new();
    world.write(&[slow(70)]);
    let faults = world.watch();
    assert_eq!(delay_ms(&faults), Some(70));
    assert_eq!(faults.armed(), [slow(70)]);
}

#[test]
fn change_of_file_is_seen_without_restart() {
    let world = World::new();
    let faults = world.watch();
    let clone = faults.clone();
    // Several changes in a row, some within the resolution of the file's time stamps and with the same length.
    for delay in [70, 71, 72, 73] {
        world.write(&[slow(delay)]);
        wait_for("the change is seen", || delay_ms(&clone) == Some(delay));
    }
    world.write(&[]);
    wait_for("the fault is off", || delay_ms(&faults).is_none());
    world.write(&[slow(80)]);
    wait_for("the fault is on", || delay_ms(&faults) == Some(80));
    fs::remove_file(&world.file).unwrap();
    wait_for("a missing file arms nothing", || delay_ms(&faults).is_none());
}

#[test]
fn damaged_file_keeps_last_state_and_is_reported() {
    let world = World::new();
    world.write(&[slow(70)]);
    let faults = world.watch();
    fs::write(&world.file, r#"{"flags": {"consumer.slow""#).unwrap();
    wait_for("the damage is reported", || faults.problem().is_some());
    assert_eq!(delay_ms(&faults), Some(70));
    let problem = faults.problem().unwrap();
    assert!(problem.starts_with("the flag file ") && problem.contains("invalid"), "{problem}");
    world.write(&[slow(71)]);
    wait_for("the repaired file is in effect", || {
        faults.problem().is_none() && delay_ms(&faults) == Some(71)
    });
}

#[test]
fn invalid_flag_is_reported_and_the_others_work() {
    let world = World::new();
    world.write(&[slow(70)]);
    let mut file: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&world.file).unwrap()).unwrap();
    file["flags"]["consumer.fast"] = file["flags"]["consumer.slow"].clone();
    world.write(&[]);
    let faults = world.watch();
    assert!(faults.invalid().is_empty());
    fs::write(&world.file, file.to_string()).unwrap();
    wait_for("the valid flag is in effect", || delay_ms(&faults) == Some(70));
    assert_eq!(faults.problem(), None, "the file is a flag file");
    wait_for("the invalid flag is reported", || !faults.invalid().is_empty());
    let invalid: Vec<String> = faults.invalid().iter().map(ToString::to_string).collect();
    assert_eq!(invalid.len(), 1);
    assert!(invalid[0].starts_with("flag `consumer.fast`: there is no fault"), "{invalid:?}");
    world.write(&[slow(70)]);
    wait_for("the repaired file is read", || faults.invalid().is_empty());
}

#[test]
fn ineffective_fault_counts_and_answers_off() {
    let world = World::new();
    world.write(&[slow(70)]);
    let faults = world.watch().ineffective();
    assert!(faults.is_ineffective() && !world.watch().is_ineffective());
    assert_eq!(delay_ms(&faults), None);
    assert!(faults.is_active(SLOW, Place::Before, &Subject::default()), "it would count");
    let request = request::sign(&[(SLOW, Vec::new())], now_ms() + 60_000, SECRET);
    let with_request = Subject { request: Some(&request), ..Subject::default() };
    assert_eq!(faults.active(SLOW, &with_request), None);
    assert_eq!(faults.clone().applied(), [(SLOW, 2)]);
    assert!(faults.evaluate(SLOW, &Subject::default()).is_some());
}

#[test]
fn single_read_answers_off_and_others_act() {
    let world = World::new();
    let nothing = Subject::default();
    let mut state = State { armed: vec![slow(70)], ..State::default() };
    state.make_ineffective("consumer.slow:effect@game".parse().unwrap());
    state.write(&world.file).unwrap();
    let faults = world.watch();
    assert_eq!((delay_ms(&faults), faults.applied()), (None, vec![(SLOW, 1)]), "counted as usual");
    assert!(!faults.has_effect(SLOW) && faults.has_effect(FaultId::ConsumerStuck));
    assert!(faults.is_active(SLOW, Place::Before, &nothing) && faults.arming(SLOW, Place::End).is_some());
    let elsewhere = Faults::watch(Options { service: "user", ..world.options() });
    assert_eq!(delay_ms(&elsewhere), Some(70), "the read of another service");
}

#[test]
fn read_is_off_until_its_arming_expires() {
    let world = World::new();
    let request = request::sign(&[(SLOW, Vec::new())], now_ms() + 60_000, SECRET);
    let with_request = Subject { request: Some(&request), ..Subject::default() };
    for (expires_at_ms, acts) in [(now_ms() + 60_000, false), (1, true)] {
        let armed = Armed { expires_at_ms: Some(expires_at_ms), ..slow(70) };
        let mut state = State { armed: vec![armed], ..State::default() };
        state.make_ineffective("consumer.slow:effect@game".parse().unwrap());
        state.write(&world.file).unwrap();
        let faults = world.watch();
        assert_eq!(faults.active(SLOW, &with_request).is_some(), acts, "{expires_at_ms}");
    }
}

#[test]
fn read_beside_the_effect_can_be_off() {
    let world = World::new();
    let id = FaultId::KafkaReplyLost;
    let values = Values::defaults(id);
    let mut state = State::default();
    state.arm(Armed { id, scope: Scope::All, values, expires_at_ms: None });
    state.make_ineffective("kafka.reply-lost:before@wire".parse().unwrap());
    state.write(&world.file).unwrap();
    let faults = Faults::watch(Options { service: "wire", ..world.options() });
    let nothing = Subject::default();
    assert!(faults.arming(id, Place::Before).is_none() && faults.arming(id, Place::End).is_some());
    assert!(faults.peek(id, Place::Before, &nothing).is_none() && faults.is_active(id, Place::End, &nothing));
    assert!(faults.active(id, &nothing).is_some());
    state.arm(Armed { id, scope: Scope::All, values: Values::defaults(id), expires_at_ms: None });
    state.write(&world.file).unwrap();
    wait_for("the next arming has all reads", || faults.arming(id, Place::Before).is_some());
}

#[test]
fn process_is_idle_unless_fault_is_named() {
    let world = World::new();
    let faults = world.watch();
    assert!(faults.reads_requests() && faults.is_idle(None) && !faults.is_idle(Some("an entry")));
    assert!(Faults::none().is_idle(Some("an entry")) && !Faults::none().reads_requests());
    world.write(&[slow(70)]);
    wait_for("the file is read", || !faults.is_idle(None));
}

#[test]
fn file_that_is_damaged_at_start_arms_nothing() {
    let world = World::new();
    fs::write(&world.file, "").unwrap();
    let faults = world.watch();
    assert!(faults.problem().is_some() && faults.armed().is_empty());
    assert_eq!(delay_ms(&faults), None);
}

#[test]
fn fault_ends_at_its_expiry() {
    let world = World::new();
    let expires_at_ms = now_ms() + 1_000;
    world.write(&[Armed { expires_at_ms: Some(expires_at_ms), ..slow(70) }]);
    let faults = world.watch();
    loop {
        let asked_at_ms = now_ms();
        let Some(delay) = delay_ms(&faults) else { break };
        assert_eq!(delay, 70);
        assert!(asked_at_ms < expires_at_ms, "the fault has not ended");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(now_ms() >= expires_at_ms, "the fault ended too early");
    assert!(faults.armed().is_empty());
    // A new process does not resurrect it.
    assert_eq!(delay_ms(&world.watch()), None);
}

#[test]
fn scope_selects_player_and_release() {
    let world = World::new();
    let armed = |id, scope| Armed { id, scope, values: Values::defaults(id), expires_at_ms: None };
    world.write(&[
        armed(FaultId::GameCpuSpike, Scope::Player("p-1".to_owned())),
        armed(FaultId::GameRtpDrift, Scope::Release("pitboss@1.0.0".to_owned())),
        armed(FaultId::GamePayoutScale, Scope::Release("pitboss@2.0.0".to_owned())),
    ]);
    let faults = world.watch();
    let active = |id, player_id| {
        let subject = Subject { player_id: Some(player_id), ..Subject::default() };
        faults.active(id, &subject).is_some()
    };
    assert!(active(FaultId::GameCpuSpike, "p-1") && !active(FaultId::GameCpuSpike, "p-2"));
    assert!(active(FaultId::GameRtpDrift, "p-2") && !active(FaultId::GamePayoutScale, "p-2"));
}

#[test]
fn request_carries_fault_for_itself_only() {
    let world = World::new();
    let faults = world.watch();
    let signed = |expires_at_ms: i64, secret: &[u8]| {
        request::sign(&[(SLOW, vec![("delay_ms".to_owned(), 90)])], expires_at_ms, secret)
    };
    let active = |id, request: &str| {
        let subject = Subject { request: Some(request), ..Subject::default() };
        faults.active(id, &subject).map(|values| values.get("delay_ms"))
    };
    let entry = signed(now_ms() + 60_000, SECRET);
    assert_eq!(active(SLOW, &entry), Some(90));
    assert_eq!(active(FaultId::ConsumerDuplicate, &entry), None, "it names another fault");
    assert_eq!(active(SLOW, &signed(now_ms() - 1, SECRET)), None, "it has expired");
    assert_eq!(active(SLOW, &signed(now_ms() + 60_000, b"another secret")), None, "another secret signed it");
    assert_eq!(active(SLOW, "consumer.slow"), None, "it is not signed");
    assert_eq!(delay_ms(&faults), None, "other traffic has no fault");
    assert!(faults.armed().is_empty(), "the file arms nothing");
    // A fault of the request goes before one of the file.
    world.write(&[slow(70)]);
    wait_for("the file is seen", || delay_ms(&faults) == Some(70));
    assert_eq!(active(SLOW, &entry), Some(90));
    assert_eq!(active(SLOW, "forged"), Some(70), "a forged entry neither arms nor disarms");
}

#[test]
fn receipts_count_what_was_applied() {
    let world = World::new();
    world.write(&[slow(70)]);
    let faults = world.watch();
    for _ in 0..3 {
        delay_ms(&faults);
    }
    assert!(faults.active(FaultId::GameRtpDrift, &Subject::default()).is_none());
    assert_eq!(faults.clone().applied(), [(SLOW, 3)]);
}

#[test]
fn secret_is_not_printed() {
    let world = World::new();
    let printed = format!("{:?}", world.watch());
    assert!(printed.contains("faults.json"), "{printed}");
    let secret = format!("{SECRET:?}");
    assert!(!printed.contains(&secret) && !printed.contains("a secret of this test"), "{printed}");
}

/// flagd's own file provider hung after about 1 500 writes beside it.
#[test]
fn ten_thousand_writes_give_no_invalid_read() {
    const WRITES: i64 = 10_000;
    let world = World::new();
    // 1 000 to 9 999 and back, so that most files have the same length.
    let delay_of = |write: i64| 1_000 + write % 9_000;
    world.write(&[slow(delay_of(0))]);
    let faults = world.watch();
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u64;
            while !has_ended.load(Ordering::Relaxed) {
                let state = State::read(&world.file).expect("a whole file");
                assert_eq!(state.armed.len(), 1, "{state:?}");
                assert!((1_000..10_000).contains(&state.armed[0].values.get("delay_ms")), "{state:?}");
                reads += 1;
            }
            reads
        });
        let evaluation = scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                let delay = delay_ms(&faults).expect("the fault is armed in every state");
                assert!((1_000..10_000).contains(&delay), "{delay}");
                assert_eq!(faults.problem(), None);
                thread::sleep(Duration::from_micros(100));
            }
        });
        let writer = scope.spawn(|| {
            for write in 1..=WRITES {
                world.write(&[slow(delay_of(write))]);
            }
        });
        let written = writer.join();
        has_ended.store(true, Ordering::Relaxed);
        written.unwrap();
        assert!(reader.join().unwrap() > 0, "nothing was read");
        evaluation.join().unwrap();
    });
    wait_for("the last write is in effect", || delay_ms(&faults) == Some(delay_of(WRITES)));
    assert_eq!(fs::read_dir(world.file.parent().unwrap()).unwrap().count(), 1, "a draft was left behind");
}

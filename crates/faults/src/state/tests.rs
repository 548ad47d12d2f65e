use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn armed(id: FaultId) -> Armed {
    Armed { id, scope: Scope::All, values: Values::defaults(id), expires_at_ms: None }
}

#[test]
fn missing_file_arms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(State::read(&folder.path().join("faults.json")).unwrap(), State::default());
}

#[test]
fn written_state_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faults.json");
    let mut all = State::default();
    for id in FaultId::ALL {
        all.arm(Armed { scope: id.definition().default_scope.clone(), ..armed(id) });
    }
    all.write(&path).unwrap();
    assert_eq!(State::read(&path).unwrap(), all);
    State::default().write(&path).unwrap();
    assert_eq!(State::read(&path).unwrap(), State::default());
}

#[test]
fn only_owner_may_read_and_no_draft_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faults.json");
    fs::write(&path, "{}").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    State::default().write(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // A folder in the file's place refuses the rename.
    let taken = folder.path().join("folder");
    fs::create_dir(&taken).unwrap();
    assert!(matches!(State::default().write(&taken), Err(StateError::File { action: "write", .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn unreadable_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = State::read(folder.path()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read the flag file "), "{error}");
    let large = folder.path().join("large.json");
    fs::write(&large, " ".repeat(usize::try_from(BYTES_MAX).unwrap() + 1)).unwrap();
    assert!(matches!(State::read(&large), Err(StateError::File { .. })));
}

#[test]
fn arming_replaces_and_disarming_removes() {
    let mut state = State::default();
    state.arm(armed(FaultId::ConsumerSlow));
    state.arm(Armed { expires_at_ms: Some(7), ..armed(FaultId::ConsumerSlow) });
    assert_eq!(state.armed.len(), 1);
    assert_eq!(state.armed[0].expires_at_ms, Some(7));
    assert!(state.disarm(FaultId::ConsumerSlow));
    assert!(!state.disarm(FaultId::ConsumerSlow));
}

/// Otherwise the fault would stay without effect when an operator arms it.
#[test]
fn ineffective_read_ends_with_its_arming() {
    let site = |name: &str| name.parse::<ReadSite>().unwrap();
    let (game, user) = (site("consumer.slow:effect@game"), site("consumer.slow:effect@user"));
    let mut state = State::default();
    state.arm(armed(FaultId::ConsumerSlow));
    state.make_ineffective(game);
    state.make_ineffective(user);
    assert_eq!(state.ineffective, [user], "one of each fault");
    state.arm(armed(FaultId::ConsumerSlow));
    assert!(state.ineffective.is_empty(), "another arming");
    state.make_ineffective(game);
    assert!(state.disarm(FaultId::ConsumerSlow) && state.ineffective.is_empty());
    state.arm(Armed { expires_at_ms: Some(7), ..armed(FaultId::ConsumerSlow) });
    state.make_ineffective(game);
    state.drop_expired(7);
    assert_eq!(state, State::default());
}

#[test]
fn fault_expires_at_its_time() {
    let fault = Armed { expires_at_ms: Some(100), ..armed(FaultId::ConsumerSlow) };
    assert!(!fault.is_expired(99) && fault.is_expired(100));
    assert!(!armed(FaultId::ConsumerSlow).is_expired(i64::MAX));
}

/// Without the lock two writers would read the same state, and one change would be lost.
#[test]
fn changes_at_the_same_moment_are_all_kept() {
    const ROUNDS: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faults.json");
    let ids =
        [FaultId::ConsumerSlow, FaultId::ConsumerDuplicate, FaultId::GameCpuSpike, FaultId::GameRtpDrift];
    for _ in 0..ROUNDS {
        std::thread::scope(|scope| {
            for id in ids {
                let path = &path;
                scope.spawn(move || State::update(path, |state| state.arm(armed(id))).unwrap());
            }
        });
        let found: Vec<FaultId> =
            State::read(&path).unwrap().armed.into_iter().map(|armed| armed.id).collect();
        assert_eq!(found.len(), ids.len(), "{found:?}");
        assert_eq!(State::disarm_all(&path).unwrap().len(), ids.len());
        assert_eq!(State::read(&path).unwrap(), State::default());
    }
}

#[test]
fn change_waits_for_another_one_only_so_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faults.json");
    let held = lock::take(&path).unwrap();
    let error = lock::take_within(&path, std::time::Duration::from_millis(30)).unwrap_err();
    assert!(error.to_string().contains("cannot lock the flag file"), "{error}");
    assert!(error.to_string().contains("another change has not ended within 30ms"), "{error}");
    drop(held);
    assert!(!State::update(&path, |state| state.disarm(FaultId::ConsumerSlow)).unwrap());
    assert!(!path.exists(), "a change that changes nothing writes nothing");
}

#[test]
fn change_drops_expired_and_keeps_damaged_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faults.json");
    let expired = Armed { expires_at_ms: Some(1), ..armed(FaultId::ConsumerSlow) };
    State { armed: vec![expired, armed(FaultId::GameRtpDrift)], ..State::default() }.write(&path).unwrap();
    assert_eq!(State::update(&path, |state| state.armed.len()).unwrap(), 1);
    assert_eq!(State::read(&path).unwrap().armed, [armed(FaultId::GameRtpDrift)]);
    fs::write(&path, "{").unwrap();
    assert!(matches!(State::update(&path, |_| ()), Err(StateError::Invalid { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "{");
    assert!(State::disarm_all(&path).unwrap().is_empty(), "only this replaces it");
    assert_eq!(State::read(&path).unwrap(), State::default());
}

#[test]
fn change_in_a_missing_folder_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/faults.json");
    assert!(!State::update(&path, |state| state.disarm(FaultId::ConsumerSlow)).unwrap());
    assert!(State::update(&path, |state| state.arm(armed(FaultId::ConsumerSlow))).is_err());
    assert!(State::disarm_all(&path).unwrap().is_empty());
}

use super::*;

const FAULT: FaultId = FaultId::PaymentRandomFailure;

fn key(key: &str) -> Subject<'_> {
    Subject { key: Some(key), ..Subject::default() }
}

fn player(id: &str) -> Subject<'_> {
    Subject { player_id: Some(id), ..Subject::default() }
}

const GAME: Process<'_> = Process { service: "game", release: "pitboss@1.0.0" };

fn is_covered(percent: u8, subject: &Subject<'_>) -> bool {
    Scope::SharePercent(percent).covers(FAULT, subject, GAME)
}

/// The first value is the test vector of flagd's Rust engine. The others were computed by another implementation.
#[test]
fn hash_matches_reference_values() {
    assert_eq!(murmur3_32(b"flag-user"), 2_410_693_464);
    assert_eq!(murmur3_32(b""), 0);
    assert_eq!(murmur3_32(b"a"), 0x3c25_69b2);
    assert_eq!(murmur3_32(b"abc"), 0xb3dd_93fa);
    assert_eq!(murmur3_32(b"abcd"), 0x43ed_676a);
}

#[test]
fn text_length_has_shortest_form() {
    for (length, head) in [
        (0, vec![0x60]),
        (23, vec![0x77]),
        (24, vec![0x78, 24]),
        (255, vec![0x78, 255]),
        (256, vec![0x79, 1, 0]),
    ] {
        let mut bytes = Vec::new();
        push_cbor_text(&mut bytes, &"x".repeat(length));
        assert!(bytes.starts_with(&head), "{length}: {bytes:02x?}");
        assert_eq!(bytes.len(), head.len() + length);
    }
}

#[test]
fn share_is_about_right_and_grows_with_percent() {
    let keys: Vec<String> = (0..10_000).map(|n| format!("payment-{n}")).collect();
    let mut before = 0;
    for percent in [1, 10, 25, 50, 90, 99] {
        let covered = keys.iter().filter(|k| is_covered(percent, &key(k))).count();
        // Four standard deviations of a share of 50 % over 10 000 keys are 200 keys.
        let wanted = usize::from(percent) * 100;
        assert!(covered.abs_diff(wanted) <= 200, "{percent} %: {covered} of 10 000");
        assert!(covered > before, "{percent} % must cover more than the smaller share");
        before = covered;
    }
}

#[test]
fn same_key_always_gets_same_answer() {
    for n in 0..1_000 {
        let id = format!("payment-{n}");
        let first = is_covered(30, &key(&id));
        assert!((0..10).all(|_| is_covered(30, &key(&id)) == first), "{id}");
        // A key that a share covers is covered by every larger share.
        assert!(!first || is_covered(31, &key(&id)), "{id}");
    }
}

#[test]
fn shares_of_two_faults_are_independent() {
    let both = (0..10_000)
        .map(|n| format!("payment-{n}"))
        .filter(|id| {
            let half = Scope::SharePercent(50);
            half.covers(FAULT, &key(id), GAME) && half.covers(FaultId::ConsumerSlow, &key(id), GAME)
        })
        .count();
    assert!(both.abs_diff(2_500) <= 200, "{both} of 10 000 are in both halves");
}

#[test]
fn whole_share_covers_every_key() {
    let covered = |subject: &Subject<'_>| is_covered(100, subject);
    assert!((0..1_000).all(|n| covered(&key(&n.to_string()))));
    assert!(!covered(&Subject::default()), "without a key no share applies");
    assert!(!covered(&key("")), "an empty key counts as no key");
}

#[test]
fn player_decides_share_without_key() {
    for n in 0..200 {
        let id = n.to_string();
        assert_eq!(is_covered(50, &player(&id)), is_covered(50, &key(&id)));
    }
    let with_key = Subject { player_id: Some("p-1"), ..key("k-1") };
    assert_eq!(is_covered(50, &with_key), is_covered(50, &key("k-1")));
}

#[test]
fn player_release_and_service_match_exactly() {
    let one_player = Scope::Player("p-1".to_owned());
    assert!(one_player.covers(FAULT, &player("p-1"), GAME));
    assert!(!one_player.covers(FAULT, &player("p-10"), GAME));
    assert!(!one_player.covers(FAULT, &key("p-1"), GAME), "a key is not a player");
    let nobody = Subject::default();
    let release = Scope::Release("pitboss@1.2.0".to_owned());
    assert!(release.covers(FAULT, &nobody, Process { release: "pitboss@1.2.0", ..GAME }));
    assert!(!release.covers(FAULT, &nobody, Process { release: "pitboss@1.2.0-rc1", ..GAME }));
    let service = Scope::Service("game".to_owned());
    assert!(service.covers(FAULT, &nobody, GAME));
    assert!(!service.covers(FAULT, &nobody, Process { service: "gateway", ..GAME }));
    assert!(Scope::All.covers(FAULT, &nobody, GAME));
}

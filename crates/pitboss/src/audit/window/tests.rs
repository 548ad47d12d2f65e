//! Windows begin, are cut and end where the topic's offsets say.

use super::*;

fn partition(window: &Window, number: i32) -> (i64, i64, bool) {
    let partition = window.partitions[&number];
    (partition.from, partition.end, partition.is_cut)
}

fn of_mark(offsets: [(i32, i64); 2], of_time: [(i32, i64); 2]) -> Begin {
    Begin::Mark { offsets: offsets.into(), of_time: of_time.into() }
}

/// A window over one partition, in which the player's records are.
fn window_of(low: i64, first_ms: Option<i64>) -> Window {
    let mut window = Window::new(&Ranges::from([(0, low..9)]), &Begin::Oldest);
    window.partitions.get_mut(&0).unwrap().first_ms = first_ms;
    window
}

/// Reads on with nothing delivered, while the topic has these extents.
fn pass(window: &mut Window, left: &Ranges, extents: &Ranges) {
    window.advance(&window.unread(), (left, &[]), extents, 0).unwrap();
}

#[test]
fn window_begins_at_mark_or_oldest_record() {
    let extents = Ranges::from([(0, 0..9), (1, 4..9)]);
    let all = Window::new(&extents, &Begin::Oldest);
    assert_eq!((partition(&all, 0), partition(&all, 1)), ((0, 9, false), (4, 9, true)));
    let of_time = Window::new(&extents, &Begin::Time(BTreeMap::from([(0, 0), (1, 4)])));
    assert_eq!((partition(&of_time, 0), partition(&of_time, 1)), ((0, 9, false), (4, 9, true)));
    let later = Window::new(&extents, &Begin::Time(BTreeMap::from([(0, 9), (1, 6)])));
    assert_eq!((partition(&later, 0), partition(&later, 1)), ((9, 9, false), (6, 9, false)));
    let marked = Window::new(&extents, &of_mark([(0, 7), (1, 3)], [(0, 7), (1, 4)]));
    assert_eq!((partition(&marked, 0), partition(&marked, 1)), ((7, 9, false), (4, 9, true)));
    let created_again = Window::new(&extents, &of_mark([(0, 10), (1, 9)], [(0, 0), (1, 9)]));
    assert_eq!((partition(&created_again, 0), partition(&created_again, 1)), ((0, 9, true), (9, 9, false)));
}

#[test]
fn recreated_topic_beyond_mark_is_read_whole() {
    let extents = Ranges::from([(0, 0..9), (1, 0..9)]);
    let window = Window::new(&extents, &of_mark([(0, 5), (1, 5)], [(0, 0), (1, 9)]));
    assert_eq!(partition(&window, 0), (0, 9, true), "a record of the mark's time is before the mark");
    assert_eq!(partition(&window, 1), (5, 9, false), "commands that were not completed are behind the mark");
    assert!(!window.has_first_appearance(0, 0), "the first appearance may be deleted");
}

#[test]
fn deleted_records_are_not_missing() {
    let player = "ada";
    assert!(window_of(4, None).may_be_deleted(player, i64::MAX), "nothing is left");
    assert!(window_of(4, Some(50_000)).may_be_deleted(player, 50_000));
    assert!(!window_of(4, Some(50_000)).may_be_deleted(player, 60_001));
    assert!(Window::default().may_be_deleted(player, 0), "there is no such topic");
}

#[test]
fn documents_before_oldest_record_are_not_missing() {
    let player = "ada";
    assert!(window_of(0, None).may_be_deleted(player, i64::MAX), "the topic is empty");
    assert!(window_of(0, Some(50_000)).may_be_deleted(player, 60_000), "the topic may be created again");
    assert!(!window_of(0, Some(50_000)).may_be_deleted(player, 60_001));
    let begin = of_mark([(0, 5), (1, 0)], [(0, 5), (1, 0)]);
    let marked = Window::new(&Ranges::from([(0, 0..9), (1, 0..0)]), &begin);
    assert!(!marked.may_be_deleted(player, 0), "the topic has records of before the mark");
}

#[test]
fn deletion_before_the_read_cuts_the_window() {
    let player = "ada";
    let extents = Ranges::from([(0, 0..9)]);
    let mut window = Window::new(&extents, &Begin::Oldest);
    window.partitions.get_mut(&0).unwrap().first_ms = Some(0);
    pass(&mut window, &Ranges::from([(0, 3..9)]), &extents);
    assert!(!window.may_be_deleted(player, 60_000), "the offsets that it passed are markers of transactions");
    assert!(window.has_first_appearance(0, 0));
    // The broker deletes up to 7, of which 3 to 6 were not read.
    pass(&mut window, &Ranges::from([(0, 8..9)]), &Ranges::from([(0, 7..9)]));
    assert!(partition(&window, 0).2 && window.may_be_deleted(player, 60_000), "nothing behind it was read");
    assert!(!window.has_first_appearance(0, 0));
    window.partitions.get_mut(&0).unwrap().first_ms = Some(40_000);
    assert!(window.may_be_deleted(player, 50_000) && !window.may_be_deleted(player, 50_001));
}

#[test]
fn deletion_of_what_was_read_changes_nothing() {
    let extents = Ranges::from([(0, 0..9)]);
    let mut window = Window::new(&extents, &Begin::Oldest);
    pass(&mut window, &Ranges::new(), &extents);
    let later = Ranges::from([(0, 9..12)]);
    window.extend(&later).unwrap();
    pass(&mut window, &Ranges::new(), &later);
    assert_eq!(partition(&window, 0), (0, 12, false));
}

#[test]
fn only_players_of_held_partition_are_held() {
    let number = partition_of("ada", 6).unwrap();
    let mut other = ["bob", "cleo", "dan", "eve", "fay", "gus"].into_iter();
    let other = other.find(|player| partition_of(player, 6) != Some(number)).unwrap();
    let extents: Ranges = (0..6).map(|number| (number, 0..9)).collect();
    let mut window = Window::new(&extents, &Begin::Oldest);
    assert!(!window.may_be_held("ada"));
    window.set_held(Held::from([(number, 2)]));
    assert!(window.may_be_held("ada") && !window.may_be_held(other));
    assert_eq!((window.held(), window.marks()[&number]), (2, 0), "the next audit reads them");
    window.set_held(Held::new());
    assert!(!window.may_be_held("ada"), "the transaction has ended");
}

#[test]
fn another_topic_ends_the_audit() {
    let mut window = Window::new(&Ranges::from([(0, 0..9)]), &Begin::Oldest);
    for (extents, reason) in [
        (Ranges::from([(0, 0..9), (1, 0..0)]), "had 1 partitions"),
        (Ranges::new(), "has 0 now"),
        (Ranges::from([(0, 0..2)]), "ends at 2 now"),
    ] {
        let error = window.extend(&extents).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("audit once more"), "{error}");
        assert!(window.advance(&Ranges::new(), (&Ranges::new(), &[]), &extents, 0).is_err());
    }
}

#[test]
fn next_audit_begins_at_what_was_not_examined() {
    let extents = Ranges::from([(0, 0..9), (1, 0..9)]);
    let mut window = Window::new(&extents, &Begin::Oldest);
    assert_eq!(window.limit(&BTreeMap::from([(0, 5)])), 13, "partition 1 was never read by the group");
    assert_eq!(window.unread(), Ranges::from([(0, 0..5)]));
    pass(&mut window, &Ranges::from([(0, 3..5)]), &extents);
    assert_eq!(window.unread(), Ranges::from([(0, 3..5)]));
    pass(&mut window, &Ranges::new(), &extents);
    window.close();
    window.extend(&extents).unwrap();
    assert_eq!(window.unread(), Ranges::from([(0, 5..9), (1, 0..9)]));
    pass(&mut window, &Ranges::new(), &extents);
    assert_eq!(window.marks(), BTreeMap::from([(0, 5), (1, 0)]), "what is read on is not examined");
}

use super::*;
use crate::journal::frame::{BodyKind, Encoding, Meta};

/// Creates a segment with these bodies. Returns the offset of each record and the end of the last one.
fn segment(directory: &Path, bodies: &[Vec<u8>]) -> (File, Layout, Vec<u64>) {
    let (file, layout) = create(directory, 1).expect("a segment");
    let mut places = vec![layout.first_offset()];
    let mut bytes = Vec::new();
    for (seq, body) in (1..).zip(bodies) {
        let (kind, encoding) = (BodyKind::Envelope, Encoding::Identity);
        layout.encode(Meta { seq, received_at_us: 1, project: 1, kind, encoding }, body, &mut bytes);
        places.push(layout.first_offset() + bytes.len() as u64);
    }
    file.write_all_at(&bytes, layout.first_offset()).expect("written");
    (file, layout, places)
}

fn flip(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("written");
}

#[test]
fn damaged_segment_header_keeps_its_layout() {
    let directory = tempfile::tempdir().expect("a folder");
    let (file, layout, _) = segment(directory.path(), &[b"a body".to_vec()]);
    for at in 0..layout.first_offset() {
        flip(&file, at);
        let found = Layout::of(&file, 1).expect("a segment");
        assert_eq!(found, Some(layout), "byte {at}");
        flip(&file, at);
    }
}

#[test]
fn damaged_header_of_empty_segment_is_no_error() {
    let directory = tempfile::tempdir().expect("a folder");
    let (file, layout, _) = segment(directory.path(), &[]);
    for at in 0..layout.first_offset() {
        flip(&file, at);
        let expected = (at < MAGIC.len() as u64).then_some(layout);
        assert_eq!(Layout::of(&file, 1).expect("no error"), expected, "byte {at}");
        flip(&file, at);
    }
}

#[test]
fn marker_across_two_search_chunks_is_found() {
    let directory = tempfile::tempdir().expect("a folder");
    // With marker, lengths and the fixed part a record is 40 bytes longer than its body.
    for bytes in CHUNK_BYTES - 48..=CHUNK_BYTES - 36 {
        let (file, layout, places) = segment(directory.path(), &[vec![b'a'; bytes], b"next".to_vec()]);
        flip(&file, places[0]);
        let mut scan = Scan { file: &file, layout, at: places[0], file_bytes: places[2], next_seq: 1 };
        let damage = scan.next().expect("read");
        let is_first = matches!(damage, Found::Damage { from, to } if [from, to] == places[..2]);
        assert!(is_first, "{bytes}: {damage:?}");
        let next = scan.next().expect("read");
        assert!(matches!(next, Found::Record(frame) if frame.meta.seq == 2), "{bytes}: {next:?}");
    }
}

#[test]
fn quarantine_keeps_distinct_bytes_once() {
    let directory = tempfile::tempdir().expect("a folder");
    let file = tempfile::tempfile().expect("a file");
    let put = |from, to| quarantine(directory.path(), 1, &file, from, to, "torn").expect("quarantined");
    file.write_all_at(b"one two", 0).expect("written");
    assert!(put(0, 3));
    assert!(!put(0, 3), "it is there already");
    assert!(put(4, 7), "another place");
    file.write_all_at(b"six", 0).expect("written");
    assert!(put(0, 3), "other bytes at the same place");
    let files = fs::read_dir(directory.path()).expect("a folder").map(|entry| entry.expect("a file").path());
    let mut aside: Vec<_> = files.map(|path| fs::read(path).expect("a file")).collect();
    aside.sort();
    assert_eq!(aside, [b"one", b"six", b"two"]);
}

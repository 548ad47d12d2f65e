//! Disks that change bytes: damaged records are lost and reported, and the records behind them are still found.

use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{Program, Recorder, client, error, lines, log};

fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(directory.join("data/segments")).expect("segments");
    let mut found: Vec<_> = folder
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect();
    found.sort();
    found
}

/// Flips a bit `before` bytes in front of this text.
fn flip(path: &Path, text: &str, before: usize) {
    let bytes = std::fs::read(path).expect("a segment");
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).expect("the record");
    flip_at(path, at - before);
}

fn flip_at(path: &Path, at: usize) {
    let bytes = std::fs::read(path).expect("a segment");
    let file = OpenOptions::new().write(true).open(path).expect("a segment");
    file.write_all_at(&[bytes[at] ^ 0x10], at as u64).expect("a flipped bit");
}

fn envelope(number: u32) -> String {
    error(&"ab".repeat(16), "aaaaaaaaaaaaaaaa", "E", &format!("value-{number}-"), "anna")
}

/// Stores envelopes with the numbers from 1 on.
async fn store_numbers(recorder: &Recorder, last: u32) {
    for number in 1..=last {
        recorder.store(1, envelope(number)).await;
    }
}

async fn numbers(recorder: &Recorder) -> Vec<u32> {
    let lines = recorder.lines("/api/v1/envelopes").await;
    let value = |line: &Value| {
        line["items"][0]["payload"]["exception"]["values"][0]["value"].as_str().map(str::to_owned)
    };
    lines
        .iter()
        .map(|line| {
            value(line)
                .and_then(|value| value.split('-').nth(1).and_then(|number| number.parse().ok()))
                .expect("a number")
        })
        .collect()
}

/// Returns the distance from the text back to the fixed part of its record, across the header line of the envelope. The
/// checksum, the length and the marker are right before that part.
fn head_distance(number: u32) -> usize {
    let envelope = envelope(number);
    envelope.find(&format!("value-{number}-")).expect("the text") + 24
}

#[tokio::test(flavor = "multi_thread")]
async fn records_after_damage_are_read() {
    // In the body, in the length, in the checksum, in the marker.
    for into_head in [None, Some(8), Some(4), Some(12)] {
        let recorder = Recorder::start(&[]).await;
        store_numbers(&recorder, 9).await;
        let directory = recorder.stop().await;
        let segment = &files(directory.path(), "segment")[0];
        let before = into_head.map_or(0, |distance| head_distance(4) + distance);
        flip(segment, "value-4-", before);
        // Deleted and rebuilt, because the old index would still know the locations.
        std::fs::remove_file(directory.path().join("data/index.sqlite")).expect("an index");

        let recorder = Recorder::start_in(directory, &[]).await;
        assert_eq!(numbers(&recorder).await, [1, 2, 3, 5, 6, 7, 8, 9], "{into_head:?}");
        recorder.store(1, envelope(10)).await;
        let directory = recorder.stop().await;
        let aside = files(directory.path(), "damaged");
        assert_eq!(aside.len(), 1, "the bytes are put aside");
        assert!(into_head.is_some() || std::fs::metadata(&aside[0]).expect("a file").len() > 100);
        let recorder = Recorder::start_in(directory, &[]).await;
        assert_eq!(numbers(&recorder).await, [1, 2, 3, 5, 6, 7, 8, 9, 10], "{into_head:?}, the next start");
        let directory = recorder.stop().await;
        assert_eq!(files(directory.path(), "damaged").len(), 1, "under the same name");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_logged_once() {
    let recorder = Recorder::start(&[]).await;
    store_numbers(&recorder, 3).await;
    let directory = recorder.stop().await;
    flip(&files(directory.path(), "segment")[0], "value-2-", 0);
    // Each start reads the segment to its end, and the first one reads it again for the index.
    std::fs::remove_file(directory.path().join("data/index.sqlite")).expect("an index");
    for start in 1..=2 {
        let program = Program::start(directory.path(), &[]).await;
        let listing = client().get(format!("{}/api/v1/envelopes", program.query)).send().await;
        let listing = listing.expect("a response").text().await.expect("text");
        assert_eq!(lines(&listing).len(), 2, "start {start}");
    }
    let log = log(directory.path());
    assert_eq!(log.matches("a journal segment is damaged").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_segment_header_loses_no_record() {
    let recorder = Recorder::start(&[]).await;
    store_numbers(&recorder, 3).await;
    let mut directory = recorder.stop().await;
    // In the name of the layout, and in the two copies of the marker behind it.
    for at in [3, 17, 25] {
        let segment = files(directory.path(), "segment")[0].clone();
        flip_at(&segment, at);
        std::fs::remove_file(directory.path().join("data/index.sqlite")).expect("an index");
        let recorder = Recorder::start_in(directory, &[]).await;
        assert_eq!(numbers(&recorder).await, [1, 2, 3], "byte {at}");
        directory = recorder.stop().await;
        flip_at(&segment, at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_empty_segment_is_recreated() {
    let recorder = Recorder::start(&[]).await;
    assert!(recorder.lines("/api/v1/envelopes").await.is_empty());
    let directory = recorder.stop().await;
    flip_at(&files(directory.path(), "segment")[0], 17);
    let recorder = Recorder::start_in(directory, &[]).await;
    assert_eq!(recorder.store(1, envelope(1)).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_damage_stops_no_query_or_indexing() {
    let recorder = Recorder::start(&[("PITBOSS__RECORDER__SEGMENT_BYTES", "4096")]).await;
    store_numbers(&recorder, 30).await;
    let segments = files(recorder.directory.path(), "segment");
    assert!(segments.len() > 3, "{segments:?}");
    flip(&segments[0], "value-2-", 0);
    let without: Vec<u32> = (1..=30).filter(|number| *number != 2).collect();
    assert_eq!(numbers(&recorder).await, without, "a listing passes over it");
    let issue = &recorder.lines("/api/v1/issues").await[0];
    assert_eq!(issue["last_event_id"].as_str().map(str::len), Some(32));
    let directory = recorder.stop().await;
    std::fs::remove_file(directory.path().join("data/index.sqlite")).expect("an index");
    let last = |path: &PathBuf| std::fs::read(path).expect("a segment");
    let before: Vec<_> = segments.iter().map(last).collect();
    let recorder = Recorder::start_in(directory, &[]).await;
    assert_eq!(numbers(&recorder).await, without, "and an index is made without it");
    assert_eq!(
        segments.iter().map(last).collect::<Vec<_>>()[..3],
        before[..3],
        "nothing is changed in place"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_torn_end_is_quarantined_separately() {
    let mut directory = None;
    for number in 1..=4 {
        let recorder = match directory.take() {
            Some(directory) => Recorder::start_in(directory, &[]).await,
            None => Recorder::start(&[]).await,
        };
        // The second and the fourth torn end begin where the one before was cut off.
        if number % 2 == 1 {
            recorder.store(1, envelope(number)).await;
        }
        let stopped = recorder.stop().await;
        let segment = &files(stopped.path(), "segment")[0];
        let file = OpenOptions::new().write(true).open(segment).expect("a segment");
        let end = file.metadata().expect("metadata").len();
        file.write_all_at(format!("torn {number}").as_bytes(), end).expect("a torn end");
        directory = Some(stopped);
    }
    let recorder = Recorder::start_in(directory.expect("a folder"), &[]).await;
    assert_eq!(numbers(&recorder).await, [1, 3]);
    let mut torn: Vec<_> = files(recorder.directory.path(), "torn")
        .iter()
        .map(|path| std::fs::read(path).expect("a file"))
        .collect();
    torn.sort();
    assert_eq!(torn, [b"torn 1", b"torn 2", b"torn 3", b"torn 4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn first_layout_segment_is_read_only() {
    let directory = tempfile::tempdir().expect("a folder");
    let segments = directory.path().join("data/segments");
    std::fs::create_dir_all(&segments).expect("a folder");
    let mut bytes = b"pitboss-journal1".to_vec();
    for seq in 1..=3_u64 {
        let mut record = seq.to_le_bytes().to_vec();
        record.extend_from_slice(&1_700_000_000_000_000_u64.to_le_bytes());
        record.extend_from_slice(&1_u32.to_le_bytes());
        record.extend_from_slice(&[0; 4]);
        record.extend_from_slice(envelope(u32::try_from(seq).expect("small")).as_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&record);
        bytes.extend_from_slice(&u32::try_from(record.len()).expect("small").to_le_bytes());
        bytes.extend_from_slice(&crc.sum().to_le_bytes());
        bytes.extend_from_slice(&record);
    }
    std::fs::write(segments.join(format!("{:020}.segment", 1)), &bytes).expect("a segment");
    let recorder = Recorder::start_in(directory, &[]).await;
    assert_eq!(recorder.store(1, envelope(4)).await, 4);
    assert_eq!(numbers(&recorder).await, [1, 2, 3, 4]);
    let [old, new] =
        <[PathBuf; 2]>::try_from(files(recorder.directory.path(), "segment")).expect("two files");
    assert_eq!(std::fs::read(old).expect("a segment"), bytes, "the old one is not written to");
    assert!(new.ends_with(format!("{:020}.segment", 4)), "{}", new.display());
    assert!(std::fs::read(new).expect("a segment").starts_with(b"pitboss-journal2"));
}

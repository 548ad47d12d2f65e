//! Simulated power cuts: every acknowledged append must survive, although unsynchronised bytes are lost. A journal that
//! does not synchronise must be shown to lose some, because otherwise the test would detect nothing.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use recorder::{
    journal::{Append, BodyKind, Cursor, Encoding, Journal, Options},
    protocol::digest::Digest,
};

/// State of the simulated disk.
#[derive(Default)]
struct Disk {
    /// Length of each file at its last synchronisation, which a power cut preserves.
    synced: HashMap<u64, u64>,
    /// Synchronisations until the power fails. The last of them fails.
    syncs_left: u32,
}

static DISK: Mutex<Option<Disk>> = Mutex::new(None);

fn with_disk<T>(work: impl FnOnce(&mut Disk) -> T) -> T {
    work(DISK.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

fn sync_and_remember(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    with_disk(|disk| {
        disk.syncs_left = disk.syncs_left.saturating_sub(1);
        if disk.syncs_left == 0 {
            return Err(io::Error::other("the power fails"));
        }
        disk.synced.insert(metadata.ino(), metadata.len());
        Ok(())
    })
}

fn sync_nothing(_: &File) -> io::Result<()> {
    with_disk(|disk| {
        disk.syncs_left = disk.syncs_left.saturating_sub(1);
        if disk.syncs_left == 0 { Err(io::Error::other("the power fails")) } else { Ok(()) }
    })
}

/// Cuts every segment to a random length from the synchronised to the written one. May overwrite an unsynchronised byte.
fn power_cut(directory: &Path, random: &mut StdRng) {
    for entry in std::fs::read_dir(directory).expect("segments") {
        let path = entry.expect("a segment").path();
        let file = OpenOptions::new().write(true).open(&path).expect("a segment");
        let metadata = file.metadata().expect("metadata");
        if path.extension().is_none_or(|ending| ending != "segment") {
            continue;
        }
        let safe = with_disk(|disk| disk.synced.get(&metadata.ino()).copied()).unwrap_or(32);
        let left = random.random_range(safe..=metadata.len());
        file.set_len(left).expect("a cut");
        if left > safe && random.random_bool(0.5) {
            let at = random.random_range(safe..left);
            std::os::unix::fs::FileExt::write_all_at(&file, b"?", at).expect("a scribble");
        }
    }
}

async fn run_until_power_cut(
    directory: &Path,
    sync: fn(&File) -> io::Result<()>,
    random: &mut StdRng,
    stored: &mut Vec<(u64, Vec<u8>)>,
) {
    let options =
        Options { directory: directory.to_owned(), segment_bytes: 20_000, retention_bytes: u64::MAX, sync };
    let (journal, thread) = Journal::open(options).expect("a journal");
    with_disk(|disk| disk.syncs_left = random.random_range(2..12));
    loop {
        let bodies: Vec<Vec<u8>> = (0..random.random_range(1..20))
            .map(|_| (0..random.random_range(0..2_000)).map(|_| random.random()).collect())
            .collect();
        let appends = bodies.into_iter().map(|body| {
            let journal = journal.clone();
            async move {
                let bytes = Bytes::from(body.clone());
                let (kind, encoding, digest) = (BodyKind::Envelope, Encoding::Identity, Digest::default());
                let append =
                    Append { received_at_us: 1, project: 1, kind, encoding, body: bytes.into(), digest };
                journal.append(append).await.map(|seq| (seq, body))
            }
        });
        let (acknowledged, refused): (Vec<_>, Vec<_>) =
            futures::future::join_all(appends).await.into_iter().partition(Result::is_ok);
        stored.extend(acknowledged.into_iter().flatten());
        if !refused.is_empty() {
            break;
        }
    }
    journal.close().await;
    thread.join().expect("no panic");
}

/// Returns the number of acknowledged bodies that are missing or changed.
async fn lost(directory: &Path, stored: &[(u64, Vec<u8>)]) -> usize {
    let options = Options {
        directory: directory.to_owned(),
        segment_bytes: 20_000,
        retention_bytes: u64::MAX,
        sync: recorder::journal::sync_data,
    };
    let (journal, thread) = Journal::open(options).expect("a journal");
    let durable = journal.progress().state().durable;
    let mut reader = journal.reader();
    let found = |(seq, body): &&(u64, Vec<u8>)| {
        let mut cursor = Cursor { next_seq: *seq, at: None };
        *seq <= durable
            && reader.next(&mut cursor).is_ok_and(|read| {
                read.is_some_and(|(stored, _)| {
                    stored.seq == *seq && stored.body.memory() == Some(body.as_slice())
                })
            })
    };
    let there = stored.iter().filter(found).count();
    journal.close().await;
    thread.join().expect("no panic");
    stored.len() - there
}

#[tokio::test(flavor = "multi_thread")]
async fn synced_envelopes_survive_a_power_cut() {
    let seed: u64 = testkit::seed();
    let mut random = StdRng::seed_from_u64(seed);
    let (mut checked, mut runs_with_loss) = (0, 0);
    for run in 0..12 {
        with_disk(|disk| disk.synced.clear());
        let directory = tempfile::tempdir().expect("a folder");
        let mut stored = Vec::new();
        for _ in 0..3 {
            run_until_power_cut(directory.path(), sync_and_remember, &mut random, &mut stored).await;
            power_cut(directory.path(), &mut random);
        }
        checked += stored.len();
        assert_eq!(lost(directory.path(), &stored).await, 0, "seed {seed}, run {run}");

        with_disk(|disk| disk.synced.clear());
        let directory = tempfile::tempdir().expect("a folder");
        let mut stored = Vec::new();
        run_until_power_cut(directory.path(), sync_nothing, &mut random, &mut stored).await;
        power_cut(directory.path(), &mut random);
        runs_with_loss += usize::from(lost(directory.path(), &stored).await > 0);
    }
    assert!(checked > 300, "only {checked} responses checked");
    assert!(
        runs_with_loss > 6,
        "a journal that does not synchronise lost something in {runs_with_loss} of 12 runs only"
    );
}

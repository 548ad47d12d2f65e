//! The threads that hash. They are not the runtime's: each keeps its memory for as long as it lives, and runs at a lower
//! priority than everything that a player waits for.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::HASH_BYTES;

/// How much lower the priority is (0 to 19): a hash takes the time that nothing else wants. With 5, which leaves a hash a quarter of
/// a core that a bet wants too, a flood of log-ins made the 95th percentile of bets four times as long; with 19, twice.
const NICE: i32 = 19;

/// One hash to compute.
pub(super) struct Job {
    pub(super) password: String,
    pub(super) salt: Vec<u8>,
    pub(super) memory_kib: u32,
    pub(super) iterations: u32,
    pub(super) answer: oneshot::Sender<Result<[u8; HASH_BYTES], argon2::Error>>,
    /// The caller's seat and turn; free again when this is computed.
    pub(super) held: [OwnedSemaphorePermit; 2],
}

/// What the threads have done since they were started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Hashes that were begun.
    pub begun: u64,
    /// The most that were computed at one time.
    pub at_once_max: usize,
}

/// The threads; they end when this is dropped.
pub(super) struct Hasher {
    jobs: SyncSender<Job>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    running: AtomicUsize,
    at_once_max: AtomicUsize,
}

impl Hasher {
    /// Starts so many threads.
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        let (jobs, taken) = mpsc::sync_channel(threads);
        let (taken, counts) = (Arc::new(Mutex::new(taken)), Arc::new(Counts::default()));
        for _ in 0..threads {
            let (taken, counts) = (Arc::clone(&taken), Arc::clone(&counts));
            std::thread::Builder::new().name("passwords".to_owned()).spawn(move || hash(&taken, &counts))?;
        }
        Ok(Self { jobs, counts })
    }

    /// Hands a job over; `Err` gives it back when no thread is left. Whoever has a turn finds room, so this never waits.
    pub(super) fn give(&self, job: Job) -> Result<(), Box<Job>> {
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::TrySendError::Full(job) | mpsc::TrySendError::Disconnected(job) => Box::new(job),
        })
    }

    pub(super) fn work(&self) -> Work {
        Work {
            begun: self.counts.begun.load(Ordering::SeqCst),
            at_once_max: self.counts.at_once_max.load(Ordering::SeqCst),
        }
    }
}

/// The life of one thread.
fn hash(jobs: &Mutex<Receiver<Job>>, counts: &Counts) {
    // Where it is not allowed, hashing competes like everything else.
    rustix::process::setpriority_process(None, NICE).ok();
    let mut memory = Vec::new();
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // Whoever asked has left: the work would be for nobody.
        if job.answer.is_closed() {
            continue;
        }
        let running = counts.running.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        counts.at_once_max.fetch_max(running, Ordering::SeqCst);
        counts.begun.fetch_add(1, Ordering::SeqCst);
        let hash = compute(&job, &mut memory);
        counts.running.fetch_sub(1, Ordering::SeqCst);
        drop(job.held);
        job.answer.send(hash).ok();
    }
}

/// In `memory`, which grows to what is needed and is kept: freed and allocated anew it would scatter.
fn compute(job: &Job, memory: &mut Vec<Block>) -> Result<[u8; HASH_BYTES], argon2::Error> {
    let params = Params::new(job.memory_kib, job.iterations, 1, Some(HASH_BYTES))?;
    let blocks = params.block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::default());
    }
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0_u8; HASH_BYTES];
    argon2.hash_password_into_with_memory(
        job.password.as_bytes(),
        &job.salt,
        &mut hash,
        memory.as_mut_slice(),
    )?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    type Answer = oneshot::Sender<Result<[u8; HASH_BYTES], argon2::Error>>;

    /// A job for whoever waits at the other end of `answer`; made when seat and turn of the one before are free again.
    async fn job(places: &Arc<Semaphore>, answer: Answer) -> Job {
        let place = || Arc::clone(places).acquire_owned();
        let held = [place().await.unwrap(), place().await.unwrap()];
        let password = "correct horse".to_owned();
        Job { password, salt: vec![7; 16], memory_kib: 64, iterations: 1, answer, held }
    }

    #[tokio::test]
    async fn a_hash_that_nobody_waits_for_is_not_begun() {
        let hasher = Hasher::start(1).unwrap();
        let places = Arc::new(Semaphore::new(2));
        let (answer, hung_up) = oneshot::channel();
        drop(hung_up);
        assert!(hasher.give(job(&places, answer).await).is_ok());
        let (answer, answered) = oneshot::channel();
        assert!(hasher.give(job(&places, answer).await).is_ok());
        assert!(answered.await.unwrap().is_ok());
        assert_eq!(hasher.work().begun, 1);
    }

    /// The kernel tells how nice each thread is: the 19th field, of which the second is the name in parentheses.
    #[tokio::test]
    async fn threads_that_hash_have_a_lower_priority() {
        let hasher = Hasher::start(1).unwrap();
        let places = Arc::new(Semaphore::new(2));
        let (answer, answered) = oneshot::channel();
        assert!(hasher.give(job(&places, answer).await).is_ok());
        assert!(answered.await.unwrap().is_ok());
        let mut nice = Vec::new();
        for thread in std::fs::read_dir("/proc/self/task").unwrap() {
            // One that has ended meanwhile is no matter.
            let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
            let Some((name, fields)) = stat.rsplit_once(") ") else { continue };
            if name.ends_with("(passwords") {
                nice.push(fields.split(' ').nth(16).unwrap().parse::<i32>().unwrap());
            }
        }
        assert!(nice.iter().any(|nice| *nice >= NICE), "{nice:?}");
    }
}

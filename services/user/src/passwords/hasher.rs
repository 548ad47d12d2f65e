//! The hashing threads. They are separate from the runtime's threads: each keeps its memory for its whole life, and runs at a
//! lower priority than all work that a player waits for.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Length of a hash.
pub(super) const HASH_BYTES: usize = 32;

/// Niceness of the threads (0 to 19), so that a hash uses only otherwise idle time. With 5, a hash takes a quarter of a core from
/// a bet, and a flood of log-ins made the 95th percentile of bets four times as long. With 19, it made it twice as long.
const NICE: i32 = 19;

/// One hash to compute.
pub(super) struct Job {
    pub(super) password: String,
    pub(super) salt: Vec<u8>,
    pub(super) memory_kib: u32,
    pub(super) iterations: u32,
    pub(super) answer: oneshot::Sender<Result<[u8; HASH_BYTES], argon2::Error>>,
    /// The caller's slots, released when the hash is computed.
    pub(super) slots: [OwnedSemaphorePermit; 2],
}

/// Work of the threads since their start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Number of hashes that were started.
    pub started: u64,
    /// Largest number of hashes computed at the same time.
    pub concurrent_max: usize,
}

/// The threads. They end when this is dropped.
pub(super) struct Hasher {
    jobs: SyncSender<Job>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    started: AtomicU64,
    running: AtomicUsize,
    concurrent_max: AtomicUsize,
}

impl Hasher {
    /// Starts the threads.
    pub(super) fn start(threads: usize) -> io::Result<Self> {
        let (jobs, taken) = mpsc::sync_channel(threads);
        let (taken, counts) = (Arc::new(Mutex::new(taken)), Arc::new(Counts::default()));
        for _ in 0..threads {
            let (taken, counts) = (Arc::clone(&taken), Arc::clone(&counts));
            std::thread::Builder::new().name("passwords".to_owned()).spawn(move || hash(&taken, &counts))?;
        }
        Ok(Self { jobs, counts })
    }

    /// Hands over a job without waiting: a caller with a thread slot finds room. `Err` returns the job when no thread is left.
    pub(super) fn submit(&self, job: Job) -> Result<(), Box<Job>> {
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::TrySendError::Full(job) | mpsc::TrySendError::Disconnected(job) => Box::new(job),
        })
    }

    pub(super) fn work(&self) -> Work {
        Work {
            started: self.counts.started.load(Ordering::SeqCst),
            concurrent_max: self.counts.concurrent_max.load(Ordering::SeqCst),
        }
    }
}

/// Main loop of one thread.
fn hash(jobs: &Mutex<Receiver<Job>>, counts: &Counts) {
    // Where this is not permitted, hashing runs at normal priority.
    rustix::process::setpriority_process(None, NICE).ok();
    let mut memory = Vec::new();
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // The caller has left, so its hash is not computed.
        if job.answer.is_closed() {
            continue;
        }
        let running = counts.running.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        counts.concurrent_max.fetch_max(running, Ordering::SeqCst);
        counts.started.fetch_add(1, Ordering::SeqCst);
        let hash = compute(&job, &mut memory);
        counts.running.fetch_sub(1, Ordering::SeqCst);
        drop(job.slots);
        job.answer.send(hash).ok();
    }
}

/// Computes a hash in `memory`. It grows as needed and is kept, because repeated allocation would fragment the heap.
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

    /// A job that answers to `answer`. Waits until the job before has released its slots.
    async fn job(semaphore: &Arc<Semaphore>, answer: Answer) -> Job {
        let slot = || Arc::clone(semaphore).acquire_owned();
        let slots = [slot().await.unwrap(), slot().await.unwrap()];
        let password = "correct horse".to_owned();
        Job { password, salt: vec![7; 16], memory_kib: 64, iterations: 1, answer, slots }
    }

    #[tokio::test]
    async fn hash_of_disconnected_caller_is_not_started() {
        let hasher = Hasher::start(1).unwrap();
        let semaphore = Arc::new(Semaphore::new(2));
        let (answer, receiver) = oneshot::channel();
        drop(receiver);
        assert!(hasher.submit(job(&semaphore, answer).await).is_ok());
        let (answer, answered) = oneshot::channel();
        assert!(hasher.submit(job(&semaphore, answer).await).is_ok());
        assert!(answered.await.unwrap().is_ok());
        assert_eq!(hasher.work().started, 1);
    }

    /// Reads each thread's niceness from the kernel: field 19 of its `stat`. Field 2 is the thread's name in parentheses.
    #[tokio::test]
    async fn hashing_threads_have_lower_priority() {
        let hasher = Hasher::start(1).unwrap();
        let semaphore = Arc::new(Semaphore::new(2));
        let (answer, answered) = oneshot::channel();
        assert!(hasher.submit(job(&semaphore, answer).await).is_ok());
        assert!(answered.await.unwrap().is_ok());
        let mut nice = Vec::new();
        for thread in std::fs::read_dir("/proc/self/task").unwrap() {
            // A thread that has just ended is ignored.
            let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
            let Some((name, fields)) = stat.rsplit_once(") ") else { continue };
            if name.ends_with("(passwords") {
                nice.push(fields.split(' ').nth(16).unwrap().parse::<i32>().unwrap());
            }
        }
        assert!(nice.iter().any(|nice| *nice >= NICE), "{nice:?}");
    }
}

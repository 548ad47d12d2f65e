//! Hashes and verifies passwords: argon2id on a bounded number of its own threads, with memory that is allocated once.
//!
//! It guarantees four things. A password is never stored or logged. A flood of log-ins has bounded memory, leaves one of several
//! cores to other work, and is refused instead of queued without bound. No hash starts after its caller has left. An unknown
//! e-mail address takes as long as a wrong password.

mod hasher;

use std::sync::Arc;
use std::time::Duration;

use argon2::Algorithm;
use contracts::{Classify, ErrorClass};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, oneshot};

use self::hasher::{HASH_BYTES, Hasher, Job};
use crate::config;

pub use self::hasher::Work;

/// Length of the salt.
const SALT_BYTES: usize = 16;
/// Largest memory of a stored password's hash, equal to the limit in the configuration.
const MEMORY_KIB_MAX: u32 = 65_536;

/// A hashed password with all parameters for verifying another one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPassword {
    algorithm: String,
    memory_kib: u32,
    iterations: u32,
    salt: String,
    hash: String,
}

impl std::fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[password]")
    }
}

/// Reason why a password could not be hashed or verified.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many requests wait.
    #[error("too many passwords wait to be hashed")]
    Overloaded,
    /// The stored password has an unknown form.
    #[error("a stored password could not be decoded")]
    Unreadable,
    /// The hash could not be computed.
    #[error("a password could not be hashed: {0}")]
    Hash(argon2::Error),
    /// The process is shutting down.
    #[error("the process is shutting down")]
    ShuttingDown,
}

impl Classify for PasswordError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Overloaded | Self::ShuttingDown => ErrorClass::Transient,
            Self::Unreadable | Self::Hash(_) => ErrorClass::Fatal,
        }
    }
}

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    shared: Arc<Shared>,
}

struct Shared {
    config: config::Passwords,
    /// Slots for waiting and computing. A request without a slot is refused at once.
    queue_slots: Arc<Semaphore>,
    /// Slots for computing.
    thread_slots: Arc<Semaphore>,
    hasher: Hasher,
    /// The stored password for checks of unknown players.
    placeholder: StoredPassword,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Passwords {
    /// Starts the hashing threads with these limits. The threads end with the last clone.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn new(config: config::Passwords) -> std::io::Result<Self> {
        let placeholder = StoredPassword {
            algorithm: Algorithm::Argon2id.as_str().to_owned(),
            memory_kib: config.memory_kib,
            iterations: config.iterations,
            salt: hex::encode(rand::random::<[u8; SALT_BYTES]>()),
            hash: hex::encode([0_u8; HASH_BYTES]),
        };
        let cores = std::thread::available_parallelism()?.get();
        let threads = threads(config.concurrency, cores);
        let shared = Shared {
            config,
            queue_slots: Arc::new(Semaphore::new(config.waiting_max)),
            thread_slots: Arc::new(Semaphore::new(threads)),
            hasher: Hasher::start(threads)?,
            placeholder,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Work of the threads so far.
    #[must_use]
    pub fn work(&self) -> Work {
        self.shared.hasher.work()
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when too many requests wait.
    pub async fn hash(&self, password: String) -> Result<StoredPassword, PasswordError> {
        let config = self.shared.config;
        let salt: [u8; SALT_BYTES] = rand::random();
        let (memory_kib, iterations) = (config.memory_kib, config.iterations);
        let hash = self.compute(password, salt.to_vec(), memory_kib, iterations).await?;
        Ok(StoredPassword {
            algorithm: Algorithm::Argon2id.as_str().to_owned(),
            memory_kib,
            iterations,
            salt: hex::encode(salt),
            hash: hex::encode(hash),
        })
    }

    /// Checks `password` against the stored one.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when too many requests wait.
    pub async fn verify(&self, password: String, stored: &StoredPassword) -> Result<bool, PasswordError> {
        let salt = hex::decode(&stored.salt).map_err(|_| PasswordError::Unreadable)?;
        let expected = hex::decode(&stored.hash).map_err(|_| PasswordError::Unreadable)?;
        let known = stored.algorithm == Algorithm::Argon2id.as_str() && stored.memory_kib <= MEMORY_KIB_MAX;
        if !known || expected.len() != HASH_BYTES {
            return Err(PasswordError::Unreadable);
        }
        let hash = self.compute(password, salt, stored.memory_kib, stored.iterations).await?;
        Ok(bool::from(hash.as_slice().ct_eq(&expected)))
    }

    /// Takes as long as [`Self::verify`] and returns `false`, for an unknown e-mail address.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when too many requests wait.
    pub async fn verify_placeholder(&self, password: String) -> Result<bool, PasswordError> {
        self.verify(password, &self.shared.placeholder).await.map(|_| false)
    }

    async fn compute(
        &self,
        password: String,
        salt: Vec<u8>,
        memory_kib: u32,
        iterations: u32,
    ) -> Result<[u8; HASH_BYTES], PasswordError> {
        let queue_slot = Arc::clone(&self.shared.queue_slots)
            .try_acquire_owned()
            .map_err(|_| PasswordError::Overloaded)?;
        // A caller that disconnects here frees its slot, and nothing is computed for it.
        let thread_slot = Arc::clone(&self.shared.thread_slots).acquire_owned();
        let wait = Duration::from_millis(self.shared.config.wait_ms);
        let thread_slot = tokio::time::timeout(wait, thread_slot)
            .await
            .map_err(|_elapsed| PasswordError::Overloaded)?
            .map_err(|_closed| PasswordError::ShuttingDown)?;
        let (answer, answered) = oneshot::channel();
        // The job holds both slots, so a caller that disconnects later makes no room while its hash is computed.
        let job = Job { password, salt, memory_kib, iterations, answer, slots: [queue_slot, thread_slot] };
        self.shared.hasher.submit(job).map_err(|_| PasswordError::ShuttingDown)?;
        answered.await.map_err(|_| PasswordError::ShuttingDown)?.map_err(PasswordError::Hash)
    }
}

/// Number of hashing threads: as configured, but one of several cores stays free.
fn threads(configured: usize, cores: usize) -> usize {
    configured.min(cores.saturating_sub(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::threads;

    #[test]
    fn hashing_leaves_one_core_free() {
        for (configured, cores, expected) in
            [(1, 1, 1), (1, 2, 1), (2, 2, 1), (16, 2, 1), (2, 4, 2), (16, 4, 3), (3, 16, 3)]
        {
            assert_eq!(threads(configured, cores), expected, "{configured} on {cores}");
        }
    }
}

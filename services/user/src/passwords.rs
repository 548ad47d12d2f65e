//! Passwords: argon2id on a bounded number of threads with memory that is allocated once.
//!
//! The promises: a password is never stored or logged; a flood of log-ins costs bounded memory and is refused rather
//! than queued without end; an unknown e-mail address takes as long as a wrong password.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use contracts::{Classify, ErrorClass};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;

/// Length of salt and hash.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// The most memory that a stored password may ask for: what the configuration may ask for.
const MEMORY_KIB_MAX: u32 = 65_536;

/// A hashed password, with everything that is needed to check another one against it.
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

/// Why nothing could be said about a password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many others wait.
    #[error("too many passwords are being checked")]
    Overloaded,
    /// The stored password is none of ours.
    #[error("a stored password is not readable")]
    Unreadable,
    /// The hash could not be computed.
    #[error("a password could not be hashed: {0}")]
    Hash(argon2::Error),
    /// The process is ending.
    #[error("the process is ending")]
    Ending,
}

impl Classify for PasswordError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Overloaded | Self::Ending => ErrorClass::Transient,
            Self::Unreadable | Self::Hash(_) => ErrorClass::Fatal,
        }
    }
}

/// Hashes and checks passwords; cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    shared: Arc<Shared>,
}

struct Shared {
    config: config::Passwords,
    /// A seat in the waiting room; none free means that the request is refused at once.
    seats: Arc<Semaphore>,
    /// A turn at computing.
    turns: Arc<Semaphore>,
    /// The memory of each turn, kept between hashes: freed and allocated anew it would scatter.
    buffers: Mutex<Vec<Vec<Block>>>,
    /// What unknown players are checked against.
    nobody: StoredPassword,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl Passwords {
    /// With these bounds.
    #[must_use]
    pub fn new(config: config::Passwords) -> Self {
        let nobody = StoredPassword {
            algorithm: Algorithm::Argon2id.as_str().to_owned(),
            memory_kib: config.memory_kib,
            iterations: config.iterations,
            salt: hex::encode(rand::random::<[u8; SALT_BYTES]>()),
            hash: hex::encode([0_u8; HASH_BYTES]),
        };
        let shared = Shared {
            config,
            seats: Arc::new(Semaphore::new(config.waiting_max)),
            turns: Arc::new(Semaphore::new(config.concurrency)),
            buffers: Mutex::new(Vec::with_capacity(config.concurrency)),
            nobody,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when too many others wait.
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

    /// Whether `password` is the stored one.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when too many others wait.
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

    /// Takes as long as [`Self::verify`] and says no: for an e-mail address that nobody has.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when too many others wait.
    pub async fn verify_nobody(&self, password: String) -> Result<bool, PasswordError> {
        self.verify(password, &self.shared.nobody).await.map(|_| false)
    }

    async fn compute(
        &self,
        password: String,
        salt: Vec<u8>,
        memory_kib: u32,
        iterations: u32,
    ) -> Result<[u8; HASH_BYTES], PasswordError> {
        let seat =
            Arc::clone(&self.shared.seats).try_acquire_owned().map_err(|_| PasswordError::Overloaded)?;
        let turns = Arc::clone(&self.shared.turns);
        let turn = turns.acquire_owned().await.map_err(|_| PasswordError::Ending)?;
        let shared = Arc::clone(&self.shared);
        // Seat and turn go along: a caller that hangs up does not make room while its hash is still computed.
        let held: [OwnedSemaphorePermit; 2] = [seat, turn];
        let work = move || {
            let hash = shared.hash_now(password.as_bytes(), &salt, memory_kib, iterations);
            drop(held);
            hash
        };
        telemetry::spawn_blocking(work).await.map_err(|_| PasswordError::Ending)?
    }
}

impl Shared {
    fn hash_now(
        &self,
        password: &[u8],
        salt: &[u8],
        memory_kib: u32,
        iterations: u32,
    ) -> Result<[u8; HASH_BYTES], PasswordError> {
        let params = Params::new(memory_kib, iterations, 1, Some(HASH_BYTES)).map_err(PasswordError::Hash)?;
        let blocks = params.block_count();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut memory =
            self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        if memory.len() < blocks {
            memory.resize(blocks, Block::default());
        }
        let mut hash = [0_u8; HASH_BYTES];
        let done = argon2.hash_password_into_with_memory(password, salt, &mut hash, memory.as_mut_slice());
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        done.map_err(PasswordError::Hash)?;
        Ok(hash)
    }
}

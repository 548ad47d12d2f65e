//! The faults of one process: what is armed now, and whether that concerns a subject.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::watcher::{self, Check};
use crate::{Armed, FaultId, InvalidFlag, Subject, Values, evaluation, now_ms, request};

/// Settings of a process for the evaluation of faults.
#[derive(Clone)]
pub struct Options {
    /// The flag file. It may be missing, and then nothing is armed.
    pub file: PathBuf,
    /// Name of the service.
    pub service: &'static str,
    /// Release of the process, for faults of one release.
    pub release: String,
    /// Secret that signs the faults of single requests. Empty: no request has any.
    pub secret: Vec<u8>,
}

/// Handle on the faults of this process. Clones share their state.
#[derive(Clone)]
pub struct Faults {
    /// None: no fault is ever active.
    process: Option<Arc<Process>>,
    /// Evaluations are counted and answer "off".
    is_ineffective: bool,
}

/// Shared state of the handles. The watcher does not keep it alive.
struct Process {
    options: Options,
    /// True if a fault of the file may be active. It is all that is read on the fast path.
    is_any_armed: AtomicBool,
    armed: RwLock<Arc<[Armed]>>,
    invalid: Mutex<Vec<InvalidFlag>>,
    problem: Mutex<Option<String>>,
    /// Number of times that each fault was active, by the place in [`FaultId::ALL`].
    applied: [AtomicU64; FaultId::ALL.len()],
}

impl Faults {
    /// Faults that are never active, for tests and for services without a flag file.
    #[must_use]
    pub fn none() -> Self {
        Self { process: None, is_ineffective: false }
    }

    /// Reads the flag file now and whenever it changes, until the last clone is dropped.
    ///
    /// A file that cannot be read or is invalid changes nothing, and [`Faults::problem`] says why. A single invalid flag is off
    /// ([`Faults::invalid`]).
    #[must_use]
    pub fn watch(options: Options) -> Self {
        let process = Arc::new(Process {
            options,
            is_any_armed: AtomicBool::new(false),
            armed: RwLock::new(Arc::from([])),
            invalid: Mutex::default(),
            problem: Mutex::new(None),
            applied: [const { AtomicU64::new(0) }; FaultId::ALL.len()],
        });
        let (file, weak) = (process.options.file.clone(), Arc::downgrade(&process));
        let report = move |check| weak.upgrade().map(|process| process.update(check)).is_some();
        if let Err(error) = watcher::start(file, report) {
            let problem =
                format!("the flag file is not read again, because no thread could be started: {error}");
            process.set_problem(Some(problem));
        }
        Self { process: Some(process), is_ineffective: false }
    }

    /// The same faults without any effect: each evaluation is counted as usual and answers "off".
    ///
    /// A check that finds a fault's evidence in spite of that is worthless. `./pitboss verify --sabotage` finds such checks.
    #[must_use]
    pub fn ineffective(self) -> Self {
        Self { is_ineffective: true, ..self }
    }

    /// Returns true if no fault has an effect ([`Faults::ineffective`]).
    #[must_use]
    pub fn is_ineffective(&self) -> bool {
        self.is_ineffective
    }

    /// The values of a fault that is active for this subject, or None. A fault that is active counts as applied.
    ///
    /// While nothing is armed and the request carries no fault, this is one relaxed load. A fault of the request goes before
    /// one of the file.
    #[must_use]
    pub fn active(&self, id: FaultId, subject: &Subject<'_>) -> Option<Values> {
        self.evaluate(id, subject).filter(|_| !self.is_ineffective)
    }

    /// Does the same as [`Faults::active`], also for faults without effect. The caller must not apply the values of those.
    #[must_use]
    pub fn evaluate(&self, id: FaultId, subject: &Subject<'_>) -> Option<Values> {
        let process = self.process.as_deref()?;
        let values = process.values(id, subject)?;
        process.applied[id as usize].fetch_add(1, Ordering::Relaxed);
        Some(values)
    }

    /// Returns true if no fault can be active for a unit of work with this baggage entry ([`Subject::request`]).
    #[must_use]
    pub fn is_idle(&self, request: Option<&str>) -> bool {
        self.process.as_deref().is_none_or(|process| process.is_idle(request))
    }

    /// Returns true if a request can carry faults, because this process can check their signature.
    #[must_use]
    pub fn reads_requests(&self) -> bool {
        self.process.as_deref().is_some_and(|process| !process.options.secret.is_empty())
    }

    /// Returns true if an evaluation for this subject would count as applied. Nothing is counted.
    ///
    /// Code that waits for a fault's end uses it.
    #[must_use]
    pub fn is_active(&self, id: FaultId, subject: &Subject<'_>) -> bool {
        self.process.as_deref().is_some_and(|process| process.values(id, subject).is_some())
    }

    /// The faults of the file that have not expired, of every scope.
    #[must_use]
    pub fn armed(&self) -> Vec<Armed> {
        let Some(process) = &self.process else { return Vec::new() };
        if !process.is_any_armed.load(Ordering::Relaxed) {
            return Vec::new(); // Consumers ask for each record.
        }
        let now_ms = now_ms();
        process.armed().iter().filter(|armed| !armed.is_expired(now_ms)).cloned().collect()
    }

    /// Receipts: how often each fault was active in this process. Faults that never were are left out.
    #[must_use]
    pub fn applied(&self) -> Vec<(FaultId, u64)> {
        let Some(process) = &self.process else { return Vec::new() };
        let counts = process.applied.iter().map(|count| count.load(Ordering::Relaxed));
        FaultId::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    /// The flag file, or `None` for faults that are never active.
    #[must_use]
    pub fn file(&self) -> Option<&std::path::Path> {
        self.process.as_deref().map(|process| process.options.file.as_path())
    }

    /// The invalid flags of the file. They are off.
    #[must_use]
    pub fn invalid(&self) -> Vec<InvalidFlag> {
        let process = self.process.as_ref();
        process.map_or_else(Vec::new, |process| {
            process.invalid.lock().unwrap_or_else(PoisonError::into_inner).clone()
        })
    }

    /// Returns the reason why the current flag file is not in effect, or `None` if it is. [`Faults::invalid`] has single flags.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.process.as_ref()?.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Process {
    /// Takes what the watcher found. Returns to the fast path when the last fault has expired.
    fn update(&self, check: Check) {
        match check {
            Check::Unchanged if self.is_any_armed.load(Ordering::Relaxed) => self.refresh(now_ms()),
            Check::Unchanged => {}
            Check::Read(state) => {
                *self.armed.write().unwrap_or_else(PoisonError::into_inner) = state.armed.into();
                *self.invalid.lock().unwrap_or_else(PoisonError::into_inner) = state.invalid;
                self.refresh(now_ms());
                self.set_problem(None);
            }
            Check::Failed(problem) => self.set_problem(Some(problem)),
        }
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    fn refresh(&self, now_ms: i64) {
        let is_any_armed = self.armed().iter().any(|armed| !armed.is_expired(now_ms));
        self.is_any_armed.store(is_any_armed, Ordering::Relaxed);
    }

    fn armed(&self) -> Arc<[Armed]> {
        Arc::clone(&self.armed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing is armed, and the request carries no fault that this process can check.
    fn is_idle(&self, request: Option<&str>) -> bool {
        !self.is_any_armed.load(Ordering::Relaxed) && (request.is_none() || self.options.secret.is_empty())
    }

    /// The values of an active fault. While nothing is armed and the request carries no fault, this is one relaxed load.
    fn values(&self, id: FaultId, subject: &Subject<'_>) -> Option<Values> {
        if self.is_idle(subject.request) {
            return None;
        }
        self.evaluate(id, subject, now_ms())
    }

    fn evaluate(&self, id: FaultId, subject: &Subject<'_>, now_ms: i64) -> Option<Values> {
        if let Some(entry) = subject.request
            && id.definition().may_be_in_request()
            && let Ok(Some(values)) = request::verify(entry, id, &self.options.secret, now_ms)
        {
            return Some(values);
        }
        let armed = self.armed();
        let fault = armed.iter().find(|armed| armed.id == id && !armed.is_expired(now_ms))?;
        let Options { service, release, .. } = &self.options;
        let process = evaluation::Process { service, release: release.as_str() };
        fault.scope.covers(id, subject, process).then(|| fault.values.clone())
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.process.as_ref().map(|process| &process.options);
        let mut fields = f.debug_struct("Faults");
        fields.field("options", &options).field("is_ineffective", &self.is_ineffective);
        fields.field("armed", &self.armed()).finish()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, service, release, secret: _ } = self;
        let mut fields = f.debug_struct("Options");
        fields.field("file", file).field("service", service).field("release", release).finish_non_exhaustive()
    }
}

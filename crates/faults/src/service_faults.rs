//! The faults of one process: what is armed now, and whether that concerns a subject.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::watcher::{self, Check};
use crate::{Armed, FaultId, InvalidFlag, Place, State, Subject, Values, evaluation, now_ms, request};

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
    /// What the file says, without its invalid flags.
    state: RwLock<Arc<State>>,
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
            state: RwLock::default(),
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
        self.evaluate(id, subject).filter(|_| self.has_effect(id))
    }

    /// Returns true if this fault breaks something in this process while it is active. It does not if all faults are ineffective, or
    /// if its effect is ([`crate::State::make_ineffective`]).
    #[must_use]
    pub fn has_effect(&self, id: FaultId) -> bool {
        let is_off = |process: &Process| process.is_off(id, Place::Effect);
        !self.is_ineffective && !self.process.as_deref().is_some_and(is_off)
    }

    /// Does the same as [`Faults::active`], also for faults without effect. The caller must not apply the values of those
    /// ([`Faults::has_effect`]).
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

    /// The values that an evaluation for this subject would return and count. Nothing is counted.
    ///
    /// Code beside the effect uses it, such as code that waits for the fault's end. `place` says what it does with the answer.
    /// While nothing is armed and the request carries no fault, this is one relaxed load.
    #[must_use]
    pub fn peek(&self, id: FaultId, place: Place, subject: &Subject<'_>) -> Option<Values> {
        let process = self.process.as_deref()?;
        process.values(id, subject).filter(|_| !process.is_off(id, place))
    }

    /// Returns true if an evaluation for this subject would count as applied. See [`Faults::peek`].
    #[must_use]
    pub fn is_active(&self, id: FaultId, place: Place, subject: &Subject<'_>) -> bool {
        self.peek(id, place, subject).is_some()
    }

    /// Returns how the file arms a fault that has not expired, whatever its scope.
    ///
    /// Code that has no subject yet uses it, such as code that prepares the effect. `place` says what it does with the answer.
    #[must_use]
    pub fn arming(&self, id: FaultId, place: Place) -> Option<Armed> {
        let process = self.process.as_deref()?;
        if !process.is_any_armed.load(Ordering::Relaxed) || process.is_off(id, place) {
            return None;
        }
        let (state, now_ms) = (process.state(), now_ms());
        state.armed.iter().find(|armed| armed.id == id && !armed.is_expired(now_ms)).cloned()
    }

    /// The faults of the file that have not expired, of every scope. It serves to show them: code that decides asks for one fault.
    #[must_use]
    pub fn armed(&self) -> Vec<Armed> {
        let Some(process) = &self.process else { return Vec::new() };
        if !process.is_any_armed.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let now_ms = now_ms();
        process.state().armed.iter().filter(|armed| !armed.is_expired(now_ms)).cloned().collect()
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
            Check::Read(mut state) => {
                let invalid = std::mem::take(&mut state.invalid);
                *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
                *self.invalid.lock().unwrap_or_else(PoisonError::into_inner) = invalid;
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
        let is_any_armed = self.state().armed.iter().any(|armed| !armed.is_expired(now_ms));
        self.is_any_armed.store(is_any_armed, Ordering::Relaxed);
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns true if this read answers "off" in this process although its fault is armed. It ends with the arming, so a fault of
    /// a request acts after that. Nothing asks while nothing is armed.
    fn is_off(&self, id: FaultId, place: Place) -> bool {
        let (state, here) = (self.state(), (id, place, self.options.service));
        let is_listed = state.ineffective.iter().any(|site| (site.fault, site.place, site.service) == here);
        is_listed && state.armed.iter().any(|armed| armed.id == id && !armed.is_expired(now_ms()))
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
        let state = self.state();
        let fault = state.armed.iter().find(|armed| armed.id == id && !armed.is_expired(now_ms))?;
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

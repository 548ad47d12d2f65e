//! The file of the armed faults, as operators change it through the gateway. All services of the platform read the same file.
//!
//! A change reads the file, changes one entry and replaces the file at once, so a reader sees the old state or the new one. The
//! command line writes the same file, and the lock of [`State::update`] keeps both changes.

use std::path::Path;
use std::sync::Arc;

use chassis::problem::Problem;
use faults::{Armed, FaultId, Faults, State};

/// The file, if this gateway has one.
#[derive(Clone, Debug)]
pub(crate) struct FaultFile {
    path: Option<Arc<Path>>,
}

impl FaultFile {
    /// The file from which these faults are read.
    pub(crate) fn of(faults: &Faults) -> Self {
        Self { path: faults.file().map(Arc::from) }
    }

    /// Arms a fault. It replaces an earlier entry of the same fault.
    pub(crate) async fn arm(&self, armed: Armed) -> Result<(), Problem> {
        let described = format!("{}, {}, {}", armed.id, armed.scope, armed.values);
        self.change(move |state| state.arm(armed)).await?;
        tracing::info!("an operator armed a fault: {described}");
        Ok(())
    }

    /// Disarms a fault. A fault that is not armed stays so.
    pub(crate) async fn disarm(&self, id: FaultId) -> Result<(), Problem> {
        self.change(move |state| {
            state.disarm(id);
        })
        .await?;
        tracing::info!("an operator disarmed the fault {id}");
        Ok(())
    }

    async fn change(&self, change: impl FnOnce(&mut State) + Send + 'static) -> Result<(), Problem> {
        let Some(path) = self.path.clone() else {
            return Err(Problem::unavailable("this gateway has no file of armed faults: set faults.file"));
        };
        let changing = move || State::update(&path, change);
        let changed = telemetry::spawn_blocking(changing).await.map_err(|_| Problem::internal())?;
        changed.map_err(|error| {
            tracing::warn!(error = %error, "the file of the armed faults could not be changed");
            Problem::unavailable("the file of the armed faults cannot be changed: the gateway's log says why")
        })
    }
}

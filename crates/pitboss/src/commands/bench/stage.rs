//! The running platform that a benchmark measures.

use anyhow::{Context as _, Result, bail};
use runtime::Layout;
use runtime::control::Client;
use runtime::part::{PartState, Status};

use super::page::PageArgs;
use super::report::SheetReport;
use crate::checkout::Running;
use crate::commands::Context;
use crate::output::Output;
use crate::target::{Target, TargetArgs};

/// A platform that the local runtime runs, and where the benchmark shows its progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage<'a> {
    /// Addresses of the platform.
    pub(super) target: &'a Target,
    /// Folders of the platform.
    pub(super) layout: &'a Layout,
    /// Output of the command.
    pub(super) output: &'a Output,
}

impl<'a> Stage<'a> {
    /// Checks that the local runtime runs the platform, and that every part is ready. `bench` is the name of the benchmark.
    ///
    /// # Errors
    /// When something else runs the platform, or a part is not ready.
    pub(super) async fn of(target: &'a Target, bench: &str, output: &'a Output) -> Result<Self> {
        let layout = target.layout().with_context(|| {
            format!("`bench {bench}` reads the processes of a platform that ./pitboss up started, and something else runs this one")
        })?;
        check_ready(&Client::new(layout).status().await?)?;
        Ok(Self { target, layout, output })
    }

    /// Release of the services, if `up` recorded it.
    pub(super) fn release(&self) -> Option<String> {
        Running::of(self.layout).map(|running| running.release)
    }
}

/// Measures the running platform, and publishes the report. `bench` is the name of the benchmark. Returns true if all holds.
///
/// # Errors
/// When the platform is not up, those of [`Stage::of`], and when the page cannot be written.
pub(super) async fn published<R: SheetReport>(
    context: &Context,
    page: &PageArgs,
    bench: &str,
    measure: impl AsyncFnOnce(&Stage<'_>) -> Result<R>,
) -> Result<bool> {
    let (target, output) = (context.target(&TargetArgs::default()).await?, &context.output);
    page.check(bench)?;
    let stage = Stage::of(&target, bench, output).await?;
    let report = measure(&stage).await?;
    report.publish(output, page, bench)
}

/// Refuses a platform with a part that is not ready.
fn check_ready(status: &Status) -> Result<()> {
    if status.all_ready() {
        return Ok(());
    }
    let others = status.parts.iter().filter(|part| part.state != PartState::Ready);
    let others: Vec<String> =
        others.map(|part| format!("{} is {}", part.name, part.state.as_str())).collect();
    bail!(
        "the platform is not ready ({}): repeat this when ./pitboss status shows every part as ready",
        others.join(", ")
    );
}

#[cfg(test)]
mod tests {
    use runtime::part::{Kind, PartStatus};

    use super::*;

    #[test]
    fn every_part_has_to_be_ready() {
        let part = |name: &str, state| PartStatus {
            name: name.to_owned(),
            kind: Kind::Service,
            address: String::new(),
            pid: None,
            version: String::new(),
            state,
            memory_bytes: 0,
            restarts: 0,
            last_exit: None,
        };
        let status = |state| Status {
            runtime: "local".to_owned(),
            parts: vec![part("game", PartState::Ready), part("user", state)],
        };
        assert!(check_ready(&status(PartState::Ready)).is_ok());
        let error = check_ready(&status(PartState::Frozen)).unwrap_err().to_string();
        assert!(error.contains("not ready (user is frozen)"), "{error}");
    }
}

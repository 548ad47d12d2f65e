//! Interface of a drill to the person who follows it.

use anyhow::Result;
use faults::FaultId;

/// The person, or the log of an unattended run.
pub(crate) trait Person {
    /// Shows a text.
    fn tell(&mut self, text: &str);

    /// Returns false for an unattended run, which goes on at once.
    fn waits(&self) -> bool {
        true
    }

    /// Waits until the person continues.
    async fn go_on(&mut self) -> Result<()>;

    /// Asks which fault it is. `None`: no answer.
    async fn name_fault(&mut self) -> Result<Option<FaultId>>;

    /// Begins something that takes time.
    fn begin(&mut self, what: &'static str);

    /// Shows its state.
    fn live(&mut self, text: &str);

    /// Ends it.
    fn end(&mut self, result: &str);
}

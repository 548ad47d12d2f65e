//! What a drill needs of the person who follows it.

use anyhow::Result;
use faults::FaultId;

/// The person, or a log that nobody answers.
pub(crate) trait Person {
    /// Says something.
    fn tell(&mut self, text: &str);

    /// Waits until the person goes on.
    async fn go_on(&mut self) -> Result<()>;

    /// Asks which fault it is. `None`: nobody answers.
    async fn name_fault(&mut self) -> Result<Option<FaultId>>;

    /// Begins something that takes time.
    fn begin(&mut self, what: &'static str);

    /// Shows its state.
    fn live(&mut self, text: &str);

    /// Ends it.
    fn end(&mut self, result: &str);
}

//! Failures in a row of a reading that a command repeats until it is interrupted.

use anyhow::Result;

use crate::output::Output;

/// Number of failures in a row that a command survives. With a reading each second, that is at least a minute.
const FAILURES_MAX: u32 = 60;

/// Failures since the last success.
#[derive(Debug, Default)]
pub(crate) struct Failures(u32);

impl Failures {
    /// Notes a success.
    pub(crate) fn end(&mut self) {
        self.0 = 0;
    }

    /// Notes a failure, and says that the command tries again.
    ///
    /// # Errors
    /// The failure itself, if there were too many in a row.
    pub(crate) fn add(&mut self, error: anyhow::Error, output: &Output) -> Result<()> {
        if self.0 >= FAILURES_MAX {
            return Err(error);
        }
        self.0 += 1;
        if !output.json {
            output.problem(&format!("trying again: {error:#}"), 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn only_failures_in_a_row_end_a_command() {
        let (output, mut failures) = (Output::new(true), Failures::default());
        let mut add = |count: u32| (0..count).try_for_each(|_| failures.add(anyhow!("away"), &output));
        add(FAILURES_MAX).unwrap();
        assert_eq!(add(1).unwrap_err().to_string(), "away");
        failures.end();
        assert!(failures.add(anyhow!("away"), &output).is_ok());
    }
}

//! The person at a terminal, or the log of an unattended run. Everything goes to standard error: standard output is for
//! the summary.

use std::io;

use anyhow::{Context as _, Result, bail};
use faults::FaultId;
use tokio::sync::oneshot;

use super::person::Person;
use crate::steps::{self, Steps, print_line};

/// Answers that name no fault, after which the drill does not ask again.
const WRONG_ANSWERS_MAX: u32 = 10;

/// Standard error and standard input.
#[derive(Debug)]
pub(crate) struct Console {
    /// A person is at the terminal.
    waits: bool,
    answer: Option<FaultId>,
    columns: usize,
    steps: Steps,
    step: Option<steps::Step>,
}

impl Console {
    /// `answer` names the fault of a blind drill in place of the person.
    pub(crate) fn new(waits: bool, answer: Option<FaultId>, columns: usize) -> Self {
        Self { waits, answer, columns, steps: Steps::default(), step: None }
    }
}

impl Person for Console {
    fn tell(&mut self, text: &str) {
        print_line("");
        for line in wrapped(text, self.columns) {
            print_line(&line);
        }
    }

    fn waits(&self) -> bool {
        self.waits
    }

    async fn go_on(&mut self) -> Result<()> {
        if self.waits {
            print_line("[Enter] continues, Ctrl+C disarms every fault and ends");
            line().await?;
        }
        Ok(())
    }

    async fn name_fault(&mut self) -> Result<Option<FaultId>> {
        if !self.waits || self.answer.is_some() {
            return Ok(self.answer);
        }
        for _ in 0..WRONG_ANSWERS_MAX {
            print_line("Type the id of the fault (./pitboss fault list), or Enter if you do not know it:");
            match line().await?.trim() {
                "" => return Ok(None),
                text => match text.parse::<FaultId>() {
                    Ok(fault) => return Ok(Some(fault)),
                    Err(unknown) => print_line(&format!("{unknown}")),
                },
            }
        }
        Ok(None)
    }

    fn begin(&mut self, what: &'static str) {
        self.step = Some(self.steps.begin(what));
    }

    fn live(&mut self, text: &str) {
        if let Some(step) = &self.step {
            step.progress(text);
        }
    }

    fn end(&mut self, result: &str) {
        if let Some(step) = self.step.take() {
            self.steps.end(step, result);
        }
    }
}

/// Reads a line. Its thread does not keep the process alive, unlike one of the async runtime.
async fn line() -> Result<String> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line).map(|bytes| (bytes, line));
        drop(sender.send(read));
    });
    let (bytes, line) = receiver.await.context("the thread that reads the terminal has ended")??;
    if bytes == 0 {
        bail!("the terminal was closed");
    }
    Ok(line)
}

/// Breaks text into lines between words. A word that is longer than a line stays whole.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let is_full = line.chars().count() + 1 + word.chars().count() > columns;
            if is_full && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a\nhttp://127.0.0.1:8110/traces", 5), ["a", "http://127.0.0.1:8110/traces"]);
        assert_eq!(wrapped("", 5), Vec::<String>::new());
    }

    #[tokio::test]
    async fn run_without_terminal_does_not_wait() {
        let mut console = Console::new(false, Some(FaultId::ConsumerDead), 80);
        console.go_on().await.unwrap();
        assert_eq!(console.name_fault().await.unwrap(), Some(FaultId::ConsumerDead));
        assert_eq!(Console::new(false, None, 80).name_fault().await.unwrap(), None);
    }
}

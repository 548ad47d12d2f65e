//! Commands, one module each, with their arguments and a `run` that returns the exit code.
//!
//! `docs/RECIPES.md` lists what a new command needs.

pub mod alerts;
pub mod audit;
pub mod bench;
pub mod bet;
pub mod debug;
pub mod dlq;
pub mod doctor;
pub mod down;
pub mod drill;
pub mod fault;
pub mod issue;
pub mod kafka;
pub mod lag;
pub mod load;
pub mod logs;
pub mod part;
pub mod profile;
pub mod ready;
pub mod release;
pub mod secrets;
pub mod sentry;
pub mod status;
pub mod supervise;
pub mod test;
pub mod topics;
pub mod trace;
pub mod up;
pub mod verify;

use anyhow::Result;

use crate::checkout::Checkout;
use crate::output::Output;
use crate::target::{Target, TargetArgs};

/// Options that all commands share.
#[derive(Clone, Debug)]
pub struct Context {
    /// Form of the output.
    pub output: Output,
    /// Base of all ports, if it was given as an option.
    pub port_base: Option<u16>,
}

impl Context {
    /// Finds the checkout. Commands that work without one, such as in a container, do not call this.
    pub fn checkout(&self) -> Result<Checkout> {
        Checkout::find(self.port_base)
    }

    /// Finds the running platform that `args` select.
    ///
    /// # Errors
    /// When no platform answers there (exit code 69), or an address is invalid.
    pub async fn target(&self, args: &TargetArgs) -> Result<Target> {
        Target::of(&self.checkout()?, args).await
    }
}

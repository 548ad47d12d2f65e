//! Tests of the supervisor and the commands that talk to it, with small fake parts in place of servers.

mod commands;
mod death;
mod elsewhere;
mod fetchers;
mod jars;
mod launching;
mod life;
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests ends the test where something is not as it must be"
)]
mod machine;
mod programs;
mod script;
#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests ends the test where something is not as it must be"
)]
mod stage;
mod terminal;
mod up;

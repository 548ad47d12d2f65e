//! Tests of the supervisor and the commands that talk to it, with small fake parts in place of servers.

mod audit;
mod audit_events;
mod audit_mails;
mod audit_page;
mod commands;
mod debug_command;
#[expect(clippy::unwrap_used, reason = "a test helper panics if its set-up fails")]
mod fake_host;
mod fault_command;
mod interrupted_fetch;
mod issue_command;
mod launcher_script;
mod part_launch;
mod part_lifecycle;
mod profile_command;
mod programs;
mod release_command;
mod sentry;
mod shutdown;
mod spotlight;
#[expect(clippy::unwrap_used, reason = "a test helper panics if its set-up fails")]
mod stage;
mod terminal;
mod unlisted_jars;
mod up;
mod without_checkout;

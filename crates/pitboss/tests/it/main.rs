//! The supervisor and the commands that talk to it, with small fake parts in place of servers.

mod commands;
mod death;
mod life;
mod stage;

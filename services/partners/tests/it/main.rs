//! The partners as a process of its own would be: over HTTP and SMTP, on free ports.

mod card;
mod mail;
mod world;

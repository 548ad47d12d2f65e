//! `user` as its peers see it, with a real broker, document store and cache, and its rules alone.

mod access;
mod armed_faults;
mod attempts;
mod changes;
mod configuration;
mod debug;
mod history;
mod passwords;
mod platform;
mod registration;
mod rules;
mod sessions;
mod slow_query;
mod stored_sessions;
mod sweeper;
mod uncounted_attempts;

//! `user` as its peers see it, on a real broker, a real document store and a real cache; and its rules alone.

mod access;
mod attempts;
mod changes;
mod history;
mod passwords;
mod platform;
mod registration;
mod rules;
mod sessions;
mod sweeper;

//! Commands, one module each, with their arguments and a `run` that returns the exit code.

pub mod bench;
pub mod bet;
pub mod doctor;
pub mod down;
pub mod kafka;
pub mod load;
pub mod logs;
pub mod part;
pub mod ready;
pub mod secrets;
pub mod status;
pub mod supervise;
pub mod test;
pub mod topics;
pub mod trace;
pub mod up;

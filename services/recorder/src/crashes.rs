//! Native crashes: reads the minidumps that arrive, and stores the event that Sentry would make of each.
//!
//! A minidump is stored like every other body. Its envelope alone has no issue, because only the dump says what crashed. A task reads
//! it afterwards, one at a time and off the ingest path, and appends an envelope with the finished event to the journal: the crashed
//! thread's stack, the signal and its address. The index can be rebuilt from both. The steps, with their files:
//!
//! 1. `dump.rs` reads the streams of the file. It trusts none of its numbers.
//! 2. `modules.rs` finds the files of the loaded modules below configured folders, by name and build id.
//! 3. `unwind.rs` walks the stack: by the module's own unwind tables, and by scanning where there are none.
//! 4. `names.rs` names the frames, by [`Locate`] and otherwise by the symbol table.
//! 5. `event.rs` writes the event.

mod dump;
mod event;
mod locate;
mod modules;
mod names;
mod unwind;
mod worker;

pub(crate) use dump::encoding as encoding_of_minidump;
pub(crate) use event::CONTEXT;
pub(crate) use locate::Locate;
pub(crate) use modules::ModuleFolders;
pub use worker::Crashes;
pub(crate) use worker::{CrashTask, Sources};

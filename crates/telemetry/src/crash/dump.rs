//! The minidump of a crashed process, without what must not leave it.
//!
//! A minidump has the stacks of all threads, and by default the whole environment with its secrets. The writer replaces each word of the
//! stacks that points neither into a stack nor into code, so that no player's data is in it. The environment is overwritten here.

mod modules;

use std::io::Cursor;

use crash_context::CrashContext;
use minidump_writer::minidump_writer::MinidumpWriterConfig;

/// Stream of the environment's variables.
const ENVIRONMENT: u32 = 0x4767_0007;
/// Lengths in bytes of the header and of an entry of the directory of streams.
const HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 12;
/// Largest minidump. A service has about twenty threads, and an overflowed stack has 2 MiB.
const DUMP_BYTES_MAX: usize = 32 * 1_024 * 1_024;

/// Reason why there is no minidump.
#[derive(Debug, thiserror::Error)]
pub(super) enum DumpError {
    /// The process could not be read, for example because it may not be traced.
    #[error("the crashed process could not be read: {0}")]
    Write(String),
    /// The writer wrote something else than a minidump, so nothing could be removed from it.
    #[error("the minidump cannot be read, so the environment cannot be removed from it")]
    Malformed,
    #[error("the minidump has {0} bytes, which is too much")]
    TooLarge(usize),
}

/// Reads the stopped process and returns its minidump.
pub(super) fn write(context: &CrashContext) -> Result<Vec<u8>, DumpError> {
    let context = with_address(context.clone());
    let mut config = MinidumpWriterConfig::new(context.pid, context.tid);
    config.set_crash_context(minidump_writer::crash_context::CrashContext { inner: context });
    config.sanitize_stack();
    let mut dump = Cursor::new(Vec::new());
    config.write(&mut dump).map_err(|error| DumpError::Write(error.to_string()))?;
    let mut dump = dump.into_inner();
    if dump.len() > DUMP_BYTES_MAX {
        return Err(DumpError::TooLarge(dump.len()));
    }
    remove_environment(&mut dump).ok_or(DumpError::Malformed)?;
    modules::join(&mut dump);
    Ok(dump)
}

/// Puts the address of a fault where the writer reads it.
///
/// `crash-handler` copies the kernel's `siginfo_t` into a structure that has the same first members only (`signalfd_siginfo`). The
/// address follows them in the former, where the latter has a user id and a descriptor, and its own address stays empty.
fn with_address(mut context: CrashContext) -> CrashContext {
    /// SIGILL, SIGTRAP, SIGBUS, SIGFPE and SIGSEGV: the signals of a fault, which have an address.
    const FAULTS: [u32; 5] = [4, 5, 7, 8, 11];
    let siginfo = &mut context.siginfo;
    // A code above zero is the kernel's. With another one, a process sent the signal and there is its id
    if FAULTS.contains(&siginfo.ssi_signo) && siginfo.ssi_code > 0 && cfg!(target_pointer_width = "64") {
        let (low, high) = (u64::from(siginfo.ssi_uid), u64::from(siginfo.ssi_fd.cast_unsigned()));
        siginfo.ssi_addr = (high << 32) | low;
    }
    context
}

/// Overwrites the environment. `None` if the directory of streams cannot be read.
fn remove_environment(dump: &mut [u8]) -> Option<()> {
    for entry in entries(dump)? {
        let stream = stream(dump, entry)?;
        if u32::try_from(stream.kind) == Ok(ENVIRONMENT) {
            dump.get_mut(stream.place..stream.place.checked_add(stream.length)?)?.fill(0);
        }
    }
    Some(())
}

/// A stream of the file.
#[derive(Clone, Copy, Debug)]
struct Stream {
    kind: usize,
    length: usize,
    place: usize,
}

/// Places of the entries in the directory of streams.
fn entries(dump: &[u8]) -> Option<impl Iterator<Item = usize> + use<>> {
    let header = dump.get(..HEADER_BYTES)?;
    if !header.starts_with(b"MDMP") {
        return None;
    }
    let (count, directory) = (number(header, 8)?, number(header, 12)?);
    directory.checked_add(count.checked_mul(ENTRY_BYTES)?)?;
    Some((0..count).map(move |entry| directory + entry * ENTRY_BYTES))
}

fn stream(dump: &[u8], entry: usize) -> Option<Stream> {
    let entry = dump.get(entry..entry.checked_add(ENTRY_BYTES)?)?;
    Some(Stream { kind: number(entry, 0)?, length: number(entry, 4)?, place: number(entry, 8)? })
}

/// The number at an offset. Minidumps of this machine are little-endian.
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(number)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn dump(streams: &[(u32, &[u8])]) -> Vec<u8> {
        let word = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
        let mut dump = [b"MDMP".to_vec(), vec![0; 4]].concat();
        dump.extend(word(streams.len()));
        dump.extend(word(HEADER_BYTES));
        dump.resize(HEADER_BYTES, 0);
        let mut place = HEADER_BYTES + streams.len() * ENTRY_BYTES;
        for (kind, content) in streams {
            dump.extend([kind.to_le_bytes(), word(content.len()), word(place)].concat());
            place += content.len();
        }
        for (_, content) in streams {
            dump.extend_from_slice(content);
        }
        dump
    }

    #[test]
    fn environment_is_overwritten_and_nothing_else() {
        let mut found = dump(&[(3, b"threads"), (ENVIRONMENT, b"SECRET=hunter2\0"), (4, b"modules")]);
        let expected = dump(&[(3, b"threads"), (ENVIRONMENT, &[0; 15]), (4, b"modules")]);
        assert_eq!(remove_environment(&mut found), Some(()));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_cannot_be_read_is_not_sent() {
        let whole = dump(&[(ENVIRONMENT, b"SECRET=hunter2\0")]);
        for length in 0..whole.len() {
            assert_eq!(remove_environment(&mut whole[..length].to_vec()), None, "{length} bytes");
        }
        assert_eq!(remove_environment(&mut [b"PMDM".as_slice(), &whole[4..]].concat()), None);
    }
}

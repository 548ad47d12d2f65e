//! Reads a minidump: the crashed thread with its registers and stack, the signal, the threads and the modules.
//!
//! The file may come from anyone with a key. Every number in it is checked against the file, every list and every text has a limit, and
//! nothing is copied but short texts. So the cost is that of the file's size. (The crate `minidump` copies each module's name from
//! wherever the file says, so that a small file can name thousands of modules by the same megabytes.)

use crate::journal::Encoding;

/// Largest numbers of modules and of threads that are read.
const MODULES_MAX: usize = 2_048;
const THREADS_MAX: usize = 512;
/// Largest gap between two parts of one module. Linkers leave at most a page of 64 KiB.
const GAP_BYTES_MAX: u64 = 64 * 1_024;
/// Longest name and build id in bytes.
const NAME_BYTES_MAX: usize = 1_024;
const BUILD_ID_BYTES_MAX: usize = 64;
/// Largest number of streams. A writer has about twenty.
const STREAMS_MAX: usize = 256;

/// Types of streams.
const THREADS: u32 = 3;
const MODULES: u32 = 4;
const EXCEPTION: u32 = 6;
const SYSTEM: u32 = 7;
const THREAD_NAMES: u32 = 24;
/// Lengths of the entries of lists.
const THREAD_BYTES: usize = 48;
const MODULE_BYTES: usize = 108;
const THREAD_NAME_BYTES: usize = 12;
/// Signature of a module's build id.
const ELF_BUILD_ID: u32 = 0x4270_454c;
/// Number of x86-64 among the processors, and of Linux among the systems.
const AMD64: u16 = 9;
const LINUX: u32 = 0x8201;

/// Reason why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DumpError {
    /// It is no minidump of a little-endian machine.
    #[error("it does not begin as a minidump")]
    Signature,
    /// The list of streams is beyond the end of the file, or too long.
    #[error("its list of streams cannot be read")]
    Streams,
    /// Nothing says which thread crashed.
    #[error("it has no exception stream")]
    NoException,
}

/// What a minidump says about a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crash<'a> {
    /// True for Linux, whose numbers of signals are known here.
    pub(crate) is_linux: bool,
    /// Time at which the file was written, in seconds since the epoch. 0 if it does not say that.
    pub(crate) written_s: u32,
    pub(crate) thread_id: u32,
    /// Number of the signal or of the exception, and its code.
    pub(crate) signal: u32,
    pub(crate) code: u32,
    /// Address of a fault. 0 if there is none.
    pub(crate) address: u64,
    /// Registers of the crashed thread, if it is one of x86-64.
    pub(crate) registers: Option<Registers>,
    /// Stack of the crashed thread.
    pub(crate) stack: Stack<'a>,
    pub(crate) threads: Vec<Thread>,
    /// Loaded modules by their addresses, without overlaps.
    pub(crate) modules: Vec<Module>,
}

/// Registers that unwinding needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    pub(crate) instruction: u64,
    pub(crate) stack: u64,
    pub(crate) frame: u64,
}

/// Memory of a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stack<'a> {
    pub(crate) start: u64,
    pub(crate) bytes: &'a [u8],
}

impl Stack<'_> {
    /// Returns the word at an address of the stack.
    pub(crate) fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(8)?)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// A thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) id: u32,
    pub(crate) name: Option<String>,
}

/// A loaded module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) start: u64,
    pub(crate) bytes: u64,
    /// Name of its file, without folders.
    pub(crate) name: String,
    /// GNU build id in lower-case hexadecimal digits. Empty if there is none.
    pub(crate) build_id: String,
}

impl Module {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes)
    }
}

impl Crash<'_> {
    /// Returns the position of the module at an address.
    pub(crate) fn module_at(&self, address: u64) -> Option<usize> {
        let after = self.modules.partition_point(|module| module.start <= address);
        let position = after.checked_sub(1)?;
        (address < self.modules.get(position)?.end()).then_some(position)
    }
}

/// Returns how a minidump is compressed, by its first bytes. `None` for a file that is no minidump, or compressed otherwise.
pub(crate) fn encoding(file: &[u8]) -> Option<Encoding> {
    let beginnings: [(&[u8], Encoding); 3] = [
        (b"MDMP", Encoding::Identity),
        (&[0x1f, 0x8b], Encoding::Gzip),
        (&[0x28, 0xb5, 0x2f, 0xfd], Encoding::Zstd),
    ];
    beginnings.into_iter().find(|(beginning, _)| file.starts_with(beginning)).map(|(_, encoding)| encoding)
}

/// Reads a minidump.
pub(crate) fn read(bytes: &[u8]) -> Result<Crash<'_>, DumpError> {
    let file = File::open(bytes)?;
    let exception = file.stream(EXCEPTION).ok_or(DumpError::NoException)?;
    let (thread_id, record, context) = exception_of(exception).ok_or(DumpError::NoException)?;
    let system = file.stream(SYSTEM).unwrap_or_default();
    let context = context.and_then(|place| file.slice(place)).unwrap_or_default();
    let is_amd64 = u16_at(system, 0) == Some(AMD64);
    let (threads, stack) = file.threads(thread_id);
    Ok(Crash {
        is_linux: u32_at(system, 20) == Some(LINUX),
        written_s: u32_at(bytes, 20).unwrap_or_default(),
        thread_id,
        signal: record.signal,
        code: record.code,
        address: record.address,
        registers: registers(context).filter(|_| is_amd64),
        stack: stack.unwrap_or_default(),
        threads,
        modules: file.modules(),
    })
}

/// A part of the file: offset and length.
type Place = (usize, usize);

struct Record {
    signal: u32,
    code: u32,
    address: u64,
}

fn exception_of(stream: &[u8]) -> Option<(u32, Record, Option<Place>)> {
    let record =
        Record { signal: u32_at(stream, 8)?, code: u32_at(stream, 12)?, address: u64_at(stream, 24)? };
    Some((u32_at(stream, 0)?, record, place_at(stream, 160)))
}

/// Reads the registers of x86-64.
fn registers(context: &[u8]) -> Option<Registers> {
    Some(Registers {
        instruction: u64_at(context, 0xf8)?,
        stack: u64_at(context, 0x98)?,
        frame: u64_at(context, 0xa0)?,
    })
}

struct File<'a> {
    bytes: &'a [u8],
    streams: Vec<(u32, Place)>,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, DumpError> {
        if !bytes.starts_with(b"MDMP") {
            return Err(DumpError::Signature);
        }
        let count = size_at(bytes, 8).filter(|count| *count <= STREAMS_MAX).ok_or(DumpError::Streams)?;
        let directory = size_at(bytes, 12).ok_or(DumpError::Streams)?;
        let stream = |index: usize| {
            let entry = bytes.get(directory.checked_add(index * 12)?..)?;
            Some((u32_at(entry, 0)?, place_at(entry, 4)?))
        };
        let streams = (0..count).map(stream).collect::<Option<Vec<_>>>().ok_or(DumpError::Streams)?;
        Ok(Self { bytes, streams })
    }

    fn slice(&self, (at, length): Place) -> Option<&'a [u8]> {
        self.bytes.get(at..at.checked_add(length)?)
    }

    fn stream(&self, wanted: u32) -> Option<&'a [u8]> {
        let (_, place) = self.streams.iter().find(|(kind, _)| *kind == wanted)?;
        self.slice(*place)
    }

    /// Entries of a list, whose number precedes them. Some writers align them to eight bytes.
    fn entries(&self, stream: u32, entry_bytes: usize, max: usize) -> Vec<&'a [u8]> {
        let Some(stream) = self.stream(stream) else { return Vec::new() };
        let count = size_at(stream, 0).unwrap_or_default();
        let is_aligned =
            count.checked_mul(entry_bytes).and_then(|bytes| bytes.checked_add(8)) == Some(stream.len());
        let entries = stream.get(if is_aligned { 8 } else { 4 }..).unwrap_or_default();
        entries.chunks_exact(entry_bytes).take(count.min(max)).collect()
    }

    /// All threads, and the stack of the crashed one.
    fn threads(&self, crashed: u32) -> (Vec<Thread>, Option<Stack<'a>>) {
        let (mut threads, mut stack) = (Vec::new(), None);
        for entry in self.entries(THREADS, THREAD_BYTES, THREADS_MAX) {
            let Some(id) = u32_at(entry, 0) else { continue };
            if id == crashed {
                stack = self.stack(entry);
            }
            threads.push(Thread { id, name: None });
        }
        for entry in self.entries(THREAD_NAMES, THREAD_NAME_BYTES, THREADS_MAX) {
            let named = u32_at(entry, 0).and_then(|id| threads.iter_mut().find(|thread| thread.id == id));
            let name = u64_at(entry, 4).and_then(|at| self.text(usize::try_from(at).ok()?));
            if let Some(thread) = named {
                thread.name = name.filter(|name| !name.is_empty());
            }
        }
        (threads, stack)
    }

    fn stack(&self, thread: &[u8]) -> Option<Stack<'a>> {
        Some(Stack { start: u64_at(thread, 24)?, bytes: self.slice(place_at(thread, 32)?)? })
    }

    /// Modules in the order of their addresses. Of two that overlap, the first counts.
    ///
    /// A writer lists a program as several modules if its linker left a gap between two segments. Only with all of them in
    /// one does the distance to its start mean anything.
    fn modules(&self) -> Vec<Module> {
        let entries = self.entries(MODULES, MODULE_BYTES, MODULES_MAX);
        let mut modules: Vec<Module> = entries.into_iter().filter_map(|entry| self.module(entry)).collect();
        modules.sort_by_key(|module| module.start);
        let mut end = 0;
        modules.retain(|module| {
            let is_behind = module.start >= end && module.bytes > 0;
            if is_behind {
                end = module.end();
            }
            is_behind
        });
        modules.dedup_by(|next, module| {
            let is_part = !next.build_id.is_empty()
                && next.build_id == module.build_id
                && next.start.saturating_sub(module.end()) <= GAP_BYTES_MAX;
            if is_part {
                module.bytes = next.end().saturating_sub(module.start);
            }
            is_part
        });
        modules
    }

    fn module(&self, entry: &[u8]) -> Option<Module> {
        let path = self.text(size_at(entry, 20)?).unwrap_or_default();
        let name = path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let build_id = place_at(entry, 76).and_then(|place| self.build_id(place)).unwrap_or_default();
        Some(Module { start: u64_at(entry, 0)?, bytes: u64::from(u32_at(entry, 8)?), name, build_id })
    }

    fn build_id(&self, place: Place) -> Option<String> {
        let record = self.slice(place)?;
        if u32_at(record, 0)? != ELF_BUILD_ID {
            return None;
        }
        let id = record.get(4..)?;
        (id.len() <= BUILD_ID_BYTES_MAX && id.iter().any(|byte| *byte != 0)).then(|| hex::encode(id))
    }

    /// A text in UTF-16 with its length in bytes before it.
    fn text(&self, at: usize) -> Option<String> {
        let length = size_at(self.bytes, at)?.min(NAME_BYTES_MAX);
        let bytes = self.slice((at.checked_add(4)?, length))?;
        let units = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
        let text: String =
            char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        Some(text.trim_end_matches('\0').to_owned())
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

/// A location descriptor: length, then offset in the file.
fn place_at(bytes: &[u8], at: usize) -> Option<Place> {
    Some((size_at(bytes, at.checked_add(4)?)?, size_at(bytes, at)?))
}

#[cfg(test)]
pub(super) mod tests;

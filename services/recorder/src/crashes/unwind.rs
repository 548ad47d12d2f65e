//! Walks the stack of the crashed thread: by unwind tables where the file of the module is known, otherwise by scanning.
//!
//! Our programs have no frame pointers, so without tables nothing says where a frame ends. Then the next word that points into a module
//! counts as a return address, and its frame is marked, because it may be a left-over of an earlier call.

use std::collections::{HashMap, HashSet};

use framehop::{
    ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder as _,
    x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64},
};

use super::{
    dump::Crash,
    modules::{ModuleFile, ModuleFolders},
};

/// Largest number of steps: more calls than fit on a stack of 2 MiB when each takes 64 bytes.
const STEPS_MAX: usize = 32_768;
/// Frames that are kept of a longer stack, as Sentry keeps both ends.
const INNERMOST_MAX: usize = 192;
const OUTERMOST_MAX: usize = 32;
/// Largest number of words that are scanned for one return address: 32 KiB.
const SCANNED_WORDS_MAX: u64 = 4_096;
/// Largest number of frames in a row that are found by scanning. Further ones are hardly real.
const SCANNED_FRAMES_MAX: usize = 64;
/// Total size of the unwind tables in memory.
const TABLES_BYTES_MAX: usize = 24 * 1024 * 1024;

/// How a frame was found, by Sentry's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The registers at the crash.
    Context,
    /// The unwind table of the module.
    Cfi,
    /// A word on the stack that points into a module.
    Scan,
}

impl Trust {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Cfi => "cfi",
            Self::Scan => "scan",
        }
    }
}

/// A frame without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawFrame {
    /// Address in the instruction that crashed or called. (A return address is behind the call.)
    pub(super) address: u64,
    pub(super) trust: Trust,
    /// Position of its module.
    pub(super) module: Option<usize>,
}

/// Frames of a stack, innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Walk {
    pub(super) frames: Vec<RawFrame>,
    /// Number of frames in the middle that were left out.
    pub(super) omitted: usize,
}

/// Files of the modules of one crash, opened when an address is in them.
pub(super) struct Files<'a> {
    crash: &'a Crash<'a>,
    folders: &'a ModuleFolders,
    opened: HashMap<usize, Option<ModuleFile>>,
    unwinder: UnwinderX86_64<Vec<u8>>,
    /// Modules whose tables the unwinder has. Elsewhere it would guess by frame pointers, which our programs do not have.
    with_tables: HashSet<usize>,
    tables_bytes: usize,
}

impl<'a> Files<'a> {
    pub(super) fn new(crash: &'a Crash<'a>, folders: &'a ModuleFolders) -> Self {
        Self {
            crash,
            folders,
            opened: HashMap::new(),
            unwinder: UnwinderX86_64::new(),
            with_tables: HashSet::new(),
            tables_bytes: 0,
        }
    }

    /// Returns the file of a module, if there is one.
    pub(super) fn file(&mut self, position: usize) -> Option<&ModuleFile> {
        let opened = self.opened.remove(&position).unwrap_or_else(|| self.open(position));
        self.opened.entry(position).or_insert(opened).as_ref()
    }

    /// Returns true if the stack can be unwound inside of a module.
    fn has_tables(&mut self, position: usize) -> bool {
        self.file(position).is_some() && self.with_tables.contains(&position)
    }

    fn open(&mut self, position: usize) -> Option<ModuleFile> {
        let module = self.crash.modules.get(position)?;
        let mut file = self.folders.find(module)?;
        let bytes = self.tables_bytes.saturating_add(file.bytes());
        if bytes > TABLES_BYTES_MAX || file.eh_frame.is_none() {
            // Its names are still of use
            (file.eh_frame, file.eh_frame_hdr) = (None, None);
            return Some(file);
        }
        self.with_tables.insert(position);
        self.tables_bytes = bytes;
        let (eh_frame_svma, eh_frame) = file.eh_frame.take().unzip();
        let (eh_frame_hdr_svma, eh_frame_hdr) = file.eh_frame_hdr.take().unzip();
        let sections = ExplicitModuleSectionInfo {
            base_svma: file.base,
            text_svma: file.text.clone(),
            eh_frame_svma,
            eh_frame,
            eh_frame_hdr_svma,
            eh_frame_hdr,
            ..ExplicitModuleSectionInfo::default()
        };
        let range = module.start..module.start.saturating_add(module.bytes);
        self.unwinder.add_module(Module::new(module.name.clone(), range, module.start, sections));
        Some(file)
    }
}

/// Walks the stack of the crashed thread. Without its registers there are no frames.
pub(super) fn walk(crash: &Crash<'_>, files: &mut Files<'_>) -> Walk {
    let Some(registers) = crash.registers else { return Walk::default() };
    let mut address = FrameAddress::from_instruction_pointer(registers.instruction);
    let mut regs = UnwindRegsX86_64::new(registers.instruction, registers.stack, registers.frame);
    let mut cache = CacheX86_64::<_>::new();
    let mut frames = vec![frame(crash, address, Trust::Context)];
    let mut scanned = 0;
    while frames.len() < STEPS_MAX {
        let (stack_before, frame_before) = (regs.sp(), regs.bp());
        let by_table = match frames.last().and_then(|frame| frame.module) {
            Some(module) if files.has_tables(module) => {
                let mut read = |address: u64| crash.stack.word(address).ok_or(());
                files.unwinder.unwind_frame(address, &mut regs, &mut cache, &mut read).ok()
            }
            _ => None,
        };
        let (found, trust) = match by_table {
            // The outermost frame
            Some(None) => break,
            // In no module, the table does not fit the stack: the address is that of data
            Some(Some(found)) if regs.sp() > stack_before && is_code(crash, found) => (found, Trust::Cfi),
            _ if scanned >= SCANNED_FRAMES_MAX => break,
            _ => {
                let Some((found, stack)) = scan(crash, stack_before) else { break };
                regs = UnwindRegsX86_64::new(found, stack, frame_before);
                (found, Trust::Scan)
            }
        };
        scanned = if trust == Trust::Scan { scanned + 1 } else { 0 };
        let Some(next) = FrameAddress::from_return_address(found) else { break };
        address = next;
        frames.push(frame(crash, address, trust));
    }
    ends(frames)
}

fn frame(crash: &Crash<'_>, address: FrameAddress, trust: Trust) -> RawFrame {
    let address = address.address_for_lookup();
    RawFrame { address, trust, module: crash.module_at(address) }
}

/// Returns true for a return address behind an instruction of a module.
fn is_code(crash: &Crash<'_>, return_address: u64) -> bool {
    return_address.checked_sub(1).and_then(|address| crash.module_at(address)).is_some()
}

/// Returns the next word of the stack that points into a module, and the address behind it.
fn scan(crash: &Crash<'_>, from: u64) -> Option<(u64, u64)> {
    // Of an overflowed stack, the pointer may be below what could be read
    let from = from.max(crash.stack.start).checked_next_multiple_of(8)?;
    for word in 0..SCANNED_WORDS_MAX {
        let at = from.checked_add(word * 8)?;
        let found = crash.stack.word(at)?;
        if is_code(crash, found) {
            return Some((found, at.checked_add(8)?));
        }
    }
    None
}

/// Keeps both ends of a long stack.
fn ends(mut frames: Vec<RawFrame>) -> Walk {
    let omitted = frames.len().saturating_sub(INNERMOST_MAX + OUTERMOST_MAX);
    if omitted > 0 {
        frames.drain(INNERMOST_MAX..INNERMOST_MAX + omitted);
    }
    Walk { frames, omitted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crashes::{
        dump::{Module as Loaded, Registers, Stack, tests::Writer},
        modules::tests::{own_module, own_start},
    };

    fn crash_in(modules: &[Loaded], words: &[u64], instruction: u64) -> Vec<u8> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let registers = Registers { instruction, stack: 0x8000, frame: 0 };
        Writer::crash(registers, Stack { start: 0x8000, bytes: &bytes }, modules)
    }

    fn crash(words: &[u64], instruction: u64) -> Vec<u8> {
        let module = |start, name: &str| Loaded {
            start,
            bytes: 0x1000,
            name: name.to_owned(),
            build_id: hex::encode(name),
        };
        crash_in(&[module(0x1000, "payment"), module(0x4000, "libc.so.6")], words, instruction)
    }

    fn walked_with(bytes: &[u8], folders: &ModuleFolders) -> Walk {
        let crash = crate::crashes::dump::read(bytes).expect("a crash");
        walk(&crash, &mut Files::new(&crash, folders))
    }

    fn walked(bytes: &[u8]) -> Walk {
        walked_with(bytes, &ModuleFolders::default())
    }

    #[inline(never)]
    fn function_with_a_table() -> u32 {
        std::hint::black_box(9)
    }

    #[test]
    fn table_that_leads_out_of_all_modules_is_not_followed() {
        assert_eq!(function_with_a_table(), 9);
        let Some((module, folders)) = own_module(own_start()) else { return };
        // At its first instruction, the return address of a function is the uppermost word of the stack
        let function = function_with_a_table as fn() -> u32 as usize as u64;
        let walked = |words: &[u64]| {
            walked_with(&crash_in(std::slice::from_ref(&module), words, function), &folders).frames
        };
        let frame = |trust| RawFrame { address: function, trust, module: Some(0) };
        let caller = function + 1;
        assert_eq!(walked(&[caller]), [frame(Trust::Context), frame(Trust::Cfi)]);
        for nowhere in [1, 0x6, 0x16, 0x0def_aced_0def_acec] {
            let expected = [frame(Trust::Context), frame(Trust::Scan)];
            assert_eq!(walked(&[nowhere, caller]), expected, "{nowhere:#x}");
        }
    }

    #[test]
    fn stack_is_scanned_without_the_files_of_its_modules() {
        let walk = walked(&crash(&[5, 0x1235, 0, 0x9_9999, 0x4100, 0x1000], 0x4001));
        let expected = [
            RawFrame { address: 0x4001, trust: Trust::Context, module: Some(1) },
            RawFrame { address: 0x1234, trust: Trust::Scan, module: Some(0) },
            RawFrame { address: 0x40ff, trust: Trust::Scan, module: Some(1) },
        ];
        assert_eq!((walk.frames.as_slice(), walk.omitted), (expected.as_slice(), 0));
    }

    #[test]
    fn jump_to_nowhere_is_walked_from_its_caller() {
        let walk = walked(&crash(&[0x1235], 0));
        let modules: Vec<Option<usize>> = walk.frames.iter().map(|frame| frame.module).collect();
        assert_eq!(modules, [None, Some(0)]);
    }

    #[test]
    fn scanning_has_an_end() {
        let many = vec![0x1235; 10_000];
        assert_eq!(walked(&crash(&many, 0x1001)).frames.len(), SCANNED_FRAMES_MAX + 1);
        let far: Vec<u64> = (0..SCANNED_WORDS_MAX).map(|_| 0).chain([0x1235]).collect();
        assert_eq!(walked(&crash(&far, 0x1001)).frames.len(), 1);
        assert_eq!(walked(&crash(&[], 0x1001)).frames.len(), 1);
    }

    #[test]
    fn both_ends_of_a_long_stack_are_kept() {
        let frames: Vec<RawFrame> =
            (0..1_000).map(|address| RawFrame { address, trust: Trust::Cfi, module: None }).collect();
        let walk = ends(frames);
        assert_eq!((walk.frames.len(), walk.omitted), (224, 776));
        assert_eq!((walk.frames[191].address, walk.frames[192].address), (191, 968));
        assert_eq!(ends(walk.frames).omitted, 0);
    }
}

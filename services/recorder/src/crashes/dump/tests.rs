//! Tests of the reader of minidumps, and the writer of those that tests of crashes read.

use proptest::prelude::*;

use super::*;

/// Writes minidumps for tests.
#[derive(Default)]
pub(in crate::crashes) struct Writer {
    streams: Vec<(u32, Vec<u8>)>,
    /// Content behind the streams, with offsets from its beginning.
    data: Vec<u8>,
}

/// Offset of the data in each file that [`Writer`] writes.
const DATA: usize = 4_096;
/// Time in the header of each of these files.
pub(in crate::crashes) const WRITTEN_S: u32 = 1_700_000_000;

impl Writer {
    /// Adds data, and returns its location descriptor.
    fn add(&mut self, bytes: &[u8]) -> [u8; 8] {
        let at = DATA + self.data.len();
        self.data.extend_from_slice(bytes);
        let word = |number: usize| u32::try_from(number).expect("a small file").to_le_bytes();
        [word(bytes.len()), word(at)].concat().try_into().expect("two words")
    }

    fn add_text(&mut self, text: &str) -> [u8; 4] {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = u32::try_from(units.len()).expect("a short text").to_le_bytes();
        let place = self.add(&[length.as_slice(), &units].concat());
        [place[4], place[5], place[6], place[7]]
    }

    /// A crash of the thread 7 with a stack, and one module.
    pub(in crate::crashes) fn crash(registers: Registers, stack: Stack<'_>, modules: &[Module]) -> Vec<u8> {
        let mut writer = Self::default();
        let mut context = vec![0; 1_232];
        context[0xf8..0x100].copy_from_slice(&registers.instruction.to_le_bytes());
        context[0x98..0xa0].copy_from_slice(&registers.stack.to_le_bytes());
        context[0xa0..0xa8].copy_from_slice(&registers.frame.to_le_bytes());
        let mut exception = vec![0; 160];
        exception[..4].copy_from_slice(&7_u32.to_le_bytes());
        exception[8..12].copy_from_slice(&11_u32.to_le_bytes());
        exception[12..16].copy_from_slice(&2_u32.to_le_bytes());
        exception[24..32].copy_from_slice(&0xdead_u64.to_le_bytes());
        exception.extend(writer.add(&context));
        let mut thread = vec![0; THREAD_BYTES];
        thread[..4].copy_from_slice(&7_u32.to_le_bytes());
        thread[24..32].copy_from_slice(&stack.start.to_le_bytes());
        let place = writer.add(stack.bytes);
        thread[32..40].copy_from_slice(&place);
        let name = writer.add_text("worker");
        let names = [1_u32.to_le_bytes().as_slice(), &7_u32.to_le_bytes(), &name, &[0; 4]].concat();
        let mut list = u32::try_from(modules.len()).expect("few modules").to_le_bytes().to_vec();
        for module in modules {
            let mut entry = vec![0; MODULE_BYTES];
            entry[..8].copy_from_slice(&module.start.to_le_bytes());
            entry[8..12].copy_from_slice(&u32::try_from(module.bytes).expect("small").to_le_bytes());
            entry[20..24].copy_from_slice(&writer.add_text(&format!("/opt/{}", module.name)));
            let id = hex::decode(&module.build_id).expect("digits");
            let place = writer.add(&[ELF_BUILD_ID.to_le_bytes().as_slice(), &id].concat());
            entry[76..84].copy_from_slice(&place);
            list.extend(entry);
        }
        let mut system = vec![0; 56];
        system[..2].copy_from_slice(&AMD64.to_le_bytes());
        system[20..24].copy_from_slice(&LINUX.to_le_bytes());
        writer.streams = vec![
            (THREADS, [1_u32.to_le_bytes().as_slice(), &thread].concat()),
            (MODULES, list),
            (EXCEPTION, exception),
            (SYSTEM, system),
            (THREAD_NAMES, names),
        ];
        writer.finish()
    }

    fn finish(mut self) -> Vec<u8> {
        let streams = std::mem::take(&mut self.streams);
        let count = u32::try_from(streams.len()).expect("few streams");
        let mut file = [b"MDMP".as_slice(), &[0; 4], &count.to_le_bytes(), &32_u32.to_le_bytes()].concat();
        file.resize(20, 0);
        file.extend(WRITTEN_S.to_le_bytes());
        file.resize(32, 0);
        for (kind, content) in streams {
            let place = self.add(&content);
            file.extend(kind.to_le_bytes());
            file.extend(place);
        }
        file.resize(DATA, 0);
        file.extend(self.data);
        file
    }
}

const REGISTERS: Registers = Registers { instruction: 0x5000, stack: 0x7ff0, frame: 1 };

fn module(start: u64, name: &str) -> Module {
    Module { start, bytes: 0x1000, name: name.to_owned(), build_id: hex::encode(name) }
}

fn example() -> Vec<u8> {
    let stack = Stack { start: 0x7ff0, bytes: &[1, 0, 0, 0, 0, 0, 0, 0, 9] };
    Writer::crash(REGISTERS, stack, &[module(0x9000, "libc.so.6"), module(0x4800, "payment")])
}

#[test]
fn crash_is_read() {
    let bytes = example();
    let crash = read(&bytes).expect("a crash");
    assert_eq!((crash.is_linux, crash.thread_id, crash.signal, crash.code), (true, 7, 11, 2));
    assert_eq!((crash.address, crash.registers), (0xdead, Some(REGISTERS)));
    assert_eq!(crash.written_s, WRITTEN_S);
    assert_eq!((crash.stack.word(0x7ff0), crash.stack.word(0x7ff1)), (Some(1), Some(9 << 56)));
    assert_eq!((crash.stack.word(0x7ff2), crash.stack.word(0)), (None, None));
    assert_eq!(crash.threads, [Thread { id: 7, name: Some("worker".to_owned()) }]);
    assert_eq!(crash.modules, [module(0x4800, "payment"), module(0x9000, "libc.so.6")]);
    assert_eq!((crash.module_at(0x5000), crash.module_at(0x9fff)), (Some(0), Some(1)));
    assert_eq!(
        (crash.module_at(0x47ff), crash.module_at(0x5800), crash.module_at(0xa000)),
        (None, None, None)
    );
}

#[test]
fn overlapping_modules_count_once() {
    let modules = [module(0x1000, "a"), module(0x1800, "b"), module(0x2000, "c")];
    let bytes = Writer::crash(REGISTERS, Stack::default(), &modules);
    let names: Vec<String> =
        read(&bytes).expect("a crash").modules.into_iter().map(|module| module.name).collect();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn parts_of_one_module_are_joined() {
    let part = |start| module(start, "payment");
    let modules = [part(0x13_000), part(0x11_000), module(0x20_000, "libc.so.6"), part(0x900_000)];
    let bytes = Writer::crash(REGISTERS, Stack::default(), &modules);
    let whole = Module { bytes: 0x3000, ..part(0x11_000) };
    let expected = [whole, module(0x20_000, "libc.so.6"), part(0x900_000)];
    assert_eq!(read(&bytes).expect("a crash").modules, expected, "the last one is mapped far away");
}

#[test]
fn what_is_no_minidump_is_refused() {
    assert_eq!(read(b""), Err(DumpError::Signature));
    assert_eq!(read(b"PMDM"), Err(DumpError::Signature));
    assert_eq!(read(b"MDMP"), Err(DumpError::Streams));
    let mut many = example();
    many[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read(&many), Err(DumpError::Streams));
    let none = [b"MDMP".as_slice(), &[0; 28]].concat();
    assert_eq!(read(&none), Err(DumpError::NoException));
}

#[test]
fn every_truncated_file_is_read_or_refused() {
    let bytes = example();
    for length in 0..bytes.len() {
        if let Ok(crash) = read(&bytes[..length]) {
            assert!(crash.modules.len() <= 2 && crash.threads.len() <= 1, "{length}");
        }
    }
}

#[test]
fn endless_counts_are_bounded_by_the_file() {
    let mut bytes = example();
    let streams = [THREADS, MODULES, THREAD_NAMES];
    for index in 0..5 {
        let entry = 32 + index * 12;
        let kind = u32_at(&bytes, entry).expect("a kind");
        let (at, _) = place_at(&bytes, entry + 4).expect("a place");
        if streams.contains(&kind) {
            bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        }
    }
    let crash = read(&bytes).expect("a crash");
    assert_eq!((crash.threads.len(), crash.modules.len()), (1, 2));
}

proptest! {
    #[test]
    fn damaged_files_never_panic(at in 0_usize..6_000, bytes in proptest::collection::vec(any::<u8>(), 1..64)) {
        let mut file = example();
        for (offset, byte) in bytes.iter().enumerate() {
            if let Some(place) = file.get_mut(at + offset) {
                *place = *byte;
            }
        }
        if let Ok(crash) = read(&file) {
            prop_assert!(crash.modules.len() <= MODULES_MAX && crash.threads.len() <= THREADS_MAX);
        }
    }
}

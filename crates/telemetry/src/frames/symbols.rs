//! The function symbols of the running program, from its ELF file: sorted addresses in memory, names on disk.

use std::fs::{self, File};
use std::io;

use super::read_at;

/// Far more symbols than any Pitboss program has. A file with more is not a valid program.
const SYMBOLS_MAX: u64 = 2_000_000;
/// Longest mangled name that is read. Names of deeply generic code are long.
const NAME_BYTES_MAX: usize = 4_096;

const SECTION_SYMTAB: u32 = 2;
const SYMBOL_FUNCTION: u8 = 2;
const TYPE_EXECUTABLE: u16 = 2;

#[derive(Debug, Clone, Copy)]
struct Symbol {
    address: u64,
    size: u32,
    name: u32,
}

/// The symbol table.
#[derive(Debug)]
pub(super) struct Symbols {
    file: File,
    names_at: u64,
    names_length: u64,
    /// The address where the program was loaded.
    base: u64,
    sorted: Vec<Symbol>,
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl Symbols {
    /// Reads the symbols of the file that this process runs from, even if a newer file has replaced it.
    pub(super) fn of_this_program() -> io::Result<Self> {
        let file = File::open("/proc/self/exe")?;
        let header = read_at(&file, 0, 64)?;
        if !header.starts_with(b"\x7fELF\x02\x01") {
            return Err(bad("not a little-endian 64-bit ELF file"));
        }
        let base = if u16_at(&header, 16) == Some(TYPE_EXECUTABLE) { 0 } else { load_address()? };
        let sections = Sections::read(&file, &header).ok_or_else(|| bad("no section table"))??;
        let (table, names) = sections.symbol_table().ok_or_else(|| bad("no symbol table"))?;
        if table.length / 24 > SYMBOLS_MAX {
            return Err(bad("too many symbols"));
        }
        let length = usize::try_from(table.length).map_err(|_| bad("too long"))?;
        let mut sorted: Vec<Symbol> =
            read_at(&file, table.offset, length)?.chunks_exact(24).filter_map(function_symbol).collect();
        sorted.sort_unstable_by_key(|symbol| symbol.address);
        sorted.shrink_to_fit();
        Ok(Self { file, names_at: names.offset, names_length: names.length, base, sorted })
    }

    /// The demangled name of the function that contains this address.
    pub(super) fn name(&self, address: u64) -> Option<String> {
        let address = address.checked_sub(self.base)?;
        let after = self.sorted.partition_point(|symbol| symbol.address <= address);
        let symbol = self.sorted.get(after.checked_sub(1)?)?;
        if address - symbol.address >= u64::from(symbol.size.max(1)) {
            return None;
        }
        let left = self.names_length.checked_sub(u64::from(symbol.name))?;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(NAME_BYTES_MAX);
        let bytes = read_at(&self.file, self.names_at + u64::from(symbol.name), length).ok()?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let mangled = std::str::from_utf8(bytes.get(..end)?).ok()?;
        Some(format!("{:#}", rustc_demangle::demangle(mangled)))
    }
}

fn function_symbol(entry: &[u8]) -> Option<Symbol> {
    let (name, kind) = (u32_at(entry, 0)?, entry.get(4)? & 15);
    let (address, size) = (u64_at(entry, 8)?, u64_at(entry, 16)?);
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    (kind == SYMBOL_FUNCTION && address != 0).then_some(Symbol { address, size, name })
}

/// The lowest address at which this program's file is mapped.
fn load_address() -> io::Result<u64> {
    let program = fs::read_link("/proc/self/exe")?;
    let program = program.to_string_lossy();
    let maps = fs::read_to_string("/proc/self/maps")?;
    let first = maps.lines().find(|line| line.ends_with(program.as_ref()));
    let start = first.and_then(|line| line.split('-').next()).ok_or_else(|| bad("not mapped"))?;
    u64::from_str_radix(start, 16).map_err(|_| bad("no address"))
}

#[derive(Debug, Clone, Copy)]
struct Section {
    kind: u32,
    link: u32,
    offset: u64,
    length: u64,
}

struct Sections(Vec<Section>);

impl Sections {
    fn read(file: &File, header: &[u8]) -> Option<io::Result<Self>> {
        let (at, size, count) = (u64_at(header, 40)?, u16_at(header, 58)?, u16_at(header, 60)?);
        if size < 64 {
            return None;
        }
        let bytes = read_at(file, at, usize::from(size) * usize::from(count));
        Some(bytes.map(|bytes| Self(bytes.chunks_exact(usize::from(size)).filter_map(Self::one).collect())))
    }

    fn one(entry: &[u8]) -> Option<Section> {
        Some(Section {
            kind: u32_at(entry, 4)?,
            offset: u64_at(entry, 24)?,
            length: u64_at(entry, 32)?,
            link: u32_at(entry, 40)?,
        })
    }

    /// The symbol section, and the section with the names.
    fn symbol_table(&self) -> Option<(Section, Section)> {
        let table = self.0.iter().find(|section| section.kind == SECTION_SYMTAB)?;
        Some((*table, *self.0.get(usize::try_from(table.link).ok()?)?))
    }
}

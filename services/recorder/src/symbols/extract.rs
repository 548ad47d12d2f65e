//! Reads from the debug information of a program where our code is, and from its symbol table the names of all functions.
//!
//! Only units that were compiled in the checkout are read. The standard library has line tables as well, and no others have any.

use std::borrow::Cow;

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, Range, SectionId};
use object::read::elf::ElfFile64;
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, SymbolKind,
    SymbolMap, SymbolMapName,
};

use super::error::SymbolsError;
use super::table::{Builder, DEPTH_MAX};
use super::{Location, paths};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// Returns the table of a program that was compiled in the checkout at `root`, as bytes of a file. Empty without line tables.
///
/// # Errors
/// When the file is no program, or when its debug information is damaged.
pub(super) fn table_of(program: &[u8], root: &str) -> Result<Vec<u8>, SymbolsError> {
    let elf: ElfFile64<'_, Endianness> = ElfFile64::parse(program)?;
    let load_address = elf.segments().map(|segment| segment.address()).min().unwrap_or(0);
    let ranges = ranges_of(&dwarf(&elf)?, root)?;
    if ranges.is_empty() {
        return Builder::default().finish();
    }
    let places = Places { context: Context::from_dwarf(dwarf(&elf)?)?, symbols: elf.symbol_map(), root };
    let mut table = Builder::default();
    for Range { begin, end } in ranges.into_iter().filter(|range| range.begin >= load_address) {
        for (address, length, _) in places.context.find_location_range(begin, end)? {
            let (first, behind) = (address.max(begin), address.saturating_add(length).min(end));
            let (from, to) = (first - load_address, behind.saturating_sub(load_address));
            let found = places.at(first)?;
            let has_line = found.first().is_some_and(|innermost| innermost.line.is_some());
            if !has_line {
                table.extend(from, to)?;
            } else if found.iter().any(Location::is_ours) {
                table.add(from, to, &found)?;
            }
        }
    }
    let functions = elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
    for symbol in functions {
        let Ok(name) = symbol.name() else { continue };
        let Some(begin) = symbol.address().checked_sub(load_address) else { continue };
        table.name(begin, begin.saturating_add(symbol.size()), demangled(name))?;
    }
    table.finish()
}

fn demangled(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

fn dwarf<'a>(elf: &ElfFile64<'a, Endianness>) -> Result<Dwarf<Bytes<'a>>, SymbolsError> {
    let section = |id: SectionId| -> Result<Bytes<'a>, SymbolsError> {
        let data = elf.section_by_name(id.name()).map_or(Ok(&[][..]), |section| section.data())?;
        Ok(EndianSlice::new(data, LittleEndian))
    };
    Dwarf::load(section)
}

/// Addresses of the code of the units that were compiled in a folder, in order.
///
/// Those of functions that the linker removed begin at 0 or 1. No program has code there.
fn ranges_of(dwarf: &Dwarf<Bytes<'_>>, folder: &str) -> Result<Vec<Range>, SymbolsError> {
    const REMOVED_MAX: u64 = 1;
    let mut ranges = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        if unit.comp_dir.is_none_or(|compiled_in| compiled_in.slice() != folder.as_bytes()) {
            continue;
        }
        let mut of_unit = dwarf.unit_ranges(&unit)?;
        while let Some(range) = of_unit.next()? {
            if range.begin > REMOVED_MAX && range.begin < range.end {
                ranges.push(range);
            }
        }
    }
    ranges.sort_by_key(|range| (range.begin, range.end));
    Ok(ranges)
}

/// Tells the places at an address.
struct Places<'a> {
    context: Context<Bytes<'a>>,
    symbols: SymbolMap<SymbolMapName<'a>>,
    root: &'a str,
}

impl Places<'_> {
    /// The places at an address, the innermost inlined function first.
    fn at(&self, address: u64) -> Result<Vec<Location>, SymbolsError> {
        let mut frames = self.context.find_frames(address).skip_all_loads()?;
        let mut found = Vec::new();
        while let Some(frame) = frames.next()? {
            let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            let (file, line) = frame.location.map_or((None, None), |place| (place.file, place.line));
            found.push(Location {
                function: name.map(Cow::into_owned).unwrap_or_default(),
                file: file.map(|file| paths::shorten(file, self.root)),
                line,
            });
        }
        // Line tables have no path of a function, and not each function. The symbol table has both, of those that were not inlined.
        if let (Some(outermost), Some(symbol)) = (found.last_mut(), self.symbols.containing(address)) {
            outermost.function = demangled(symbol.name());
        }
        let inner = found.len().saturating_sub(DEPTH_MAX);
        // The outermost function is what the stack itself names, so the innermost ones are left out
        Ok(found.split_off(inner))
    }
}

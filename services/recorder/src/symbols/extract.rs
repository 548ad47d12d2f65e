//! Reads from the debug information of a program where our code is, and from its symbol table the names of all functions.
//!
//! Only units that were compiled in the checkout are read. The standard library has line tables as well, and no others have any.

use std::borrow::Cow;

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian, Range, SectionId};
use object::read::elf::ElfFile64;
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, SymbolKind,
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
    let places = Places { context: Context::from_dwarf(dwarf(&elf)?)?, functions: functions_of(&elf), root };
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
    for function in places.functions {
        let Some(begin) = function.begin.checked_sub(load_address) else { continue };
        table.name(begin, function.end - load_address, function.name)?;
    }
    table.finish()
}

/// A function in the symbol table.
struct Function {
    begin: u64,
    /// First address behind it. Not before its begin.
    end: u64,
    name: String,
}

/// The functions of a program, in the order of their addresses. Their names are demangled once, because that takes longer than all
/// else that is done for an address.
fn functions_of(elf: &ElfFile64<'_, Endianness>) -> Vec<Function> {
    let symbols = elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
    let named = symbols.filter_map(|symbol| {
        let (begin, name) = (symbol.address(), demangled(symbol.name().ok()?));
        Some(Function { begin, end: begin.saturating_add(symbol.size()), name })
    });
    let mut functions: Vec<Function> = named.collect();
    functions.sort_by_key(|function| function.begin);
    functions
}

fn demangled(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

fn dwarf<'a>(elf: &ElfFile64<'a, Endianness>) -> Result<Dwarf<Bytes<'a>>, SymbolsError> {
    let section = |id: SectionId| -> Result<Bytes<'a>, SymbolsError> {
        let data = match elf.section_by_name(id.name()) {
            Some(section) => section.data()?,
            None => &[],
        };
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
    /// In the order of their addresses.
    functions: Vec<Function>,
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
        if let (Some(outermost), Some(function)) = (found.last_mut(), self.function_at(address)) {
            outermost.function.clone_from(&function.name);
        }
        let inner = found.len().saturating_sub(DEPTH_MAX);
        // The outermost function is what the stack itself names, so the innermost ones are left out
        Ok(found.split_off(inner))
    }

    /// The function that contains an address.
    fn function_at(&self, address: u64) -> Option<&Function> {
        let after = self.functions.partition_point(|function| function.begin <= address);
        self.functions.get(after.checked_sub(1)?).filter(|function| address < function.end)
    }
}

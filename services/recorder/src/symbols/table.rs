//! The table of one program: ranges of addresses, each with the place of its code and the calls into which that was inlined.
//!
//! All numbers are little-endian and of 4 bytes. After the header follow, in this order:
//!
//! - ranges of 8 bytes: first address, number of the innermost place (or [`NONE`]). A range ends where the next one begins.
//! - places of 16 bytes: function, file, line (0: unknown), number of the place that it was inlined into (or [`NONE`]).
//! - texts: length of 2 bytes, bytes. Functions and files are offsets of texts (or [`NONE`]).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::Location;
use super::error::SymbolsError;

/// First bytes of a file. The last one is the version. Tables of another version are made again, so a change of the format or of
/// what is told about a program needs a new one.
const MAGIC: [u8; 8] = *b"pblines\x01";
/// The magic, and the numbers of ranges, of places and of the bytes of the texts. An empty table has nothing else.
pub(super) const HEADER_BYTES: u64 = 20;
const RANGE_BYTES: u64 = 8;
const PLACE_BYTES: u64 = 16;
const NONE: u32 = u32::MAX;
/// Largest number of inlined functions at one address. Outer ones are left out.
pub(super) const DEPTH_MAX: usize = 64;
/// Longest name or path. Names of deeply generic code can be kilobytes.
const TEXT_BYTES_MAX: usize = 1_024;
/// Number of ranges that are read at once, when the search has come down to them: one page.
const BLOCK: u32 = 512;

/// A table that is being made.
#[derive(Debug, Default)]
pub(super) struct Builder {
    ranges: Vec<Range>,
    /// Ranges of whole functions, for where no place is known.
    functions: Vec<Range>,
    places: Vec<Place>,
    /// Numbers of the places, each of which is there once.
    numbers: HashMap<Place, u32>,
    texts: Vec<u8>,
    /// Offsets of the texts.
    offsets: HashMap<String, u32>,
}

type Place = [u32; 4];

#[derive(Clone, Copy, Debug)]
struct Range {
    begin: u32,
    end: u32,
    place: u32,
}

impl Builder {
    /// Adds the places of a range of addresses, the innermost first. A range of no places is left out.
    ///
    /// # Errors
    /// When the table is full.
    pub(super) fn add(&mut self, begin: u64, end: u64, places: &[Location]) -> Result<(), SymbolsError> {
        let inner = self.chain(places)?;
        let (begin, end) = (number(begin)?, number(end)?);
        if inner == NONE || begin >= end {
            return Ok(());
        }
        match self.ranges.last_mut().filter(|last| last.end == begin && last.place == inner) {
            Some(last) => last.end = end,
            None => self.ranges.push(Range { begin, end, place: inner }),
        }
        Ok(())
    }

    /// Adds a range of instructions that belong to no line. They belong to the place before them, if that ends where they begin.
    pub(super) fn extend(&mut self, begin: u64, end: u64) -> Result<(), SymbolsError> {
        let (begin, end) = (number(begin)?, number(end)?);
        if let Some(last) = self.ranges.last_mut().filter(|last| last.end == begin && begin < end) {
            last.end = end;
        }
        Ok(())
    }

    /// Adds the name of the function in a range of addresses. It is told where no other place is known.
    ///
    /// # Errors
    /// When the table is full.
    pub(super) fn name(&mut self, begin: u64, end: u64, function: String) -> Result<(), SymbolsError> {
        let place = self.chain(&[Location { function, file: None, line: None }])?;
        self.functions.push(Range { begin: number(begin)?, end: number(end)?, place });
        Ok(())
    }

    /// Returns the bytes of the file.
    ///
    /// # Errors
    /// When the table is too large.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, SymbolsError> {
        let entries = entries(&filled(&disjoint(self.ranges), &disjoint(self.functions)));
        let counts = [entries.len(), self.places.len(), self.texts.len()];
        let mut bytes = MAGIC.to_vec();
        for count in counts {
            bytes.extend(u32::try_from(count).map_err(|_| SymbolsError::TooLarge)?.to_le_bytes());
        }
        bytes.extend(entries.iter().flatten().flat_map(|number| number.to_le_bytes()));
        bytes.extend(self.places.iter().flatten().flat_map(|number| number.to_le_bytes()));
        bytes.append(&mut self.texts);
        Ok(bytes)
    }

    /// Number of the innermost of these places, each of which is inlined into the next one.
    fn chain(&mut self, places: &[Location]) -> Result<u32, SymbolsError> {
        let mut inner = NONE;
        for place in places.iter().rev() {
            let function = self.text(&place.function)?;
            let file = place.file.as_deref().map_or(Ok(NONE), |file| self.text(file))?;
            inner = self.place([function, file, place.line.unwrap_or(0), inner])?;
        }
        Ok(inner)
    }

    fn place(&mut self, place: Place) -> Result<u32, SymbolsError> {
        if let Some(known) = self.numbers.get(&place) {
            return Ok(*known);
        }
        let next = count(self.places.len())?;
        self.places.push(place);
        self.numbers.insert(place, next);
        Ok(next)
    }

    fn text(&mut self, text: &str) -> Result<u32, SymbolsError> {
        if let Some(known) = self.offsets.get(text) {
            return Ok(*known);
        }
        let offset = count(self.texts.len())?;
        let cut = text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or(text);
        let length = u16::try_from(cut.len()).map_err(|_| SymbolsError::TooLarge)?;
        self.texts.extend(length.to_le_bytes());
        self.texts.extend(cut.as_bytes());
        self.offsets.insert(text.to_owned(), offset);
        Ok(offset)
    }
}

/// The ranges in order. Of two that overlap, the later one begins behind the other.
fn disjoint(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_by_key(|range| range.begin);
    let mut covered = 0;
    ranges.retain_mut(|range| {
        range.begin = range.begin.max(covered);
        let is_left = range.begin < range.end;
        covered = covered.max(range.end);
        is_left
    });
    ranges
}

/// The ranges, and the parts of the functions between them. Both have to be disjoint and in order, and so is the result.
fn filled(ranges: &[Range], functions: &[Range]) -> Vec<Range> {
    let mut all = ranges.to_vec();
    for function in functions {
        let mut begin = function.begin;
        let first = ranges.partition_point(|range| range.end <= function.begin);
        let inside = ranges.iter().skip(first).take_while(|range| range.begin < function.end);
        for range in inside {
            if begin < range.begin {
                all.push(Range { begin, end: range.begin, ..*function });
            }
            begin = range.end;
        }
        if begin < function.end {
            all.push(Range { begin, ..*function });
        }
    }
    all.sort_by_key(|range| range.begin);
    all
}

/// Begins of the ranges, and of the gaps behind them.
fn entries(ranges: &[Range]) -> Vec<[u32; 2]> {
    let mut entries = Vec::new();
    for (position, range) in ranges.iter().enumerate() {
        entries.push([range.begin, range.place]);
        if ranges.get(position + 1).is_none_or(|next| next.begin > range.end) {
            entries.push([range.end, NONE]);
        }
    }
    entries
}

fn number(address: u64) -> Result<u32, SymbolsError> {
    u32::try_from(address).map_err(|_| SymbolsError::TooLarge)
}

fn count(length: usize) -> Result<u32, SymbolsError> {
    u32::try_from(length).ok().filter(|count| *count != NONE).ok_or(SymbolsError::TooLarge)
}

/// The table in a file. A look-up reads at most a page of ranges, and 64 places with their texts.
#[derive(Debug)]
pub(super) struct Table {
    file: File,
    ranges: u32,
    places: u32,
    texts_bytes: u32,
}

impl Table {
    /// Opens a file that [`Builder::finish`] made.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let header: [u8; HEADER_BYTES as usize] = read(&file, 0)?;
        let [ranges, places, texts_bytes] = [8, 12, 16].map(|at| number_at(&header, at));
        let table = Self { file, ranges, places, texts_bytes };
        let is_whole = table.file.metadata()?.len() == table.texts_at() + u64::from(texts_bytes);
        if header.starts_with(&MAGIC) && is_whole { Ok(table) } else { Err(damaged()) }
    }

    /// Returns the places at an address, the innermost first. Empty if none is known, or if the file is damaged.
    pub(super) fn find(&self, address: u64) -> Vec<Location> {
        let Ok(address) = u32::try_from(address) else { return Vec::new() };
        self.chain(address).unwrap_or_default()
    }

    fn places_at(&self) -> u64 {
        HEADER_BYTES + u64::from(self.ranges) * RANGE_BYTES
    }

    fn texts_at(&self) -> u64 {
        self.places_at() + u64::from(self.places) * PLACE_BYTES
    }

    fn chain(&self, address: u32) -> io::Result<Vec<Location>> {
        let mut chain = Vec::new();
        let mut next = self.innermost(address)?;
        while next != NONE && chain.len() < DEPTH_MAX {
            if next >= self.places {
                return Err(damaged());
            }
            let bytes: [u8; PLACE_BYTES as usize] =
                read(&self.file, self.places_at() + u64::from(next) * PLACE_BYTES)?;
            let [function, file, line, outer] = [0, 4, 8, 12].map(|at| number_at(&bytes, at));
            chain.push(Location {
                function: self.text(function)?.unwrap_or_default(),
                file: self.text(file)?,
                line: (line > 0).then_some(line),
            });
            next = outer;
        }
        Ok(chain)
    }

    /// Number of the innermost place at an address.
    fn innermost(&self, address: u32) -> io::Result<u32> {
        // The range is one of low..high
        let (mut low, mut high) = (0, self.ranges);
        while high - low > BLOCK {
            let middle = low + (high - low) / 2;
            let [begin, _] = self.range(middle)?;
            if begin <= address { low = middle } else { high = middle }
        }
        let mut block = vec![0; (high - low) as usize * RANGE_BYTES as usize];
        self.file.read_exact_at(&mut block, HEADER_BYTES + u64::from(low) * RANGE_BYTES)?;
        let entries = block.chunks_exact(RANGE_BYTES as usize);
        let before = entries.take_while(|entry| number_at(entry, 0) <= address).last();
        Ok(before.map_or(NONE, |entry| number_at(entry, 4)))
    }

    fn range(&self, range: u32) -> io::Result<[u32; 2]> {
        let bytes: [u8; RANGE_BYTES as usize] =
            read(&self.file, HEADER_BYTES + u64::from(range) * RANGE_BYTES)?;
        Ok([number_at(&bytes, 0), number_at(&bytes, 4)])
    }

    fn text(&self, offset: u32) -> io::Result<Option<String>> {
        if offset == NONE {
            return Ok(None);
        }
        let at = self.texts_at() + u64::from(offset);
        let length = u16::from_le_bytes(read(&self.file, at)?);
        if u64::from(offset) + 2 + u64::from(length) > u64::from(self.texts_bytes) {
            return Err(damaged());
        }
        let mut bytes = vec![0; usize::from(length)];
        self.file.read_exact_at(&mut bytes, at + 2)?;
        String::from_utf8(bytes).map(Some).map_err(|_| damaged())
    }
}

fn read<const N: usize>(file: &File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// The number at an offset. 0 behind the end.
fn number_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the table of places is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(function: &str, line: u32) -> Location {
        Location { function: function.to_owned(), file: Some("a.rs".to_owned()), line: Some(line) }
    }

    fn write(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        file
    }

    fn names(table: &Table, address: u64) -> String {
        table.find(address).iter().map(|place| place.function.clone()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn ranges_are_found_in_any_order_and_end() {
        let mut builder = Builder::default();
        let add = |builder: &mut Builder, begin, end, places: &[Location]| {
            builder.add(begin, end, places).expect("added");
        };
        add(&mut builder, 200, 210, &[place("late", 1)]);
        builder.extend(210, 215).expect("extended");
        builder.extend(216, 220).expect("left out, because it does not follow");
        add(&mut builder, 100, 110, &[place("inner", 1), place("outer", 2)]);
        add(&mut builder, 110, 120, &[place("inner", 1), place("outer", 2)]);
        // Two units may tell of the same range
        add(&mut builder, 105, 130, &[place("other", 3)]);
        add(&mut builder, 300, 310, &[]);
        let file = write(&builder.finish().expect("bytes"));
        let table = Table::open(file.path()).expect("a table");
        assert_eq!(table.places, 4, "each place is there once");
        for (address, expected) in [
            (0, ""),
            (99, ""),
            (100, "inner outer"),
            (119, "inner outer"),
            (120, "other"),
            (129, "other"),
            (130, ""),
            (200, "late"),
            (214, "late"),
            (215, ""),
            (305, ""),
            (1 << 40, ""),
        ] {
            assert_eq!(names(&table, address), expected, "{address}");
        }
        assert_eq!(table.find(100)[1], place("outer", 2));
    }

    #[test]
    fn names_of_functions_fill_the_gaps_between_places() {
        let mut builder = Builder::default();
        let mut name = |begin, end, name: &str| builder.name(begin, end, name.to_owned()).expect("added");
        name(100, 200, "apply");
        name(200, 210, "run");
        name(205, 220, "alias");
        name(300, 300, "empty");
        for (begin, end) in [(110, 120), (120, 130), (190, 195)] {
            builder.add(begin, end, &[place("line", u32::try_from(begin).expect("small"))]).expect("added");
        }
        let file = write(&builder.finish().expect("bytes"));
        let table = Table::open(file.path()).expect("a table");
        for (address, expected) in [
            (99, ""),
            (100, "apply"),
            (109, "apply"),
            (110, "line"),
            (129, "line"),
            (130, "apply"),
            (192, "line"),
            (195, "apply"),
            (200, "run"),
            (209, "run"),
            (210, "alias"),
            (220, ""),
            (300, ""),
        ] {
            assert_eq!(names(&table, address), expected, "{address}");
        }
        assert_eq!(table.find(100)[0], Location { function: "apply".to_owned(), file: None, line: None });
    }

    #[test]
    fn every_range_of_a_large_table_is_found() {
        let mut builder = Builder::default();
        let ranges = 3 * BLOCK + 7;
        for number in 0..ranges {
            let begin = u64::from(number) * 10;
            builder.add(begin, begin + 5, &[place("f", number + 1)]).expect("added");
        }
        let file = write(&builder.finish().expect("bytes"));
        let table = Table::open(file.path()).expect("a table");
        for number in 0..ranges {
            let begin = u64::from(number) * 10;
            assert_eq!(table.find(begin), [place("f", number + 1)]);
            assert_eq!(table.find(begin + 4), [place("f", number + 1)]);
            assert!(table.find(begin + 5).is_empty(), "{number}");
        }
    }

    #[test]
    fn empty_and_damaged_files_tell_nothing() {
        let empty = write(&Builder::default().finish().expect("bytes"));
        assert!(Table::open(empty.path()).expect("a table").find(1).is_empty());
        let mut builder = Builder::default();
        builder.add(0, 9, &[place("f", 1)]).expect("added");
        let whole = builder.finish().expect("bytes");
        assert_eq!(Table::open(write(&whole).path()).expect("a table").find(1).len(), 1);
        for length in 0..whole.len() {
            let cut = write(whole.get(..length).expect("a part"));
            assert!(Table::open(cut.path()).is_err(), "{length}");
        }
        // Wrong numbers are refused, and a wrong text is no place
        for position in 0..whole.len() {
            let mut changed = whole.clone();
            changed[position] ^= 0xff;
            if let Ok(table) = Table::open(write(&changed).path()) {
                assert!(table.find(1).len() <= DEPTH_MAX, "{position}");
            }
        }
        let mut endless = whole;
        // The place is inlined into itself
        let outer = usize::try_from(HEADER_BYTES + 2 * RANGE_BYTES).expect("small") + 12;
        endless[outer..outer + 4].fill(0);
        assert_eq!(Table::open(write(&endless).path()).expect("a table").find(1).len(), DEPTH_MAX);
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let mut builder = Builder::default();
        builder.add(0, 1, &[place(&"ä".repeat(TEXT_BYTES_MAX), 1)]).expect("added");
        let file = write(&builder.finish().expect("bytes"));
        let found = Table::open(file.path()).expect("a table").find(0);
        assert_eq!(found[0].function, "ä".repeat(TEXT_BYTES_MAX / 2));
        assert!(matches!(Builder::default().add(0, 1 << 40, &[]), Err(SymbolsError::TooLarge)));
    }
}

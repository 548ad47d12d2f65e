//! Joins the parts of one program in the list of modules.
//!
//! A linker can leave a page between two segments of a program (`lld` does, if an alignment crosses a page). The writer takes mappings
//! with a gap between them for two modules, and gives both the same build id. Whoever resolves an address subtracts the start of its
//! module, which is wrong for the second one: Sentry's symbolicator would name other functions.

use super::{entries, number, stream};

/// Stream of the modules.
const MODULES: usize = 4;
/// Length of an entry of the list, and of the number of entries before it.
const MODULE_BYTES: usize = 108;
const COUNT_BYTES: usize = 4;
/// Largest gap between two parts. Linkers leave at most a page of 64 KiB.
const GAP_BYTES_MAX: u64 = 64 * 1_024;

/// Joins modules with the same build id that are beside one another. What cannot be read stays as it is.
pub(super) fn join(dump: &mut [u8]) {
    if let Some((entry, place, joined)) = joined(dump) {
        rewrite(dump, entry, place, &joined);
    }
}

/// The place of the directory's entry, that of the list, and the new list. `None` if there is nothing to join.
fn joined(dump: &[u8]) -> Option<(usize, usize, Vec<[u8; MODULE_BYTES]>)> {
    let is_modules = |entry: &usize| stream(dump, *entry).is_some_and(|stream| stream.kind == MODULES);
    let entry = entries(dump)?.find(is_modules)?;
    let list = stream(dump, entry)?;
    let content = dump.get(list.place..list.place.checked_add(list.length)?)?;
    let count = number(content, 0)?;
    if content.len() != COUNT_BYTES.checked_add(count.checked_mul(MODULE_BYTES)?)? {
        return None;
    }
    let mut kept: Vec<[u8; MODULE_BYTES]> = Vec::with_capacity(count);
    for module in content.get(COUNT_BYTES..)?.chunks_exact(MODULE_BYTES) {
        let module: [u8; MODULE_BYTES] = module.try_into().ok()?;
        let joins = kept.iter_mut().any(|other| {
            let whole = whole(dump, other, &module);
            whole.is_some_and(|(start, length)| {
                other[..8].copy_from_slice(&start.to_le_bytes());
                other[8..12].copy_from_slice(&length.to_le_bytes());
                true
            })
        });
        if !joins {
            kept.push(module);
        }
    }
    (kept.len() < count).then_some((entry, list.place, kept))
}

/// Start and length of two parts together. `None` if they are no parts of one program.
fn whole(dump: &[u8], one: &[u8], other: &[u8]) -> Option<(u64, u32)> {
    let id = build_id(dump, one)?;
    if id != build_id(dump, other)? {
        return None;
    }
    let mut parts = [range(one)?, range(other)?];
    parts.sort_unstable();
    let [(start, first_end), (second_start, end)] = parts;
    let gap = second_start.checked_sub(first_end)?;
    let length = u32::try_from(end.checked_sub(start)?).ok()?;
    (gap <= GAP_BYTES_MAX).then_some((start, length))
}

/// First address of a module, and the one behind it.
fn range(module: &[u8]) -> Option<(u64, u64)> {
    let start = u64::from_le_bytes(module.get(..8)?.try_into().ok()?);
    let length = u64::try_from(number(module, 8)?).ok()?;
    Some((start, start.checked_add(length)?))
}

/// The record with the build id of a module, which has to be there.
fn build_id<'a>(dump: &'a [u8], module: &[u8]) -> Option<&'a [u8]> {
    let (length, place) = (number(module, 76)?, number(module, 80)?);
    let record = dump.get(place..place.checked_add(length)?)?;
    (!record.is_empty()).then_some(record)
}

/// Writes the shorter list in place of the old one.
fn rewrite(dump: &mut [u8], entry: usize, place: usize, modules: &[[u8; MODULE_BYTES]]) {
    let mut list = u32::try_from(modules.len()).unwrap_or_default().to_le_bytes().to_vec();
    list.extend(modules.iter().flatten());
    let length = u32::try_from(list.len()).unwrap_or_default().to_le_bytes();
    if let Some(old) = dump.get_mut(place..place.saturating_add(list.len())) {
        old.copy_from_slice(&list);
    }
    if let Some(old) = dump.get_mut(entry.saturating_add(4)..entry.saturating_add(8)) {
        old.copy_from_slice(&length);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::dump;
    use super::*;

    /// Bytes in front of the list: the header and one entry of the directory.
    const LIST: usize = 32 + 12;

    /// Start, length and build id of each module in a file.
    type Listed = Vec<(u64, usize, Vec<u8>)>;

    fn file(modules: &[(u64, u32, &[u8; 4])]) -> Vec<u8> {
        let ids = LIST + COUNT_BYTES + modules.len() * MODULE_BYTES;
        let mut list = u32::try_from(modules.len()).unwrap().to_le_bytes().to_vec();
        for (position, (start, length, _)) in modules.iter().enumerate() {
            let mut entry = [0; MODULE_BYTES];
            entry[..8].copy_from_slice(&start.to_le_bytes());
            entry[8..12].copy_from_slice(&length.to_le_bytes());
            entry[76..80].copy_from_slice(&4_u32.to_le_bytes());
            entry[80..84].copy_from_slice(&u32::try_from(ids + position * 4).unwrap().to_le_bytes());
            list.extend(entry);
        }
        let mut file = dump(&[(4, &list)]);
        file.extend(modules.iter().flat_map(|(_, _, id)| id.iter()));
        file
    }

    fn listed(file: &[u8]) -> Listed {
        let list = stream(file, 32).unwrap();
        assert_eq!(list.length, COUNT_BYTES + number(file, LIST).unwrap() * MODULE_BYTES);
        let entries = file[list.place + COUNT_BYTES..list.place + list.length].chunks_exact(MODULE_BYTES);
        let of = |entry: &[u8]| {
            let start = u64::from_le_bytes(entry[..8].try_into().unwrap());
            (start, number(entry, 8).unwrap(), build_id(file, entry).unwrap().to_vec())
        };
        entries.map(of).collect()
    }

    #[test]
    fn parts_beside_one_another_become_one_module() {
        let (own, libc) = (b"own.", b"libc");
        // As the writer lists a program of `lld`: the code first, then what is before it, and a copy that was read far away.
        let mut parts = file(&[
            (0x5000, 0x900, own),
            (0x3000, 0x1000, own),
            (0x70_000, 0x80, libc),
            (0x90_0000, 0x50, own),
        ]);
        join(&mut parts);
        let expected = [(0x3000, 0x2900, own), (0x70_000, 0x80, libc), (0x90_0000, 0x50, own)];
        assert_eq!(listed(&parts), expected.map(|(start, length, id)| (start, length, id.to_vec())));
    }

    #[test]
    fn other_lists_stay_as_they_are() {
        for modules in [
            vec![],
            vec![(0x3000, 0x1000, b"own.")],
            vec![(0x3000, 0x1000, b"own."), (0x4000, 0x1000, b"libc")],
            vec![(0x3000, 0x1000, b"own."), (0x3800, 0x1000, b"own.")],
        ] {
            let before = file(&modules);
            let mut after = before.clone();
            join(&mut after);
            assert_eq!(after, before);
        }
    }

    #[test]
    fn what_cannot_be_read_does_not_panic() {
        let whole = file(&[(0x5000, 0x900, b"own."), (0x3000, 0x1000, b"own.")]);
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            join(&mut cut);
            assert_eq!(cut, whole[..length], "{length} bytes");
        }
    }
}

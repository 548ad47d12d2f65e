//! The files of loaded modules: their unwind tables and their symbols.
//!
//! A file counts if it is below a configured folder and has the build id of the module. A minidump names a file, never a folder, so
//! that a file from outside cannot make the recorder open anything else.

use std::{fs::File, ops::Range, path::PathBuf};

use object::{
    Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, SymbolKind, read::ReadCache,
};

use super::dump::Module;

/// Largest section that is read. The unwind tables of a service have a few megabytes.
const SECTION_BYTES_MAX: u64 = 24 * 1024 * 1024;
/// Longest name of a function, before it is made readable.
const SYMBOL_BYTES_MAX: usize = 4_096;
/// Page size, to which segments are aligned.
const PAGE: u64 = 4_096;

/// The folders in which files of modules are looked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModuleFolders(Vec<PathBuf>);

/// The file of a module, by what was read of it.
#[derive(Debug)]
pub(super) struct ModuleFile {
    path: PathBuf,
    /// Address of the module's beginning in the file's own numbers. Of most files it is 0.
    pub(super) base: u64,
    pub(super) text: Option<Range<u64>>,
    pub(super) eh_frame: Option<(Range<u64>, Vec<u8>)>,
    pub(super) eh_frame_hdr: Option<(Range<u64>, Vec<u8>)>,
}

impl ModuleFolders {
    /// Remembers the folders that exist.
    pub(crate) fn new(folders: &[PathBuf]) -> Self {
        Self(folders.iter().filter_map(|folder| folder.canonicalize().ok()).collect())
    }

    /// Returns the file of a module, if one of the folders has it.
    pub(super) fn find(&self, module: &Module) -> Option<ModuleFile> {
        if module.build_id.is_empty() || matches!(module.name.as_str(), "" | "." | "..") {
            return None;
        }
        self.0.iter().find_map(|folder| {
            // A link may lead out of the folder
            let path = folder.join(&module.name).canonicalize().ok()?;
            let is_inside = path.starts_with(folder) && path.is_file();
            if is_inside { ModuleFile::open(path, &module.build_id) } else { None }
        })
    }
}

impl ModuleFile {
    fn open(path: PathBuf, build_id: &str) -> Option<Self> {
        let cache = ReadCache::new(File::open(&path).ok()?);
        let file = object::File::parse(&cache).ok()?;
        if hex::encode(file.build_id().ok()??) != build_id {
            return None;
        }
        let section = |name: &str| {
            let section = file.section_by_name(name)?;
            if section.size() > SECTION_BYTES_MAX {
                return None;
            }
            let range = section.address()..section.address().checked_add(section.size())?;
            Some((range, section.data().ok()?.to_vec()))
        };
        let base = file.segments().map(|segment| segment.address()).min().unwrap_or_default() & !(PAGE - 1);
        let text = file
            .section_by_name(".text")
            .and_then(|text| Some(text.address()..text.address().checked_add(text.size())?));
        let (eh_frame, eh_frame_hdr) = (section(".eh_frame"), section(".eh_frame_hdr"));
        Some(Self { path, base, text, eh_frame, eh_frame_hdr })
    }

    /// Returns the memory that the unwind tables take.
    pub(super) fn bytes(&self) -> usize {
        [&self.eh_frame, &self.eh_frame_hdr].into_iter().flatten().map(|(_, bytes)| bytes.len()).sum()
    }

    /// Names functions by the symbol table, in one pass. The addresses are relative to the module's beginning.
    pub(super) fn functions(&self, relative_addresses: &[u64]) -> Vec<Option<String>> {
        let mut names: Vec<Option<String>> = vec![None; relative_addresses.len()];
        let Ok(file) = File::open(&self.path) else { return names };
        let cache = ReadCache::new(file);
        let Ok(file) = object::File::parse(&cache) else { return names };
        let mut wanted: Vec<(u64, usize)> = relative_addresses
            .iter()
            .enumerate()
            .filter_map(|(position, address)| Some((address.checked_add(self.base)?, position)))
            .collect();
        wanted.sort_unstable();
        for symbol in file.symbols().chain(file.dynamic_symbols()) {
            if symbol.kind() != SymbolKind::Text || symbol.size() == 0 {
                continue;
            }
            let end = symbol.address().saturating_add(symbol.size());
            let first = wanted.partition_point(|(address, _)| *address < symbol.address());
            for (address, position) in wanted.iter().skip(first) {
                if *address >= end {
                    break;
                }
                if let Some(name) = names.get_mut(*position)
                    && name.is_none()
                {
                    *name = symbol.name().ok().filter(|name| name.len() <= SYMBOL_BYTES_MAX).map(readable);
                }
            }
        }
        names
    }
}

/// The name of a function as its author wrote it, without the hash of the compiler.
fn readable(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The file of this test program as a module at an address, if it has a build id.
    pub(in crate::crashes) fn own_module(start: u64) -> Option<(Module, ModuleFolders)> {
        let path = std::env::current_exe().expect("a path").canonicalize().expect("a file");
        let bytes = std::fs::metadata(&path).expect("a file").len();
        let folder = path.parent().expect("a folder").to_owned();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let cache = ReadCache::new(File::open(&path).expect("a file"));
        let file = object::File::parse(&cache).expect("a program");
        let build_id = hex::encode(file.build_id().expect("notes")?);
        Some((Module { start, bytes, name, build_id }, ModuleFolders::new(&[folder])))
    }

    /// The address at which the kernel has loaded this test program.
    pub(in crate::crashes) fn own_start() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("a list of mappings");
        let own = std::env::current_exe().expect("a path");
        let line =
            maps.lines().find(|line| line.ends_with(&own.display().to_string())).expect("this program");
        let start = line.split('-').next().and_then(|text| u64::from_str_radix(text, 16).ok());
        start.expect("an address")
    }

    #[test]
    fn only_a_file_with_the_build_id_counts() {
        let Some((module, folders)) = own_module(0x1000) else { return };
        let file = folders.find(&module).expect("this program");
        assert!(file.eh_frame.as_ref().is_some_and(|(range, bytes)| {
            usize::try_from(range.end - range.start) == Ok(bytes.len()) && !bytes.is_empty()
        }));
        let other = Module { build_id: "00".repeat(20), ..module.clone() };
        assert!(folders.find(&other).is_none());
        let unnamed = Module { build_id: String::new(), ..module.clone() };
        assert!(folders.find(&unnamed).is_none());
        assert!(ModuleFolders::default().find(&module).is_none());
    }

    #[test]
    fn links_out_of_the_folder_are_not_followed() {
        let Some((module, _)) = own_module(0x1000) else { return };
        let folder = tempfile::tempdir().expect("a folder");
        let own = std::env::current_exe().expect("a path");
        std::os::unix::fs::symlink(own, folder.path().join(&module.name)).expect("a link");
        let folders = ModuleFolders::new(&[folder.path().to_owned()]);
        assert!(folders.find(&module).is_none());
        for name in ["..", ".", ""] {
            assert!(folders.find(&Module { name: name.to_owned(), ..module.clone() }).is_none(), "{name:?}");
        }
    }

    #[test]
    fn names_are_readable() {
        assert_eq!(
            readable("_ZN7chassis5debug6deadly7descend17h0123456789abcdefE"),
            "chassis::debug::deadly::descend"
        );
        assert_eq!(readable("abort"), "abort");
    }
}

//! Names the frames of a stack.

use std::collections::HashMap;

use super::{
    dump::Crash,
    locate::Locate,
    unwind::{Files, RawFrame, Trust, Walk},
};
use crate::symbols::Location;

/// Our crates, whose frames decide the issue and are shown first. `telemetry` is left out, as in the events of an SDK.
const IN_APP: [&str; 16] = [
    "analytics",
    "bus",
    "chassis",
    "contracts",
    "faults",
    "game",
    "gateway",
    "lagwatch",
    "money",
    "notification",
    "partners",
    "payment",
    "recorder",
    "store",
    "user",
    "wire",
];

/// A frame with its name, as far as it is known. Inlined functions are frames of their own with the same address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) location: Option<Location>,
    pub(super) address: u64,
    pub(super) trust: Trust,
    pub(super) module: Option<usize>,
    pub(super) in_app: bool,
}

/// Names all frames, innermost first.
pub(super) fn name(crash: &Crash<'_>, walk: &Walk, files: &mut Files<'_>, locate: &dyn Locate) -> Vec<Frame> {
    let mut known: HashMap<u64, Vec<Location>> = HashMap::new();
    // Addresses that only the symbol table can name, by module and relative to it
    let mut unknown: HashMap<usize, Vec<u64>> = HashMap::new();
    for RawFrame { address, module, .. } in &walk.frames {
        let Some((position, module)) = module.and_then(|at| Some((at, crash.modules.get(at)?))) else {
            continue;
        };
        if known.contains_key(address) {
            continue;
        }
        let relative = address.saturating_sub(module.start);
        let located = locate.locate(&module.build_id, relative);
        if located.is_empty() {
            unknown.entry(position).or_default().push(relative);
        }
        known.insert(*address, located);
    }
    for (position, relative) in unknown {
        let (Some(module), Some(file)) = (crash.modules.get(position), files.file(position)) else {
            continue;
        };
        for (address, function) in relative.iter().zip(file.functions(&relative)) {
            let location = function.map(|function| Location { function, file: None, line: None });
            known.insert(module.start.saturating_add(*address), location.into_iter().collect());
        }
    }
    walk.frames.iter().flat_map(|raw| named(crash, raw, known.get(&raw.address))).collect()
}

/// Returns the frames at one address.
fn named(crash: &Crash<'_>, raw: &RawFrame, locations: Option<&Vec<Location>>) -> Vec<Frame> {
    let RawFrame { address, trust, module } = *raw;
    let frame = |location: Option<Location>, in_app| Frame { location, address, trust, module, in_app };
    match locations.filter(|locations| !locations.is_empty()) {
        Some(locations) => locations
            .iter()
            .map(|location| frame(Some(location.clone()), is_ours(&location.function)))
            .collect(),
        None => {
            let module = module.and_then(|position| crash.modules.get(position));
            vec![frame(None, module.is_some_and(|module| IN_APP.contains(&module.name.as_str())))]
        }
    }
}

/// Returns true for a function of one of our crates, also as `<crate::Type as Trait>::function`.
fn is_ours(function: &str) -> bool {
    let path = function.trim_start_matches(['<', '&', '*', '(', '[']);
    let path = path.strip_prefix("mut ").or_else(|| path.strip_prefix("dyn ")).unwrap_or(path);
    let end = path.find(|character: char| !character.is_alphanumeric() && character != '_');
    let origin = path.get(..end.unwrap_or(path.len())).unwrap_or_default();
    IN_APP.contains(&origin) && path.get(origin.len()..).is_some_and(|rest| rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crashes::{
        ModuleFolders,
        dump::{self, Module, Registers, Stack, tests::Writer},
        modules::tests::{own_module, own_start},
    };
    use crate::symbols::Symbols;

    /// Names each address by two functions, of which the inner one is inlined.
    struct Inlined;

    impl Locate for Inlined {
        fn locate(&self, build_id: &str, relative_address: u64) -> Vec<Location> {
            let location =
                |function: String| Location { function, file: Some("a.rs".to_owned()), line: Some(3) };
            let outer = location(format!("payment::{build_id}::{relative_address:x}"));
            vec![location("core::inner".to_owned()), outer]
        }
    }

    fn crash(module: &Module, instruction: u64) -> Vec<u8> {
        let registers = Registers { instruction, stack: 0x10, frame: 0 };
        Writer::crash(registers, Stack { start: 0x10, bytes: &[] }, std::slice::from_ref(module))
    }

    fn frames(module: &Module, instruction: u64, folders: &ModuleFolders, locate: &dyn Locate) -> Vec<Frame> {
        let bytes = crash(module, instruction);
        let crash = dump::read(&bytes).expect("a crash");
        let walk = Walk {
            frames: vec![RawFrame {
                address: instruction,
                trust: Trust::Context,
                module: crash.module_at(instruction),
            }],
            omitted: 0,
        };
        name(&crash, &walk, &mut Files::new(&crash, folders), locate)
    }

    fn payment() -> Module {
        Module { start: 0x1000, bytes: 0x1000, name: "payment".to_owned(), build_id: "ab".to_owned() }
    }

    #[test]
    fn inlined_functions_are_frames() {
        let frames = frames(&payment(), 0x1234, &ModuleFolders::default(), &Inlined);
        let names: Vec<(&str, bool)> = frames
            .iter()
            .map(|frame| (frame.location.as_ref().map_or("?", |at| at.function.as_str()), frame.in_app))
            .collect();
        assert_eq!(names, [("core::inner", false), ("payment::ab::234", true)]);
    }

    #[test]
    fn frame_without_a_name_is_that_of_its_module() {
        for (module, instruction, in_app) in [
            (payment(), 0x1234, true),
            (Module { name: "libc.so.6".to_owned(), ..payment() }, 0x1234, false),
            (payment(), 0x9, false),
        ] {
            let frames = frames(&module, instruction, &ModuleFolders::default(), &Symbols::default());
            assert_eq!(frames.len(), 1);
            assert_eq!((&frames[0].location, frames[0].in_app), (&None, in_app), "{}", module.name);
        }
    }

    #[inline(never)]
    fn named_by_the_symbol_table() -> u32 {
        std::hint::black_box(7)
    }

    #[test]
    fn symbol_table_names_a_function_of_this_program() {
        assert_eq!(named_by_the_symbol_table(), 7);
        let function = named_by_the_symbol_table as fn() -> u32 as usize as u64;
        let Some((module, folders)) = own_module(own_start()) else { return };
        let frames = frames(&module, function, &folders, &Symbols::default());
        let name = frames[0].location.as_ref().map(|location| location.function.as_str());
        assert!(name.is_some_and(|name| name.ends_with("named_by_the_symbol_table")), "{name:?}");
    }

    #[test]
    fn crates_of_ours_are_told_by_the_path() {
        for function in
            ["payment::ledger::post", "<chassis::debug::Debug as axum::Handler>::call", "<&bus::A>::b"]
        {
            assert!(is_ours(function), "{function}");
        }
        for function in ["payments::post", "core::ptr::drop_in_place<payment::A>", "user", "", "<", "gateway"]
        {
            assert!(!is_ours(function), "{function}");
        }
    }
}

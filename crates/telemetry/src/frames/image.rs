//! The running program as a debug image: its build id, and where it is in memory.

use std::path::Path;
use std::sync::LazyLock;

use sentry::integrations::debug_images::debug_images;
use sentry::protocol::{DebugImage, DebugMeta};

/// The program, as an event tells of it.
#[derive(Debug)]
pub(super) struct Program {
    /// Lowest address in memory.
    pub(super) address: u64,
    /// One image, without the folder of the program and without libraries, whose frames have no names.
    pub(super) meta: DebugMeta,
}

/// The running program. `None` if it has no build id.
pub(super) fn program() -> Option<&'static Program> {
    static PROGRAM: LazyLock<Option<Program>> = LazyLock::new(|| find(program as *const () as usize as u64));
    PROGRAM.as_ref()
}

/// The image that contains an address of a function.
fn find(address: u64) -> Option<Program> {
    debug_images().into_iter().find_map(|image| {
        let DebugImage::Symbolic(mut image) = image else { return None };
        let begin = image.image_addr.0;
        if !(begin..begin.saturating_add(image.image_size)).contains(&address) {
            return None;
        }
        let name = Path::new(&image.name).file_name().map(|name| name.to_string_lossy().into_owned());
        image.name = name?;
        image.debug_file = None;
        let meta = DebugMeta { images: vec![image.into()], ..DebugMeta::default() };
        Some(Program { address: begin, meta })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_is_this_program_without_its_folder() {
        let program = program().expect("a build id");
        let [DebugImage::Symbolic(image)] = &*program.meta.images else { panic!("{:?}", program.meta) };
        let here = image_is_this_program_without_its_folder as *const () as usize as u64;
        assert!((program.address..program.address + image.image_size).contains(&here));
        let id = image.code_id.as_ref().expect("a build id").as_str();
        assert!(id.len() >= 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        let own = std::env::current_exe().expect("a program");
        assert_eq!(Some(image.name.as_str()), own.file_name().and_then(|name| name.to_str()));
        assert!(find(1).is_none(), "no image begins there");
    }
}

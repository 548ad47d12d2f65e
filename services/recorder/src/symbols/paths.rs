//! Paths of source files as people write them, without the folders of the machine that built the program.

/// Folders of our code, and of what builds generate from it.
const OURS: [&str; 3] = ["crates/", "services/", "target/"];
/// Part of the path of the standard library where its sources are installed.
const INSTALLED_LIBRARY: &str = "/rustlib/src/rust/";
/// Beginning of its path where they are not. A commit follows.
const LIBRARY: &str = "/rustc/";
/// Part of the path of an external crate. The folder of a registry follows.
const REGISTRY: &str = "/registry/src/";

/// Returns the path relative to the checkout `root`, to the standard library (`library/…`), or to the registry of crates
/// (`tokio-1.0.0/src/…`), otherwise the name of the file.
pub(super) fn shorten(path: &str, root: &str) -> String {
    let below = |rest: &str| rest.split_once('/').map(|(_, rest)| rest.to_owned());
    let ours = path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/'));
    if let Some(ours) = ours.filter(|ours| is_ours(ours)) {
        return ours.to_owned();
    }
    let library = path.strip_prefix(LIBRARY).and_then(below);
    let installed = || path.split_once(INSTALLED_LIBRARY).map(|(_, rest)| rest.to_owned());
    let external = || path.split_once(REGISTRY).and_then(|(_, rest)| below(rest));
    let name = || path.rsplit_once('/').map_or(path, |(_, name)| name).to_owned();
    library.or_else(installed).or_else(external).unwrap_or_else(name)
}

/// Returns true for a path that [`shorten`] made relative to the checkout.
pub(super) fn is_ours(path: &str) -> bool {
    OURS.iter().any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_names_the_source_and_not_the_machine() {
        for (path, expected, ours) in [
            ("/home/a/pitboss/services/payment/src/lib.rs", "services/payment/src/lib.rs", true),
            (
                "/home/a/pitboss/target/debug/build/c-1/out/casino.rs",
                "target/debug/build/c-1/out/casino.rs",
                true,
            ),
            ("/home/a/pitboss2/services/payment/src/lib.rs", "lib.rs", false),
            ("/rustc/598076/library/core/src/option.rs", "library/core/src/option.rs", false),
            (
                "/home/a/.rustup/toolchains/1.95/lib/rustlib/src/rust/library/core/src/option.rs",
                "library/core/src/option.rs",
                false,
            ),
            ("/home/a/.cargo/registry/src/index-1/tokio-1.0.0/src/task.rs", "tokio-1.0.0/src/task.rs", false),
            ("/home/a/secret/x.c", "x.c", false),
            ("x.c", "x.c", false),
            ("", "", false),
        ] {
            let short = shorten(path, "/home/a/pitboss");
            assert_eq!((short.as_str(), is_ours(&short)), (expected, ours), "{path}");
        }
    }
}

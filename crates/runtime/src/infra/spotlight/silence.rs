//! Switches off Spotlight's own telemetry, which it has no option for: its server and its pages report to Sentry's own organisation.
//!
//! Each change replaces one text of one file of the pinned version. A file without exactly that text is refused, because nobody has
//! read what it does instead.

use std::path::{Path, PathBuf};

use crate::RuntimeError;
use crate::layout::write_private;

/// Folder of the package below the one that npm installs into.
pub(super) const PACKAGE_FOLDER: &str = "node_modules/@spotlightjs/spotlight";

/// One text of a file, and what replaces it.
struct Change {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

static CHANGES: [Change; 3] = [
    // The SDK of the server.
    Change {
        file: "dist/sentry-config.js",
        from: "enabled: Boolean(\"production\") && true,",
        to: "enabled: false,",
    },
    // The SDK of the pages.
    Change {
        file: "dist/ui/assets/instrumentation.js",
        from: "wy={enabled:!0,environment:",
        to: "wy={enabled:!1,environment:",
    },
    // What the pages may connect to: a browser enforces it.
    Change {
        file: "dist/ui/index.html",
        from: "connect-src 'self' http://localhost:* ws://localhost:* https://*.sentry.io;",
        to: "connect-src 'self' http://localhost:* ws://localhost:*;",
    },
];

/// The texts of all changes, so that another change is another installation.
pub(super) fn texts() -> impl Iterator<Item = &'static str> {
    CHANGES.iter().flat_map(|change| [change.file, change.from, change.to])
}

/// Changes the files of a fresh installation.
pub(super) fn apply(home: &Path) -> Result<(), RuntimeError> {
    for change in &CHANGES {
        let (path, text) = read(home, change)?;
        let changed = changed(change, &text).ok_or_else(|| refusal(&path))?;
        write_private(&path, changed.as_bytes())?;
    }
    Ok(())
}

/// Checks that an installation was changed and that nobody changed it back.
pub(super) fn check(home: &Path) -> Result<(), RuntimeError> {
    for change in &CHANGES {
        let (path, text) = read(home, change)?;
        if text.contains(change.from) || text.matches(change.to).count() != 1 {
            return Err(refusal(&path));
        }
    }
    Ok(())
}

fn read(home: &Path, change: &Change) -> Result<(PathBuf, String), RuntimeError> {
    let path = home.join(PACKAGE_FOLDER).join(change.file);
    let text = std::fs::read_to_string(&path).map_err(RuntimeError::file("read", &path))?;
    Ok((path, text))
}

/// The text with the change, if it has exactly one place for it.
fn changed(change: &Change, text: &str) -> Option<String> {
    (text.matches(change.from).count() == 1).then(|| text.replace(change.from, change.to))
}

fn refusal(path: &Path) -> RuntimeError {
    RuntimeError::Missing {
        what: format!(
            "{} does not look as expected, so Spotlight's own telemetry cannot be switched off",
            path.display()
        ),
        advice: "delete its folder below .pitboss/tools, so that ./pitboss up --spotlight fetches it again"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An installation whose files consist of these texts.
    fn installed(text: impl Fn(&Change) -> String) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for change in &CHANGES {
            let path = folder.path().join(PACKAGE_FOLDER).join(change.file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text(change)).unwrap();
        }
        folder
    }

    #[test]
    fn telemetry_is_switched_off_in_every_file() {
        let fresh = installed(|change| format!("a\n{}\nb", change.from));
        assert!(check(fresh.path()).is_err(), "it is still on");
        apply(fresh.path()).unwrap();
        assert!(check(fresh.path()).is_ok());
        for change in &CHANGES {
            let text = read(fresh.path(), change).unwrap().1;
            assert_eq!(text, format!("a\n{}\nb", change.to), "nothing else changed");
        }
        assert!(apply(fresh.path()).is_err(), "there is nothing left to change");
    }

    #[test]
    fn unexpected_files_are_refused() {
        for count in [0, 2] {
            let folder = installed(|change| change.from.repeat(count));
            let error = apply(folder.path()).unwrap_err();
            assert_eq!(error.exit_code(), 69);
            assert!(error.to_string().contains("does not look as expected"), "{error}");
        }
        let changed_back = installed(|change| format!("{}{}", change.to, change.from));
        assert!(check(changed_back.path()).is_err());
        let missing = tempfile::tempdir().unwrap();
        assert!(apply(missing.path()).is_err() && check(missing.path()).is_err());
    }
}

//! The two builds: that of another checkout, and that of this one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use runtime::Layout;

use crate::checkout::PROGRAMS_VARIABLE;
use crate::commands::bench::platform::{COMMAND_LINE, Platform, Side, this_program};

/// Files at the root of every checkout.
const ROOT_FILES: [&str; 2] = ["deploy/versions.toml", "Cargo.toml"];

/// The platforms of A, the build of the checkout `vs`, and of B, the build of the checkout `own`. Their states are in `folder`.
///
/// # Errors
/// When `vs` is no checkout, when the programs of this one are outside of it, or when one of the two has not been built (exit code
/// 69).
pub(super) fn both(own: &Layout, vs: &Path, folder: &Path) -> Result<[Platform; 2]> {
    let a = other(own, vs, Side::A.state(folder))?;
    let program = a.programs().join(COMMAND_LINE);
    let b = own.with_state(Side::B.state(folder));
    Ok([platform(Side::A, a, program)?, platform(Side::B, b, this_program()?)?])
}

fn platform(side: Side, layout: Layout, program: PathBuf) -> Result<Platform> {
    let name = layout.root().display().to_string();
    Platform::new(side, layout, program, name)
}

/// Folders of a platform of the checkout `root`. It uses its own fetched programs if there are any, because another version of
/// them can be what differs.
fn other(own: &Layout, root: &Path, state: PathBuf) -> Result<Layout> {
    let root = root.canonicalize().with_context(|| format!("cannot find {}", root.display()))?;
    if !ROOT_FILES.iter().all(|file| root.join(file).is_file()) {
        bail!("{} is not the root of a checkout of Pitboss: name one with --vs", root.display());
    }
    let fetched = Some(Layout::new(&root, None, None).tools().to_owned()).filter(|tools| tools.is_dir());
    let layout = Layout::new(&root, Some(state), Some(fetched.unwrap_or_else(|| own.tools().to_owned())));
    let Ok(programs) = own.programs().strip_prefix(own.root()) else {
        let folder = own.programs().display();
        bail!(
            "{PROGRAMS_VARIABLE} is {folder}, outside of this checkout, so the other one has no such folder"
        );
    };
    Ok(layout.with_programs(root.join(programs)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::commands::bench::platform::tests::{BUILT, create, program, variables};

    #[test]
    fn base_has_to_be_a_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let own = Layout::new(Path::new("/own"), None, None);
        let refused = |root: &Path| other(&own, root, PathBuf::from("/state")).unwrap_err().to_string();
        assert!(refused(&folder.path().join("missing")).contains("cannot find"));
        assert!(refused(folder.path()).contains("not the root of a checkout"));
        create(folder.path(), &BUILT);
        let layout = other(&own, folder.path(), PathBuf::from("/state")).unwrap();
        assert_eq!((layout.state(), layout.tools()), (Path::new("/state"), own.tools()));
        assert_eq!(layout.programs(), folder.path().canonicalize().unwrap().join("target/debug"));
        let outside = own.with_programs(PathBuf::from("/elsewhere"));
        assert!(
            other(&outside, folder.path(), PathBuf::new()).unwrap_err().to_string().contains("PITBOSS_BIN")
        );
        let release = own.with_programs(PathBuf::from("/own/target/release"));
        let layout = other(&release, folder.path(), PathBuf::from("/state")).unwrap();
        assert_eq!(layout.programs(), folder.path().canonicalize().unwrap().join("target/release"));
        create(folder.path(), &[".pitboss/tools/kafka"]);
        let layout = other(&own, folder.path(), PathBuf::from("/state")).unwrap();
        assert_eq!(layout.tools(), folder.path().canonicalize().unwrap().join(".pitboss/tools"));
    }

    #[test]
    fn each_platform_has_its_own_build_and_state() {
        let folder = tempfile::tempdir().unwrap();
        let [own, vs] = ["own", "vs"].map(|name| folder.path().join(name));
        create(&own, &BUILT);
        create(&vs, &BUILT);
        fs::write(
            vs.join(".env"),
            "PITBOSS_RECEIVER=none\nPITBOSS_FORWARD_DSN_GAME=https://k@o1.example/2\n",
        )
        .unwrap();
        let [a, b] = both(&Layout::new(&own, None, None), &vs, folder.path()).unwrap();
        assert_eq!((a.side, b.side), (Side::A, Side::B));
        let vs = vs.canonicalize().unwrap();
        assert_eq!(program(&a), vs.join("target/debug/pitboss"));
        assert!(a.layout.state() != b.layout.state() && b.layout.root() == own);
        let [of_a, of_b] = [variables(&a), variables(&b)];
        assert_eq!(Path::new(&of_a["PITBOSS_ROOT"]), vs);
        assert_eq!(Path::new(&of_a["PITBOSS_STATE"]), a.layout.state());
        let receivers = [&of_a, &of_b].map(|variables| variables["PITBOSS_RECEIVER"].as_str());
        assert_eq!(receivers, ["recorder"; 2], "an older build knows no other receiver");
        assert_eq!(of_a["PITBOSS_FORWARD_DSN_GAME"], "", "no copies are sent");
        assert_eq!(of_b["PITBOSS_FLAG_HOOK_URL"], "", "no changes of faults are sent");
    }
}

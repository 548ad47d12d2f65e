//! Starts processes that cannot outlive the process that started them.
//!
//! A part, or a program that fetches or builds, is started through this program a second time (`pitboss exec-part`). That asks
//! the kernel for SIGKILL at its parent's end, checks that the parent still lives, and replaces itself with the part. Process id
//! and output stay the same. Rust could do this between fork and exec only with unsafe code. A watcher process could itself be
//! killed, but the kernel cannot.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

use crate::{PartSpec, RuntimeError};

/// Name of the hidden subcommand that calls [`exec_part`].
pub const EXEC_PART: &str = "exec-part";

/// Returns the command that becomes `program`, bound to the life of this process, as the leader of its own process group.
///
/// Arguments added to it are the program's own. It has to be spawned by a thread that lives as long as the program should.
#[must_use]
pub fn bound(program: impl AsRef<OsStr>) -> Command {
    // The executable of this very process, even if a newer build has replaced the file.
    let mut command = Command::new("/proc/self/exe");
    command.arg(EXEC_PART).arg(std::process::id().to_string()).arg(program).process_group(0);
    command
}

/// Returns the command that runs `spec` with both outputs into `output`, as the leader of its own process group.
pub fn command(spec: &PartSpec, output: std::io::PipeWriter) -> Result<Command, RuntimeError> {
    let duplicate = output.try_clone().map_err(|e| RuntimeError::io("cannot duplicate a pipe", e))?;
    let mut command = bound(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(&spec.env)
        .current_dir(&spec.cwd)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(duplicate);
    Ok(command)
}

/// Replaces this process with the program, bound to the life of the process `parent`. Returns only on failure.
#[must_use]
pub fn exec_part(parent: i32, program: &OsString, args: &[OsString]) -> RuntimeError {
    if let Err(errno) = prctl::set_pdeathsig(Signal::SIGKILL) {
        return RuntimeError::io("cannot bind the process to its parent", errno);
    }
    // The parent may have ended before the request to the kernel.
    if getppid() != Pid::from_raw(parent) {
        return RuntimeError::Refused("the parent process ended before the part was started".to_owned());
    }
    let error = Command::new(program).args(args).exec();
    RuntimeError::io(format!("cannot start {}", program.display()), error)
}

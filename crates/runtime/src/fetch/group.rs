//! Records the running programs that fetch and build, so that the next command can kill those of a killed command.
//!
//! The kernel kills the program itself together with the command that started it (`child`). The program's children continue in
//! its process group. The kernel does not reuse the number of a group that has members, so the members belong to the program.

use std::path::PathBuf;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use procfs::process::all_processes;
use serde::{Deserialize, Serialize};

use crate::layout::write_private_unsynced;
use crate::os_process::ProcessId;
use crate::pids::wait_gone;
use crate::{Layout, RuntimeError};

/// Prefix of the files that record running programs.
const FILE_PREFIX: &str = "fetch-";

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Description of the work.
    what: String,
    /// Command that waits for the program. No other command may kill the program while this one lives.
    owner: ProcessId,
    /// First process of the group.
    leader: ProcessId,
}

/// A running program with everything that it starts. Dropping it before the program has ended kills all of it.
#[derive(Debug)]
pub struct Group {
    /// `None` if the program had ended before it could be recorded.
    leader: Option<ProcessId>,
    record: PathBuf,
    has_ended: bool,
}

impl Group {
    /// Records the group that the child `pid` of this process leads.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn of(layout: &Layout, what: &str, pid: i32) -> Result<Self, RuntimeError> {
        let record = layout.run().join(format!("{FILE_PREFIX}{pid}.json"));
        let leader = ProcessId::of(pid);
        let group = Self { leader: leader.clone(), record, has_ended: false };
        let owner = ProcessId::of(std::process::id().cast_signed());
        // A child that has already ended needs no record.
        if let (Some(owner), Some(leader)) = (owner, leader) {
            let text = serde_json::to_vec(&Record { what: what.to_owned(), owner, leader })
                .map_err(|e| RuntimeError::io("cannot write process ids", std::io::Error::other(e)))?;
            write_private_unsynced(&group.record, &text)?;
        }
        Ok(group)
    }

    /// Records that the program has ended by itself.
    pub(super) fn ended(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.has_ended
            && let Some(leader) = self.leader.as_ref().filter(|leader| has_members(leader))
            && let Err(errno) = killpg(Pid::from_raw(leader.pid), Signal::SIGKILL)
        {
            tracing::debug!("cannot kill a program that has probably just ended: {errno}");
        }
        drop(std::fs::remove_file(&self.record));
    }
}

/// Kills what killed commands left fetching or building, and returns what it was. Programs of living commands are left alone.
pub async fn kill_leftovers(layout: &Layout) -> Result<Vec<String>, RuntimeError> {
    let mut killed = Vec::new();
    for path in records(layout) {
        let record = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Record>(&text).ok());
        if let Some(record) = record {
            if record.owner.is_alive() {
                continue;
            }
            if kill(&record).await? {
                killed.push(record.what);
            }
        }
        drop(std::fs::remove_file(path));
    }
    Ok(killed)
}

fn records(layout: &Layout) -> Vec<PathBuf> {
    let is_record = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(FILE_PREFIX) && path.extension() == Some("json".as_ref())
    };
    let entries = std::fs::read_dir(layout.run()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_record).collect()
}

/// Kills the group. Returns `false` if it had no members.
async fn kill(record: &Record) -> Result<bool, RuntimeError> {
    if !has_members(&record.leader) {
        return Ok(false);
    }
    if let Err(errno) = killpg(Pid::from_raw(record.leader.pid), Signal::SIGKILL) {
        tracing::debug!(what = record.what, "cannot kill a program that has probably just ended: {errno}");
    }
    wait_gone(|| has_members(&record.leader).then(|| record.what.clone())).await?;
    Ok(true)
}

/// Returns `true` if a process of `leader`'s group lives. If another process has the leader's number, the group is another one.
fn has_members(leader: &ProcessId) -> bool {
    let another = ProcessId::of(leader.pid).is_some_and(|now| now != *leader);
    if another || !leader.is_of_this_boot() {
        return false;
    }
    let Ok(mut processes) = all_processes() else { return false };
    processes.any(|process| {
        let stat = process.and_then(|process| process.stat());
        stat.is_ok_and(|stat| {
            stat.pgrp == leader.pid
                && !matches!(stat.state, 'Z' | 'X')
                && stat.starttime >= leader.start_ticks
        })
    })
}

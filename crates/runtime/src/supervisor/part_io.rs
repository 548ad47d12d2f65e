//! Writes a part's output to its bounded log.

use std::io::PipeReader;
use std::os::fd::OwnedFd;
use std::path::Path;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use crate::Layout;
use crate::logfile::{LOG_BYTES_MAX, LogWriter};

/// Copies the pipe into the log until the last writer has closed it. If the disk fails, lines are lost but the pipe is still
/// read, so that no part ever blocks on its log.
pub(super) async fn copy_to_log(reader: PipeReader, path: &Path) {
    let mut receiver = match Receiver::from_owned_fd(OwnedFd::from(reader)) {
        Ok(receiver) => receiver,
        Err(error) => {
            tracing::error!(log = %path.display(), "cannot read a part's output: {error}");
            return;
        }
    };
    let mut log = LogWriter::open(path, LOG_BYTES_MAX);
    let mut buffer = vec![0; 16 << 10];
    let mut lost_bytes: u64 = 0;
    while let Ok(length @ 1..) = receiver.read(&mut buffer).await {
        let bytes = buffer.get(..length).unwrap_or_default();
        let written = match &mut log {
            Ok(log) => log.append(bytes),
            Err(_) => LogWriter::open(path, LOG_BYTES_MAX).and_then(|mut opened| {
                opened.append(bytes)?;
                log = Ok(opened);
                Ok(())
            }),
        };
        if let Err(error) = written {
            if lost_bytes == 0 {
                tracing::error!(log = %path.display(), "cannot write a part's log: {error}");
            }
            lost_bytes = lost_bytes.saturating_add(length as u64);
        }
    }
    if lost_bytes > 0 {
        tracing::error!(log = %path.display(), lost_bytes, "lost a part of a log");
    }
}

/// Adds a line of the supervisor to a part's log.
pub(super) fn log_line(layout: &Layout, part: &str, text: &str) {
    let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let line = format!("--- pitboss {at} {part} {text}\n");
    let written =
        LogWriter::open(&layout.log(part), LOG_BYTES_MAX).and_then(|mut log| log.append(line.as_bytes()));
    if let Err(error) = written {
        tracing::error!(part, "cannot write a part's log: {error}");
    }
}

//! Finds free ports, and the owners of ports in use.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::FDTarget;

use crate::error::PortInUse;
use crate::{RuntimeError, os_process};

/// First port of the range from which [`free_row`] chooses. The kernel gives the ports from 32768 on to any connection.
const ROWS_FROM: u16 = 20_000;
/// Number of rows, and the ports of each.
const ROWS: u32 = 120;
const ROW_PORTS: u16 = 100;
/// Distance between two rows that one process tries. It has no divisor in common with [`ROWS`], so every row is tried.
const ROW_STRIDE: u32 = 37;

/// Returns those of the wanted ports that are in use, with their owners.
#[must_use]
pub fn in_use<'a>(wanted: impl IntoIterator<Item = (&'a str, u16)>) -> Vec<PortInUse> {
    let taken = wanted.into_iter().filter(|(_, port)| !is_free(*port));
    taken.map(|(part, port)| PortInUse { port, part: part.to_owned(), owner: owner(port) }).collect()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Returns the first of `count` free ports in a row (at most 100). A process gets the same ones again only after all others.
///
/// For servers that bind their ports later: the kernel gives no connection these ports in the meantime, as it does with the ports
/// that it chooses itself.
///
/// # Errors
/// When a port of every row is in use.
pub fn free_row(count: u16) -> Result<u16, RuntimeError> {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    for _ in 0..ROWS {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed) % ROWS;
        // Test programs run at the same time, and neighbours have consecutive ids.
        let row = (std::process::id() % ROWS + tried * ROW_STRIDE) % ROWS;
        let row = u16::try_from(row).unwrap_or_default();
        let base = ROWS_FROM.saturating_add(row.saturating_mul(ROW_PORTS));
        if (base..base.saturating_add(count.min(ROW_PORTS))).all(is_free) {
            return Ok(base);
        }
    }
    let range = format!("{ROWS_FROM} and {}", u32::from(ROWS_FROM) + ROWS * u32::from(ROW_PORTS));
    Err(RuntimeError::Refused(format!("no {count} free ports in a row between {range}")))
}

/// Process that listens on the port.
#[must_use]
pub fn owner(port: u16) -> Option<(i32, String)> {
    let entries = [procfs::net::tcp().unwrap_or_default(), procfs::net::tcp6().unwrap_or_default()].concat();
    let inode = listening_inode(&entries, port)?;
    let holds = |p: &procfs::process::Process| {
        let descriptors = p.fd().into_iter().flatten().flatten();
        descriptors.into_iter().any(|fd| matches!(fd.target, FDTarget::Socket(i) if i == inode))
    };
    let process = procfs::process::all_processes().ok()?.flatten().find(holds)?;
    Some((process.pid, os_process::command_line(process.pid).unwrap_or_default()))
}

fn listening_inode(entries: &[TcpNetEntry], port: u16) -> Option<u64> {
    entries.iter().find(|e| e.state == TcpState::Listen && e.local_address.port() == port).map(|e| e.inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_in_use_names_its_owner() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let free_port = free_row(1).unwrap();
        let found = in_use([("kafka", port), ("mongo", free_port)]);
        assert_eq!(found.len(), 1);
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(found[0].owner.as_ref().map(|(pid, _)| *pid), Some(own));
        let text = found[0].to_string();
        assert!(
            text.starts_with(&format!("port {port} (needed by kafka) is in use by process {own}: ")),
            "{text}"
        );
    }

    #[test]
    fn connection_is_not_a_listener() {
        use procfs::FromReadSI;
        // local 127.0.0.1:8120 established (01), local 127.0.0.1:8122 listening (0A)
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1FB8 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 777 1 0000000000000000\n   \
            1: 0100007F:1FBA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 888 1 0000000000000000\n";
        let entries =
            procfs::net::TcpNetEntries::from_read(table.as_bytes(), procfs::current_system_info()).unwrap().0;
        assert_eq!(listening_inode(&entries, 8120), None);
        assert_eq!(listening_inode(&entries, 8122), Some(888));
    }

    #[test]
    fn free_rows_differ_and_are_not_given_to_connections() {
        let rows: Vec<u16> = (0..3).map(|_| free_row(10).unwrap()).collect();
        for (n, base) in rows.iter().enumerate() {
            assert!((20_000..32_000).contains(base) && !rows[..n].contains(base), "{rows:?}");
            assert!((*base..base + 10).all(is_free), "{rows:?}");
        }
    }
}

//! Threads of the process on an event about a panic: their names, and which one panicked.

use std::fs;

use nix::unistd::gettid;
use sentry::protocol::{Event, Thread, ThreadId};

/// Largest number of threads that an event lists.
const THREADS_MAX: usize = 64;

/// Adds the threads of this process, and links the exception to the thread that panicked, which is the current one.
pub(crate) fn add(event: &mut Event<'static>) {
    let own_id = u64::try_from(gettid().as_raw()).unwrap_or_default();
    let own_name = std::thread::current().name().map(str::to_owned);
    let own = Thread {
        id: Some(ThreadId::Int(own_id)),
        name: own_name.or_else(|| kernel_name(own_id)),
        crashed: true,
        current: true,
        ..Default::default()
    };
    let others = ids().filter(|id| *id != own_id).take(THREADS_MAX - 1);
    let others =
        others.map(|id| Thread { id: Some(ThreadId::Int(id)), name: kernel_name(id), ..Default::default() });
    event.threads.values = std::iter::once(own).chain(others).collect();
    if let Some(exception) = event.exception.values.last_mut() {
        exception.thread_id = Some(ThreadId::Int(own_id));
    }
}

/// Ids of the threads that exist now. There are none where `/proc` cannot be read.
fn ids() -> impl Iterator<Item = u64> {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The name that the kernel has for a thread: at most 15 bytes.
fn kernel_name(id: u64) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use sentry::protocol::Exception;

    use super::*;

    #[test]
    fn panicked_thread_comes_first_and_others_follow() {
        let (stop, stopped) = std::sync::mpsc::sync_channel::<()>(0);
        let (begun, begins) = std::sync::mpsc::sync_channel::<()>(0);
        let waits = move || {
            begun.send(()).unwrap();
            stopped.recv().unwrap_err();
        };
        let other = std::thread::Builder::new().name("another".to_owned()).spawn(waits).unwrap();
        // Only then the kernel knows its name
        begins.recv().unwrap();
        let adds = || {
            let mut event = Event { exception: vec![Exception::default()].into(), ..Default::default() };
            add(&mut event);
            event
        };
        let panicked = std::thread::Builder::new().name("a name of its own".to_owned()).spawn(adds).unwrap();
        let event = panicked.join().unwrap();
        drop(stop);
        other.join().unwrap();
        let threads = &event.threads.values;
        assert_eq!(threads[0].name.as_deref(), Some("a name of its own"));
        assert_eq!(threads[0].id, event.exception.values[0].thread_id);
        assert!(threads[0].crashed && threads[0].current);
        assert!(threads.len() <= THREADS_MAX);
        assert!(threads[1..].iter().all(|thread| !thread.crashed && !thread.current));
        assert!(threads[1..].iter().any(|thread| thread.name.as_deref() == Some("another")), "{threads:?}");
    }
}

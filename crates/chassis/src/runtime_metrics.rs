//! Figures of the process and of its async runtime, at an interval: workers, tasks, shared queue, memory and CPU time.
//!
//! Only those figures of tokio are read that it promises to keep. The others need a build flag for all crates.

use std::{fs, time::Duration};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};
use telemetry::metric::{self, Metric};
use tokio::{
    runtime::{Handle, RuntimeMetrics},
    time::{MissedTickBehavior, interval},
};

/// Interval between two readings.
const INTERVAL: Duration = Duration::from_secs(10);
/// Memory of the process, in the form of Linux. Elsewhere there is no figure of the memory.
const STATUS: &str = "/proc/self/status";

/// Reports at every interval. It never ends by itself.
pub(crate) async fn run() {
    let runtime = Handle::current().metrics();
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counted_ms = 0;
    loop {
        ticks.tick().await;
        counted_ms = report(&runtime, counted_ms);
    }
}

/// Reports once. Returns the CPU time that is counted by then.
fn report(runtime: &RuntimeMetrics, counted_ms: u64) -> u64 {
    metric::gauge(Metric::RuntimeWorkers, runtime.num_workers() as f64, &[]);
    metric::gauge(Metric::RuntimeTasksAlive, runtime.num_alive_tasks() as f64, &[]);
    metric::gauge(Metric::RuntimeQueueDepth, runtime.global_queue_depth() as f64, &[]);
    if let Some(bytes) = fs::read_to_string(STATUS).ok().as_deref().and_then(resident_bytes) {
        metric::gauge(Metric::ProcessMemory, bytes as f64, &[]);
    }
    let Some(total_ms) = cpu_ms() else { return counted_ms };
    metric::count(Metric::ProcessCpuTime, total_ms.saturating_sub(counted_ms), &[]);
    total_ms
}

/// Memory that is in RAM, from the kernel's description of a process.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

/// CPU time of all threads since the start of the process.
fn cpu_ms() -> Option<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let ms = |time: TimeVal| u64::try_from(time.num_milliseconds()).ok();
    ms(usage.user_time())?.checked_add(ms(usage.system_time())?)
}

#[cfg(test)]
mod tests {
    use testkit::metrics::counted;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn figures_of_runtime_and_process_are_reported() {
        let waiting: Vec<_> = (0..5).map(|_| telemetry::spawn(std::future::pending::<()>())).collect();
        let runtime = Handle::current().metrics();
        // Any work takes some CPU time, and the loop ends as soon as it has.
        let before_ms = cpu_ms().expect("a time");
        while cpu_ms().expect("a time") < before_ms + 2 {}
        let first_ms = report(&runtime, 0);
        assert!(first_ms >= before_ms + 2);
        assert_eq!(counted("pitboss_process_cpu_time_milliseconds_total", &[]), first_ms as f64);
        let second_ms = report(&runtime, first_ms);
        assert_eq!(counted("pitboss_process_cpu_time_milliseconds_total", &[]), second_ms as f64);
        assert_eq!(counted("pitboss_runtime_workers", &[]), 2.0);
        assert!(counted("pitboss_runtime_tasks_alive", &[]) >= 5.0);
        assert!(counted("pitboss_process_memory_resident_bytes", &[]) > 1_048_576.0);
        waiting.into_iter().for_each(|task| task.abort());
    }

    #[test]
    fn memory_is_read_from_the_description() {
        let status = "Name:\tgame\nVmHWM:\t   90000 kB\nVmRSS:\t   12345 kB\nThreads:\t4\n";
        assert_eq!(resident_bytes(status), Some(12_345 * 1_024));
        for other in ["", "VmRSS:\tmany kB", "VmRSS:\t12", "VmRSS:\t99999999999999999999 kB"] {
            assert_eq!(resident_bytes(other), None, "{other}");
        }
    }
}

//! Figures of the process and of its async runtime, at an interval: workers, tasks, shared queue, memory and CPU time.
//!
//! Only those figures of tokio are read that it promises to keep. The others need a build flag for all crates.

use std::time::Duration;

use telemetry::{
    cpu_time_ms,
    metric::{self, Metric},
    resident_bytes,
};
use tokio::{
    runtime::{Handle, RuntimeMetrics},
    time::{MissedTickBehavior, interval},
};

/// Interval between two readings.
const INTERVAL: Duration = Duration::from_secs(10);

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
    if let Some(bytes) = resident_bytes() {
        metric::gauge(Metric::ProcessMemory, bytes as f64, &[]);
    }
    let Some(total_ms) = cpu_time_ms() else { return counted_ms };
    metric::count(Metric::ProcessCpuTime, total_ms.saturating_sub(counted_ms), &[]);
    total_ms
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
        let before_ms = cpu_time_ms().expect("a time");
        while cpu_time_ms().expect("a time") < before_ms + 2 {}
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
}

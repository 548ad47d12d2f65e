//! The page with the figures of each service's process and async runtime.

use super::{
    Problem, Query, Response, Service, State, Template, UrlQuery, View, WindowParams, bytes, dashboard,
    optional, percent,
};
use crate::query::dashboards::runtime::{self, Runtime, ServiceRuntime};

struct RuntimeLine {
    service: Service,
    workers: String,
    tasks: String,
    tasks_max: String,
    queue: String,
    queue_max: String,
    memory: String,
    memory_max: String,
    cpu: String,
}

#[derive(Template)]
#[template(path = "runtime.html")]
struct RuntimePage {
    view: View,
    services: Vec<RuntimeLine>,
}

impl RuntimePage {
    fn new(query: &Query, params: &WindowParams, found: Runtime) -> Self {
        let count = |value: Option<f64>| optional(value, |value| format!("{value:.0}"));
        let line = |row: ServiceRuntime| RuntimeLine {
            service: Service::new(&query.projects, &row.project),
            workers: count(row.workers),
            tasks: count(row.tasks_alive.last),
            tasks_max: count(row.tasks_alive.max),
            queue: count(row.queue_depth.last),
            queue_max: count(row.queue_depth.max),
            memory: optional(row.memory_bytes.last, bytes),
            memory_max: optional(row.memory_bytes.max, bytes),
            cpu: optional(row.cpu_share, percent),
        };
        Self {
            view: View::new(query, "runtime", params, found.scanned, 0),
            services: found.services.into_iter().map(line).collect(),
        }
    }
}

/// `GET /dashboards/runtime?period_s=&project=`
pub(in crate::pages) async fn page(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<WindowParams>,
) -> Result<Response, Problem> {
    dashboard(&query, params, runtime::compute, RuntimePage::new).await
}

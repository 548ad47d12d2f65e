//! Pages with the figures of Sentry's dashboards for queues, queries and caches, and with those of the services' runtimes.

pub(super) mod runtime;

use askama::Template;
use axum::{extract::State, response::Response};
use chassis::problem::Problem;

use super::{
    HTML,
    format::{Service, bytes, duration_ms, optional, percent, rate},
    set_security_headers,
};
use crate::query::{
    dashboards::{caches, flow::GroupFlow, queries, queues},
    lines::{WriteError, stream},
    params::{UrlQueries, UrlQuery},
    scan::{Scanned, Window, WindowParams, window},
    state::Query,
};

/// Period of a page that names none.
const PERIOD_S: u64 = 60 * 60;
/// Periods that a page offers.
const PERIODS: [(u64, &str); 4] =
    [(15 * 60, "15 min"), (PERIOD_S, "1 h"), (24 * 60 * 60, "24 h"), (14 * 24 * 60 * 60, "14 d")];
/// The dashboards by their path.
const TABS: [(&str, &str); 4] =
    [("queues", "Queues"), ("queries", "Queries"), ("caches", "Caches"), ("runtime", "Runtime")];
/// Shown for spans without a value, as Sentry does.
const NO_VALUE: &str = "(no value)";

/// A link of a page's filter.
struct Link {
    label: String,
    href: String,
    is_on: bool,
}

/// Heading and filters of a dashboard.
struct View {
    title: &'static str,
    tabs: Vec<Link>,
    periods: Vec<Link>,
    services: Vec<(Service, Link)>,
    json: String,
    envelopes: u64,
    truncated: bool,
    left_out: u64,
}

impl View {
    fn new(
        query: &Query,
        path: &'static str,
        params: &WindowParams,
        scanned: Scanned,
        left_out: u64,
    ) -> Self {
        let period_s = params.period_s();
        let href = |path: &str, period_s: Option<u64>, project: &str| {
            let period = period_s.map(|period_s| format!("period_s={period_s}"));
            let project = (!project.is_empty()).then(|| format!("project={project}"));
            let parameters: Vec<String> = period.into_iter().chain(project).collect();
            format!("{path}?{}", parameters.join("&"))
        };
        let here = format!("/dashboards/{path}");
        let tab = |(name, label): (&str, &str)| Link {
            label: label.to_owned(),
            href: href(&format!("/dashboards/{name}"), period_s, params.project()),
            is_on: name == path,
        };
        let period = |(seconds, label): (u64, &str)| Link {
            label: label.to_owned(),
            href: href(&here, Some(seconds), params.project()),
            is_on: period_s == Some(seconds),
        };
        let mut known: Vec<_> = query.projects.all().collect();
        known.sort_by_key(|project| project.id);
        let services = known.into_iter().map(|project| {
            let is_on = project.name == params.project();
            let chosen = if is_on { "" } else { project.name.as_str() };
            let link = Link { label: project.name.clone(), href: href(&here, period_s, chosen), is_on };
            (Service::new(&query.projects, &project.name), link)
        });
        Self {
            title: TABS.into_iter().find(|(name, _)| *name == path).map_or("", |(_, label)| label),
            tabs: TABS.into_iter().map(tab).collect(),
            periods: PERIODS.into_iter().map(period).collect(),
            services: services.collect(),
            json: href(&format!("/api/v1{here}"), period_s, params.project()),
            envelopes: scanned.envelopes,
            truncated: scanned.truncated,
            left_out,
        }
    }
}

/// One row of figures, formatted.
struct QueueLine {
    name: String,
    in_queue: String,
    processing: String,
    error_rate: String,
    has_errors: bool,
    published: u64,
    processed: u64,
    time_spent: String,
    rate: String,
}

impl QueueLine {
    fn new(name: Option<String>, figures: &queues::QueueFigures) -> Self {
        Self {
            name: name.unwrap_or_else(|| NO_VALUE.to_owned()),
            in_queue: optional(figures.avg_time_in_queue_ms, duration_ms),
            processing: optional(figures.avg_processing_ms, duration_ms),
            error_rate: optional(figures.error_rate, percent),
            has_errors: figures.error_rate.is_some_and(|rate| rate > 0.0),
            published: figures.published,
            processed: figures.processed,
            time_spent: duration_ms(figures.time_spent_ms),
            rate: rate(figures.per_minute),
        }
    }
}

/// Flow of one topic through one group.
struct FlowLine {
    destination: String,
    acknowledged: u64,
    group: GroupFlow,
}

#[derive(Template)]
#[template(path = "queues.html")]
struct QueuesPage {
    view: View,
    total: QueueLine,
    destinations: Vec<QueueLine>,
    consumers: Vec<QueueLine>,
    producers: Vec<QueueLine>,
    flows: Vec<FlowLine>,
    flow_exact: bool,
    incomplete: u64,
}

impl QueuesPage {
    fn new(query: &Query, params: &WindowParams, found: queues::Queues) -> Self {
        let view = View::new(query, "queues", params, found.scanned, found.spans_left_out);
        let transaction = |row: queues::TransactionRow| QueueLine::new(row.transaction, &row.figures);
        let (mut destinations, mut flows) = (Vec::new(), Vec::new());
        for row in found.destinations {
            for group in row.flow.groups {
                flows.push(FlowLine {
                    destination: row.destination.clone().unwrap_or_default(),
                    acknowledged: row.flow.acknowledged,
                    group,
                });
            }
            destinations.push(QueueLine::new(row.destination, &row.figures));
        }
        Self {
            view,
            total: QueueLine::new(None, &found.total),
            destinations,
            consumers: found.consumers.into_iter().map(transaction).collect(),
            producers: found.producers.into_iter().map(transaction).collect(),
            flows,
            flow_exact: found.flow_exact,
            incomplete: found.spans_incomplete,
        }
    }
}

/// `GET /dashboards/queues?period_s=&project=`
pub(super) async fn queues_page(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<WindowParams>,
) -> Result<Response, Problem> {
    dashboard(&query, params, queues::compute, QueuesPage::new).await
}

struct QueryLine {
    description: String,
    system: String,
    services: Vec<Service>,
    rate: String,
    count: u64,
    avg: String,
    p95: String,
    time_spent: String,
}

#[derive(Template)]
#[template(path = "queries.html")]
struct QueriesPage {
    view: View,
    total: queries::QueryFigures,
    rate: String,
    avg: String,
    p95: String,
    queries: Vec<QueryLine>,
    without_description: u64,
}

impl QueriesPage {
    fn new(query: &Query, params: &WindowParams, found: queries::Queries) -> Self {
        let line = |row: queries::QueryRow| QueryLine {
            description: row.description,
            system: [row.facts.system, row.facts.action, row.facts.domain]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" · "),
            services: row.projects.iter().map(|name| Service::new(&query.projects, name)).collect(),
            rate: rate(row.figures.per_minute),
            count: row.figures.count,
            avg: optional(row.figures.avg_ms, duration_ms),
            p95: optional(row.figures.p95_ms, duration_ms),
            time_spent: duration_ms(row.figures.time_spent_ms),
        };
        Self {
            view: View::new(query, "queries", params, found.scanned, found.spans_left_out),
            rate: rate(found.total.per_minute),
            avg: optional(found.total.avg_ms, duration_ms),
            p95: optional(found.total.p95_ms, duration_ms),
            total: found.total,
            queries: found.queries.into_iter().map(line).collect(),
            without_description: found.spans_without_description,
        }
    }
}

/// `GET /dashboards/queries?period_s=&project=&system=&action=&domain=`
pub(super) async fn queries_page(
    State(query): State<Query>,
    UrlQueries(params, filter): UrlQueries<WindowParams, queries::Filter>,
) -> Result<Response, Problem> {
    let compute = move |query: &Query, window: Window| queries::compute(query, window, &filter);
    dashboard(&query, params, compute, QueriesPage::new).await
}

struct CacheLine {
    transaction: String,
    service: Service,
    size: String,
    rate: String,
    miss_rate: String,
    reads: u64,
    time_spent: String,
}

#[derive(Template)]
#[template(path = "caches.html")]
struct CachesPage {
    view: View,
    reads: u64,
    miss_rate: String,
    rate: String,
    transactions: Vec<CacheLine>,
}

impl CachesPage {
    fn new(query: &Query, params: &WindowParams, found: caches::Caches) -> Self {
        let line = |row: caches::CacheRow| CacheLine {
            transaction: row.transaction.unwrap_or_else(|| NO_VALUE.to_owned()),
            service: Service::new(&query.projects, &row.project),
            size: optional(row.figures.avg_item_size_bytes, bytes),
            rate: rate(row.figures.per_minute),
            miss_rate: optional(row.figures.miss_rate, percent),
            reads: row.figures.reads,
            time_spent: duration_ms(row.figures.time_spent_ms),
        };
        Self {
            view: View::new(query, "caches", params, found.scanned, found.spans_left_out),
            reads: found.total.reads,
            miss_rate: optional(found.total.miss_rate, percent),
            rate: rate(found.total.per_minute),
            transactions: found.transactions.into_iter().map(line).collect(),
        }
    }
}

/// `GET /dashboards/caches?period_s=&project=`
pub(super) async fn caches_page(
    State(query): State<Query>,
    UrlQuery(params): UrlQuery<WindowParams>,
) -> Result<Response, Problem> {
    dashboard(&query, params, caches::compute, CachesPage::new).await
}

/// Computes the figures of a dashboard and streams its page.
async fn dashboard<T, P>(
    query: &Query,
    params: WindowParams,
    compute: impl FnOnce(&Query, Window) -> Result<T, WriteError> + Send + 'static,
    page: fn(&Query, &WindowParams, T) -> P,
) -> Result<Response, Problem>
where
    T: 'static,
    P: Template + 'static,
{
    let params = params.or_period_s(PERIOD_S);
    let window = window(query, &params)?;
    let mut response = stream(query, HTML, move |query, out| {
        Template::write_into(&page(query, &params, compute(query, window)?), out)?;
        Ok(())
    })
    .await?;
    set_security_headers(response.headers_mut());
    Ok(response)
}

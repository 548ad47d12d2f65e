//! A small Sentry on this machine, as its source describes it.
//!
//! It drops what it does not know without an error, returns lists in pages, limits the rate of requests, and puts some members
//! elsewhere in its answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

pub(crate) const TOKEN: &str = "sntrys_not-a-real-token";
pub(crate) const ORGANIZATION: &str = "acme";
/// Objects on a page. There are more of each kind.
const PAGE: usize = 3;
/// Every so many requests one is refused because of its rate.
const LIMITED_EVERY: usize = 5;
/// Frequencies of alerts that are accepted.
const FREQUENCIES: [u64; 8] = [0, 5, 10, 30, 60, 180, 720, 1_440];

/// What it has, and how it behaves.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) projects: Vec<Value>,
    pub(crate) monitors: Vec<Value>,
    pub(crate) detectors: Vec<Value>,
    pub(crate) workflows: Vec<Value>,
    pub(crate) dashboards: Vec<Value>,
    /// Requests that changed something, as `POST /path`.
    pub(crate) writes: Vec<String>,
    /// Requests that were refused because of their rate.
    pub(crate) limited: usize,
    /// Member of an alert in which it looks for the monitors.
    pub(crate) detectors_member: &'static str,
    /// Seconds in the header of a limited request.
    pub(crate) retry_after_s: u32,
    /// Address to which it redirects every request.
    pub(crate) moved_to: Option<String>,
    /// Requests that arrived.
    pub(crate) requests: usize,
    last_id: u64,
}

/// A running stand-in. It ends with the runtime of the test.
#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    store: Arc<Mutex<Store>>,
    pub(crate) url: String,
}

/// Status and body of an answer.
type Answer = Result<(StatusCode, Value), (StatusCode, Value)>;

impl StandIn {
    /// Starts it at a free port.
    pub(crate) async fn start() -> Self {
        let store = Store {
            projects: Vec::new(),
            monitors: Vec::new(),
            detectors: Vec::new(),
            workflows: Vec::new(),
            dashboards: Vec::new(),
            writes: Vec::new(),
            limited: 0,
            detectors_member: "detectorIds",
            retry_after_s: 0,
            moved_to: None,
            requests: 0,
            last_id: 1_000,
        };
        let store = Arc::new(Mutex::new(store));
        let routes = Router::new().fallback(handle).with_state(Arc::clone(&store));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        drop(telemetry::spawn(async move { axum::serve(listener, routes).await }));
        Self { store, url }
    }

    /// What it has.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn handle(
    State(store): State<Arc<Mutex<Store>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    store.requests += 1;
    if let Some(address) = &store.moved_to {
        let location = format!("{address}{}", uri.path());
        return (StatusCode::FOUND, [(header::LOCATION, location)], "moved").into_response();
    }
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if token != Some(format!("Bearer {TOKEN}").as_str()) {
        return (StatusCode::UNAUTHORIZED, json!({ "detail": "Invalid token" }).to_string()).into_response();
    }
    if store.requests.is_multiple_of(LIMITED_EVERY) {
        store.limited += 1;
        let wait = [(header::RETRY_AFTER, store.retry_after_s.to_string())];
        return (StatusCode::TOO_MANY_REQUESTS, wait, "{}").into_response();
    }
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let ["api", "0", path @ ..] = path.as_slice() else { return StatusCode::NOT_FOUND.into_response() };
    if method == Method::GET {
        return store.read(path, uri.query().unwrap_or_default());
    }
    store.writes.push(format!("{method} {}", uri.path()));
    let sent: Value = serde_json::from_slice(&body).expect("JSON");
    let (status, answer) = match store.write(&method, path, &sent) {
        Ok(answer) | Err(answer) => answer,
    };
    (status, answer.to_string()).into_response()
}

impl Store {
    fn read(&self, path: &[&str], query: &str) -> Response {
        let found = match *path {
            ["organizations", ORGANIZATION, "projects"] => {
                return page(&without(&self.projects, "fingerprintingRules"), query);
            }
            ["organizations", ORGANIZATION, "monitors"] => return page(&self.monitors, query),
            ["organizations", ORGANIZATION, "detectors"] => {
                assert!(query.contains("project=-1"), "only the projects of the token's owner: {query}");
                return page(&self.detectors, query);
            }
            ["organizations", ORGANIZATION, "workflows"] => return page(&self.workflows, query),
            ["organizations", ORGANIZATION, "dashboards"] => {
                return page(&without(&self.dashboards, "widgets"), query);
            }
            ["projects", ORGANIZATION, slug] => find(&self.projects, "slug", slug),
            ["organizations", ORGANIZATION, "monitors", slug] => find(&self.monitors, "slug", slug),
            ["organizations", ORGANIZATION, "detectors", id] => find(&self.detectors, "id", id),
            ["organizations", ORGANIZATION, "workflows", id] => find(&self.workflows, "id", id),
            ["organizations", ORGANIZATION, "dashboards", id] => find(&self.dashboards, "id", id),
            _ => None,
        };
        match found {
            Some(index) => (StatusCode::OK, self.object(path, index).to_string()).into_response(),
            None => (StatusCode::NOT_FOUND, json!({ "detail": "not found" }).to_string()).into_response(),
        }
    }

    fn object(&self, path: &[&str], index: usize) -> &Value {
        match path {
            ["projects", ..] => &self.projects[index],
            [_, _, "monitors", _] => &self.monitors[index],
            [_, _, "detectors", _] => &self.detectors[index],
            [_, _, "workflows", _] => &self.workflows[index],
            _ => &self.dashboards[index],
        }
    }

    fn write(&mut self, method: &Method, path: &[&str], sent: &Value) -> Answer {
        let is_new = method == Method::POST;
        match *path {
            ["teams", ORGANIZATION, "pitboss", "projects"] if is_new => self.new_project(sent),
            ["projects", ORGANIZATION, slug] if !is_new => {
                let index = find(&self.projects, "slug", slug).ok_or_else(not_found)?;
                let rules = sent["fingerprintingRules"].as_str().unwrap_or_default().trim().to_owned();
                let mut stored = known(sent, &["name", "slug", "platform"]);
                stored.insert("fingerprintingRules".to_owned(), rules.into());
                stored.insert("id".to_owned(), self.projects[index]["id"].clone());
                self.projects[index] = Value::Object(stored);
                Ok((StatusCode::OK, self.projects[index].clone()))
            }
            ["organizations", ORGANIZATION, "monitors"] if is_new => self.monitor(sent, None),
            ["organizations", ORGANIZATION, "monitors", slug] if !is_new => {
                let index = find(&self.monitors, "slug", slug).ok_or_else(not_found)?;
                self.monitor(sent, Some(index))
            }
            ["organizations", ORGANIZATION, "projects", slug, "detectors"] if is_new => {
                let project = find(&self.projects, "slug", slug).ok_or_else(not_found)?;
                let id = self.next_id();
                let stored = detector(sent, &id, &self.projects[project]["id"])?;
                self.detectors.push(stored.clone());
                Ok((StatusCode::CREATED, stored))
            }
            ["organizations", ORGANIZATION, "detectors", id] if !is_new => {
                let index = find(&self.detectors, "id", id).ok_or_else(not_found)?;
                let stored = detector(sent, id, &self.detectors[index]["projectId"])?;
                self.detectors[index] = stored.clone();
                Ok((StatusCode::OK, stored))
            }
            ["organizations", ORGANIZATION, "workflows"] if is_new => self.workflow(sent, None),
            ["organizations", ORGANIZATION, "workflows", id] if !is_new => {
                let index = find(&self.workflows, "id", id).ok_or_else(not_found)?;
                self.workflow(sent, Some(index))
            }
            ["organizations", ORGANIZATION, "dashboards"] if is_new => self.dashboard(sent, None),
            ["organizations", ORGANIZATION, "dashboards", id] if !is_new => {
                let index = find(&self.dashboards, "id", id).ok_or_else(not_found)?;
                self.dashboard(sent, Some(index))
            }
            _ => Err(not_found()),
        }
    }

    fn next_id(&mut self) -> String {
        self.last_id += 1;
        self.last_id.to_string()
    }

    fn new_project(&mut self, sent: &Value) -> Answer {
        if find(&self.projects, "slug", sent["slug"].as_str().unwrap_or_default()).is_some() {
            return Err((StatusCode::CONFLICT, json!({ "detail": "the slug is taken" })));
        }
        let mut stored = known(sent, &["name", "slug", "platform"]);
        stored.insert("id".to_owned(), self.next_id().into());
        stored.insert("fingerprintingRules".to_owned(), "".into());
        let stored = Value::Object(stored);
        self.projects.push(stored.clone());
        Ok((StatusCode::CREATED, stored))
    }

    /// A monitor of check-ins also becomes a monitor of the other kind, with an id of its own.
    fn monitor(&mut self, sent: &Value, index: Option<usize>) -> Answer {
        let slug = sent["project"].as_str().unwrap_or_default();
        let project = find(&self.projects, "slug", slug).ok_or_else(|| bad("project", "Invalid project"))?;
        let project = self.projects[project].clone();
        let mut stored = known(sent, &["name", "slug", "status"]);
        let fields = [
            "schedule_type",
            "schedule",
            "checkin_margin",
            "max_runtime",
            "timezone",
            "failure_issue_threshold",
            "recovery_threshold",
        ];
        stored.insert("config".to_owned(), Value::Object(known(&sent["config"], &fields)));
        stored.insert("project".to_owned(), json!({ "id": project["id"], "slug": slug }));
        match index {
            Some(index) => {
                stored.insert("id".to_owned(), self.monitors[index]["id"].clone());
                self.monitors[index] = Value::Object(stored);
                Ok((StatusCode::OK, self.monitors[index].clone()))
            }
            None => {
                stored.insert("id".to_owned(), self.next_id().into());
                let id = self.next_id();
                self.detectors.push(json!({
                    "id": id, "type": "monitor_check_in_failure", "name": sent["name"], "projectId": project["id"],
                    "dataSources": [{ "type": "cron_monitor", "queryObj": { "slug": sent["slug"] } }],
                }));
                let stored = Value::Object(stored);
                self.monitors.push(stored.clone());
                Ok((StatusCode::CREATED, stored))
            }
        }
    }

    fn workflow(&mut self, sent: &Value, index: Option<usize>) -> Answer {
        let frequency = sent["config"]["frequency"].as_u64();
        if !frequency.is_some_and(|minutes| FREQUENCIES.contains(&minutes)) {
            return Err(bad("config", "Invalid frequency"));
        }
        let ids = sent[self.detectors_member].as_array().cloned().unwrap_or_default();
        for id in &ids {
            find(&self.detectors, "id", id.as_str().unwrap_or_default())
                .ok_or_else(|| bad("detectorIds", "Some detectors do not exist"))?;
        }
        let mut stored = known(sent, &["name", "enabled", "environment", "config"]);
        stored.insert("detectorIds".to_owned(), Value::Array(ids));
        stored.insert("triggers".to_owned(), self.group(&sent["triggers"]));
        let filters = sent["actionFilters"].as_array().cloned().unwrap_or_default();
        let filters: Vec<Value> = filters.iter().map(|filter| self.group(filter)).collect();
        stored.insert("actionFilters".to_owned(), filters.into());
        self.put(Collection::Workflows, stored, index)
    }

    /// A group of conditions with ids.
    fn group(&mut self, sent: &Value) -> Value {
        let id = self.next_id();
        let conditions = sent["conditions"].as_array().cloned().unwrap_or_default();
        let mut conditions: Vec<Value> =
            conditions.iter().map(|condition| self.condition(condition)).collect();
        conditions.reverse();
        let actions = sent["actions"].as_array().cloned().unwrap_or_default();
        let fields = ["type", "integrationId", "data", "config", "status"];
        let actions: Vec<Value> =
            actions.iter().map(|action| Value::Object(known(action, &fields))).collect();
        json!({ "id": id, "logicType": sent["logicType"], "conditions": conditions, "actions": actions })
    }

    fn condition(&mut self, sent: &Value) -> Value {
        let mut stored = known(sent, &["type", "comparison", "conditionResult"]);
        stored.insert("id".to_owned(), self.next_id().into());
        Value::Object(stored)
    }

    fn dashboard(&mut self, sent: &Value, index: Option<usize>) -> Answer {
        let mut stored = known(sent, &["title"]);
        let mut widgets = Vec::new();
        for widget in sent["widgets"].as_array().into_iter().flatten() {
            let layout = &widget["layout"];
            let right = layout["x"].as_u64().zip(layout["w"].as_u64()).map(|(x, w)| x + w);
            if right.is_none_or(|right| right > 6) {
                return Err(bad("widgets", "Invalid layout"));
            }
            let fields = [
                "title",
                "description",
                "displayType",
                "widgetType",
                "interval",
                "limit",
                "layout",
                "queries",
            ];
            widgets.push(Value::Object(known(widget, &fields)));
        }
        stored.insert("widgets".to_owned(), widgets.into());
        self.put(Collection::Dashboards, stored, index)
    }

    fn put(
        &mut self,
        collection: Collection,
        mut stored: Map<String, Value>,
        index: Option<usize>,
    ) -> Answer {
        let id = self.next_id();
        let all = match collection {
            Collection::Workflows => &mut self.workflows,
            Collection::Dashboards => &mut self.dashboards,
        };
        match index {
            Some(index) => {
                stored.insert("id".to_owned(), all[index]["id"].clone());
                all[index] = Value::Object(stored);
                Ok((StatusCode::OK, all[index].clone()))
            }
            None => {
                stored.insert("id".to_owned(), id.into());
                all.push(Value::Object(stored.clone()));
                Ok((StatusCode::CREATED, Value::Object(stored)))
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Collection {
    Workflows,
    Dashboards,
}

/// A stored monitor of a metric, or why it is refused.
fn detector(sent: &Value, id: &str, project: &Value) -> Result<Value, (StatusCode, Value)> {
    let name = sent["name"].as_str().unwrap_or_default();
    if name.is_empty() || name.chars().count() > 200 || sent["type"] != "metric_issue" {
        return Err(bad("name", "Invalid name or type"));
    }
    let conditions = sent["conditionGroup"]["conditions"].as_array().cloned().unwrap_or_default();
    if !conditions.iter().any(|condition| condition["conditionResult"] == 0) {
        return Err(bad("conditionGroup", "Resolution condition required for metric issue detector."));
    }
    let source = &sent["dataSources"][0];
    if source["eventTypes"].as_array().is_none_or(|types| types.len() != 1) {
        return Err(bad("dataSources", "Multiple event types not allowed"));
    }
    let query = known(source, &["dataset", "query", "aggregate", "timeWindow", "environment", "eventTypes"]);
    let fields = ["type", "comparison", "conditionResult"];
    let conditions: Vec<Value> =
        conditions.iter().rev().map(|condition| Value::Object(known(condition, &fields))).collect();
    let mut stored = known(sent, &["name", "type", "description", "enabled", "config"]);
    stored.insert("id".to_owned(), id.into());
    stored.insert("projectId".to_owned(), project.clone());
    stored.insert("dataSources".to_owned(), json!([{ "id": "1", "queryObj": { "snubaQuery": query } }]));
    stored.insert(
        "conditionGroup".to_owned(),
        json!({ "id": "2", "logicType": "any", "conditions": conditions }),
    );
    Ok(Value::Object(stored))
}

/// The members that it knows. All others are dropped.
fn known(sent: &Value, names: &[&str]) -> Map<String, Value> {
    let member = |name: &&str| Some(((*name).to_owned(), sent.get(*name)?.clone()));
    names.iter().filter_map(member).collect()
}

fn find(all: &[Value], key: &str, value: &str) -> Option<usize> {
    all.iter().position(|object| object[key] == value)
}

fn without(all: &[Value], name: &str) -> Vec<Value> {
    let mut all = all.to_vec();
    for object in all.iter_mut().filter_map(Value::as_object_mut) {
        object.remove(name);
    }
    all
}

/// A page of a list, with the header that names the next one.
fn page(all: &[Value], query: &str) -> Response {
    let cursor = query.split('&').find_map(|part| part.strip_prefix("cursor="));
    let begin: usize = cursor.and_then(|cursor| cursor.split("%3A").nth(1)?.parse().ok()).unwrap_or_default();
    let end = all.len().min(begin + PAGE);
    let has_more = end < all.len();
    let link = format!(
        "<http://sentry.invalid/?cursor=0:0:1>; rel=\"previous\"; results=\"false\"; cursor=\"0:0:1\", \
         <http://sentry.invalid/?cursor=0:{end}:0>; rel=\"next\"; results=\"{has_more}\"; cursor=\"0:{end}:0\""
    );
    let objects = Value::Array(all[begin.min(end)..end].to_vec());
    (StatusCode::OK, [(header::LINK, link)], objects.to_string()).into_response()
}

fn bad(name: &str, reason: &str) -> (StatusCode, Value) {
    (StatusCode::BAD_REQUEST, json!({ name: [reason] }))
}

fn not_found() -> (StatusCode, Value) {
    (StatusCode::NOT_FOUND, json!({ "detail": "The requested resource does not exist" }))
}

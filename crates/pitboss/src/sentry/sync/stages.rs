//! The kinds of objects, in the order in which they need one another: monitors need projects, and alerts need monitors.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Action, Comparison, Mode, SyncError, Wanted, only, text};
use crate::sentry::compare::{Difference, Kind};
use crate::sentry::model::{Alert, PREFIX, project_slug};
use crate::sentry::render;

/// Sentry's type of the monitors that are created here.
const METRIC: &str = "metric_issue";
/// Sentry's type of the monitors that it makes of check-ins.
const CHECK_INS: &str = "monitor_check_in_failure";

/// Ids of monitors, by rule, and by slug for check-ins. Those that do not exist (yet) are missing.
#[derive(Debug, Default)]
struct MonitorIds {
    of_rules: BTreeMap<String, Vec<String>>,
    of_check_ins: BTreeMap<String, String>,
}

impl Comparison<'_> {
    /// All stages.
    pub(super) async fn all(&mut self) -> Result<(), SyncError> {
        let projects = self.projects().await?;
        self.check_ins().await?;
        let ids = self.monitors(&projects).await?;
        self.alerts(&ids).await?;
        self.dashboards().await
    }

    /// Compares the projects. Returns their ids by slug.
    async fn projects(&mut self) -> Result<BTreeMap<String, String>, SyncError> {
        let (target, definitions) = (self.target, self.definitions);
        let organization = target.organization.as_str();
        let all = target.api.list(&["organizations", organization, "projects"], &[]).await?;
        let mut ids = BTreeMap::new();
        for project in &definitions.projects.list {
            let slug = project.slug();
            // The list has no fingerprint rules.
            let existing = if all.iter().any(|found| found["slug"] == slug.as_str()) {
                Some(target.api.get(&["projects", organization, &slug]).await?)
            } else {
                None
            };
            let wanted = Wanted {
                kind: Kind::Project,
                name: slug.clone(),
                list: &["teams", organization, target.team.as_str(), "projects"],
                objects: &["projects", organization],
                key: "slug",
                body: render::project(project, &definitions.projects),
                first_body: Some(render::new_project(project)),
            };
            let stored = self.upsert(wanted, existing).await?;
            if let Some(id) = stored.and_then(|project| text(&project["id"])) {
                ids.insert(slug, id);
            }
        }
        Ok(ids)
    }

    async fn check_ins(&mut self) -> Result<(), SyncError> {
        let (target, definitions) = (self.target, self.definitions);
        let path = ["organizations", target.organization.as_str(), "monitors"];
        let all = target.api.list(&path, &[]).await?;
        let monitors = render::check_in_monitors(definitions);
        let declared: BTreeSet<String> = monitors.iter().map(|(slug, _)| slug.clone()).collect();
        for (slug, body) in monitors {
            let existing = only(Kind::CheckIns, &slug, &all, |found| found["slug"] == slug.as_str())?;
            let wanted = Wanted {
                kind: Kind::CheckIns,
                name: slug,
                list: &path,
                objects: &path,
                key: "slug",
                body,
                first_body: None,
            };
            self.upsert(wanted, existing).await?;
        }
        let extra = all.iter().filter(|found| is_ours(&found["name"]));
        let extra = extra.filter_map(|found| text(&found["slug"])).filter(|slug| !declared.contains(slug));
        self.note_extra(Kind::CheckIns, extra);
        Ok(())
    }

    /// Compares the monitors of all rules.
    async fn monitors(&mut self, projects: &BTreeMap<String, String>) -> Result<MonitorIds, SyncError> {
        let (target, definitions) = (self.target, self.definitions);
        let organization = target.organization.as_str();
        let objects = ["organizations", organization, "detectors"];
        // Of all projects, also those that the owner of the token is no member of.
        let all = target.api.list(&objects, &[("project", "-1")]).await?;
        let mut ids = MonitorIds::default();
        let mut declared = BTreeSet::new();
        for detector in definitions.rules.iter().flat_map(render::detectors) {
            let slug = project_slug(&detector.service);
            let project = projects.get(&slug);
            let name = format!("{} ({slug})", detector.name);
            let is_it = |found: &Value| {
                found["name"] == detector.name.as_str()
                    && found["type"] == METRIC
                    && text(&found["projectId"]).as_ref() == project
            };
            // Without its project it cannot exist.
            let existing = if project.is_some() { only(Kind::Monitor, &name, &all, is_it)? } else { None };
            declared.insert((project.cloned(), detector.name));
            let wanted = Wanted {
                kind: Kind::Monitor,
                name,
                list: &["organizations", organization, "projects", &slug, "detectors"],
                objects: &objects,
                key: "id",
                body: detector.body,
                first_body: None,
            };
            let stored = self.upsert(wanted, existing).await?;
            let of_rule = ids.of_rules.entry(detector.rule).or_default();
            of_rule.extend(stored.and_then(|stored| text(&stored["id"])));
        }
        for (slug, _) in render::check_in_monitors(definitions) {
            // It has the name of the check-ins, which may be those of a monitor that a check-in made.
            let is_it = |found: &Value| found["type"] == CHECK_INS && has_slug(found, &slug);
            let id = only(Kind::Monitor, &slug, &all, is_it)?.and_then(|found| text(&found["id"]));
            ids.of_check_ins.extend(id.map(|id| (slug.clone(), id)));
        }
        let extra = all.iter().filter(|found| is_ours(&found["name"]) && found["type"] == METRIC);
        let extra = extra.filter_map(|found| Some((text(&found["projectId"]), text(&found["name"])?)));
        let extra = extra.filter(|found| !declared.contains(found)).map(|(_, name)| name);
        self.note_extra(Kind::Monitor, extra);
        Ok(ids)
    }

    async fn alerts(&mut self, ids: &MonitorIds) -> Result<(), SyncError> {
        let (target, definitions) = (self.target, self.definitions);
        let path = ["organizations", target.organization.as_str(), "workflows"];
        let all = target.api.list(&path, &[]).await?;
        let mut declared = BTreeSet::new();
        for alert in &definitions.alerts {
            let (of_alert, missing) = self.monitors_of(alert, ids);
            let body = render::workflow(alert, &of_alert);
            let name = format!("{PREFIX}{}", alert.name);
            let existing = only(Kind::Alert, &name, &all, |found| found["name"] == name.as_str())?;
            declared.insert(name.clone());
            let wanted = Wanted {
                kind: Kind::Alert,
                name,
                list: &path,
                objects: &path,
                key: "id",
                body,
                first_body: None,
            };
            self.upsert(wanted, existing).await?;
            self.note_missing(&missing);
        }
        let extra =
            all.iter().filter(|found| is_ours(&found["name"])).filter_map(|found| text(&found["name"]));
        let extra: Vec<String> = extra.filter(|name| !declared.contains(name)).collect();
        self.note_extra(Kind::Alert, extra.into_iter());
        Ok(())
    }

    /// Ids of the monitors of an alert, and what has none.
    fn monitors_of(&self, alert: &Alert, ids: &MonitorIds) -> (Vec<String>, Vec<String>) {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for rule in self.definitions.rules.iter().filter(|rule| alert.rules.contains(&rule.slug)) {
            let of_rule = ids.of_rules.get(&rule.slug).cloned().unwrap_or_default();
            if of_rule.len() < render::detectors(rule).len() {
                missing.push(rule.slug.clone());
            }
            found.extend(of_rule);
        }
        if alert.check_ins {
            for (slug, _) in render::check_in_monitors(self.definitions) {
                match ids.of_check_ins.get(&slug) {
                    Some(id) => found.push(id.clone()),
                    None => missing.push(slug),
                }
            }
        }
        (found, missing)
    }

    /// Adds to the last step that some of its monitors do not exist. After a change they have to exist.
    fn note_missing(&mut self, missing: &[String]) {
        let (mode, Some(step)) = (self.mode, self.steps.last_mut()) else { return };
        let of = |name: &String| Difference {
            path: "detectorIds".to_owned(),
            declared: json!(format!("the monitors of {name}")),
            found: Value::Null,
        };
        let differences: Vec<Difference> = missing.iter().map(of).collect();
        if !differences.is_empty() && step.action == Action::Unchanged {
            step.action = Action::Update;
        }
        match mode {
            Mode::Compare => step.differences.extend(differences),
            Mode::Apply => step.not_stored.extend(differences),
        }
    }

    async fn dashboards(&mut self) -> Result<(), SyncError> {
        let (target, definitions) = (self.target, self.definitions);
        let path = ["organizations", target.organization.as_str(), "dashboards"];
        let all = target.api.list(&path, &[]).await?;
        let mut declared = BTreeSet::new();
        for dashboard in &definitions.dashboards {
            let title = format!("{PREFIX}{}", dashboard.title);
            let listed = only(Kind::Dashboard, &title, &all, |found| found["title"] == title.as_str())?;
            // The list has no widgets.
            let existing = match listed.and_then(|found| text(&found["id"])) {
                Some(id) => Some(target.api.get(&[path[0], path[1], path[2], &id]).await?),
                None => None,
            };
            declared.insert(title.clone());
            let wanted = Wanted {
                kind: Kind::Dashboard,
                name: title,
                list: &path,
                objects: &path,
                key: "id",
                body: render::dashboard(dashboard),
                first_body: None,
            };
            self.upsert(wanted, existing).await?;
        }
        let extra =
            all.iter().filter(|found| is_ours(&found["title"])).filter_map(|found| text(&found["title"]));
        let extra: Vec<String> = extra.filter(|title| !declared.contains(title)).collect();
        self.note_extra(Kind::Dashboard, extra.into_iter());
        Ok(())
    }
}

/// Returns true for a name that begins as ours do.
fn is_ours(name: &Value) -> bool {
    name.as_str().is_some_and(|name| name.starts_with(PREFIX))
}

/// Returns true if the monitor is that of the check-ins with this slug.
fn has_slug(monitor: &Value, slug: &str) -> bool {
    let sources = monitor["dataSources"].as_array().map(Vec::as_slice).unwrap_or_default();
    sources.iter().any(|source| source["queryObj"]["slug"] == slug)
}

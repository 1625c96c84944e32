//! The tree of routes: which receiver is told, and how alerts are put together.

use super::{Receiver, matchers, positive_duration};
use kit::yaml::MapReader;
use model::{Labels, Matcher};
use std::{collections::BTreeMap, time::Duration};

/// How a route groups and times its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteOptions {
    pub receiver: String,
    /// Labels whose values make a group; `None`: every alert is its own (`...`).
    pub group_by: Option<Vec<String>>,
    pub group_wait: Duration,
    pub group_interval: Duration,
    pub repeat_interval: Duration,
}

/// One node of the tree. Its options are complete: what it does not say it has from its parent.
#[derive(Debug, Clone)]
pub struct Route {
    /// Stable while the tree's matchers are: `{}/{severity="critical"}`. Siblings with the same matchers (each
    /// but the last says `continue`) are told apart by a number, or the second would never be told anything.
    pub key: String,
    pub matchers: Vec<Matcher>,
    pub continues: bool,
    pub options: RouteOptions,
    pub children: Vec<Route>,
}

impl Route {
    /// A tree of one route, with Alertmanager's defaults.
    pub fn root(receiver: &str) -> Route {
        Route {
            key: "{}".to_owned(),
            matchers: Vec::new(),
            continues: false,
            options: RouteOptions {
                receiver: receiver.to_owned(),
                group_by: Some(Vec::new()),
                group_wait: Duration::from_secs(30),
                group_interval: Duration::from_secs(300),
                repeat_interval: Duration::from_secs(4 * 3600),
            },
            children: Vec::new(),
        }
    }

    /// The routes that take an alert: the deepest that match, in order; siblings after a match only where it
    /// says `continue`.
    pub fn matching<'a>(&'a self, labels: &Labels) -> Vec<&'a Route> {
        if !self.matchers.iter().all(|m| m.matches_labels(labels)) {
            return Vec::new();
        }
        let mut all = Vec::new();
        for child in &self.children {
            let found = child.matching(labels);
            let matched = !found.is_empty();
            all.extend(found);
            if matched && !child.continues {
                break;
            }
        }
        if all.is_empty() {
            all.push(self);
        }
        all
    }

    /// Every route of the tree, this one first.
    pub fn walk(&self) -> Vec<&Route> {
        let mut all = vec![self];
        for child in &self.children {
            all.extend(child.walk());
        }
        all
    }
}

impl RouteOptions {
    /// The labels by which an alert's group is known.
    pub fn group_labels(&self, labels: &Labels) -> Labels {
        match &self.group_by {
            Some(names) => labels.keep(names),
            None => labels.clone(),
        }
    }
}

pub(super) fn read_root(mut r: MapReader<'_>, receivers: &BTreeMap<String, Receiver>) -> Option<Route> {
    for refused in ["matchers", "match", "match_re", "continue"] {
        if let Some(node) = r.node(refused) {
            r.problem(node, format!("the first route takes every alert: it cannot have `{refused}`"));
        }
    }
    r.required_text("receiver")?;
    let defaults = Route::root("").options;
    Some(read(r, &defaults, "", receivers, &mut BTreeMap::new()))
}

fn read(
    mut r: MapReader<'_>,
    parent: &RouteOptions,
    parent_key: &str,
    receivers: &BTreeMap<String, Receiver>,
    taken: &mut BTreeMap<String, usize>,
) -> Route {
    let mut options = parent.clone();
    let receiver_node = r.node("receiver");
    if let Some(name) = r.text("receiver") {
        name.clone_into(&mut options.receiver);
        if let (false, Some(node)) = (receivers.contains_key(name), receiver_node) {
            let mut problem = r.doc.problem(node, format!("there is no receiver named `{name}`"));
            let near = kit::problem::nearest(name, receivers.keys().map(String::as_str));
            problem.help = near.map(|near| format!("did you mean `{near}`?"));
            r.problems.push(problem);
        }
    }
    if r.node("group_by").is_some() {
        let names: Vec<String> = r.texts("group_by").into_iter().map(|(_, n)| n.to_owned()).collect();
        options.group_by = if names.iter().any(|n| n == "...") { None } else { Some(names) };
    }
    if let Some(wait) = r.duration("group_wait", model::duration::parse) {
        options.group_wait = wait;
    }
    if let Some(interval) = positive_duration(&mut r, "group_interval") {
        options.group_interval = interval;
    }
    if let Some(interval) = positive_duration(&mut r, "repeat_interval") {
        options.repeat_interval = interval;
    }
    let matchers = matchers::read(&mut r, "matchers", "match", "match_re");
    let continues = r.bool("continue").unwrap_or(false);
    for later in ["mute_time_intervals", "active_time_intervals"] {
        if let Some(node) = r.node(later) {
            r.problem(node, format!("`{later}` is not supported yet"));
        }
    }
    let own: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    let own = format!("{{{}}}", own.join(","));
    let base = if parent_key.is_empty() { own } else { format!("{parent_key}/{own}") };
    let alike = taken.entry(base.clone()).or_insert(0);
    let key = if *alike == 0 { base } else { format!("{base}#{alike}") };
    *alike += 1;
    let (mut children, mut taken) = (Vec::new(), BTreeMap::new());
    for item in r.list("routes") {
        if let Some(child) = r.item(item) {
            children.push(read(child, &options, &key, receivers, &mut taken));
        }
    }
    r.finish();
    Route { key, matchers, continues, options, children }
}

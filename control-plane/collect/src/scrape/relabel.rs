//! Relabelling: rules that rewrite, keep or drop label sets, as Prometheus defines them.

use super::md5::md5;
use kit::{problem::Problem, yaml::MapReader};
use model::{
    Labels, LabelsBuilder,
    matcher::{anchored_regex, expand},
};
use regex::Regex;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

/// One rule.
#[derive(Debug, Clone)]
pub(crate) struct Relabel {
    action: Action,
    source: Vec<String>,
    separator: String,
    /// As it is written.
    pattern: String,
    regex: Regex,
    modulus: u64,
    target: String,
    replacement: String,
}

impl PartialEq for Relabel {
    fn eq(&self, other: &Self) -> bool {
        let parts =
            |r: &Relabel| (r.action, r.source.clone(), r.separator.clone(), r.pattern.clone(), r.modulus);
        parts(self) == parts(other) && self.target == other.target && self.replacement == other.replacement
    }
}

impl Relabel {
    /// Reads a rule; what is wrong is noted and `None` returned.
    pub(crate) fn read(mut r: MapReader<'_>) -> Option<Relabel> {
        let before = r.problems.len();
        let action = match r.node("action") {
            None => Action::Replace,
            Some(node) => {
                let text = node.text().unwrap_or("").to_lowercase();
                match ACTIONS.iter().find(|(name, _)| *name == text) {
                    Some((_, action)) => *action,
                    None => {
                        let problem = r.doc.problem(node, format!("unknown relabel action {text:?}"));
                        let near = kit::problem::nearest(&text, ACTIONS.iter().map(|(name, _)| *name));
                        r.problems.push(match near {
                            Some(near) => problem.with_help(format!("did you mean `{near}`?")),
                            None => problem,
                        });
                        Action::Replace
                    }
                }
            }
        };
        let source: Vec<String> = r.texts("source_labels").into_iter().map(|(_, t)| t.to_owned()).collect();
        let separator = r.text("separator").map(str::to_owned);
        let regex_node = r.node("regex");
        let pattern = regex_node.and_then(|n| n.text()).unwrap_or("(.*)").to_owned();
        let regex = r.parsed("regex", anchored_regex);
        let modulus = r.u64("modulus");
        let target = r.text("target_label").map(str::to_owned);
        let replacement = r.text("replacement").map(str::to_owned);

        let only_regex = matches!(action, Action::LabelDrop | Action::LabelKeep);
        let equal = matches!(action, Action::KeepEqual | Action::DropEqual);
        let cased = matches!(action, Action::Lowercase | Action::Uppercase);
        let name = ACTIONS.iter().find(|(_, a)| *a == action).map_or("", |(n, _)| n);
        let mut fault = |text: String| {
            let problem: Problem = r.doc.problem(r.node, text);
            r.problems.push(problem);
        };
        let no_target = target.as_deref().unwrap_or("").is_empty();
        if no_target && (equal || cased || matches!(action, Action::Replace | Action::HashMod)) {
            fault(format!("relabel action {name} needs `target_label`"));
        }
        if action == Action::HashMod && modulus.unwrap_or(0) == 0 {
            fault("relabel action hashmod needs a `modulus` that is not 0".to_owned());
        }
        if cased && replacement.as_deref().is_some_and(|t| t != "$1") {
            fault(format!("`replacement` cannot be set for relabel action {name}"));
        }
        let others = separator.is_some() || modulus.is_some() || replacement.is_some();
        if only_regex && (others || !source.is_empty() || target.is_some()) {
            fault(format!("relabel action {name} takes only `regex`"));
        }
        if equal && (others || regex_node.is_some()) {
            fault(format!("relabel action {name} takes only `source_labels` and `target_label`"));
        }
        if action == Action::LabelMap && replacement.as_deref() == Some("") {
            fault("relabel action labelmap needs a `replacement`".to_owned());
        }
        let sound = r.problems.len() == before;
        let default = || anchored_regex("(.*)").ok();
        let rule = Relabel {
            action,
            source,
            separator: separator.unwrap_or_else(|| ";".to_owned()),
            pattern,
            regex: regex.or_else(default)?,
            modulus: modulus.unwrap_or(0),
            target: target.unwrap_or_default(),
            replacement: replacement.unwrap_or_else(|| "$1".to_owned()),
        };
        r.finish();
        sound.then_some(rule)
    }

    /// Applies the rule; `false` means that the label set is dropped.
    fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let value = self.source.iter().map(|n| labels.value(n)).collect::<Vec<_>>().join(&self.separator);
        match self.action {
            Action::Drop => return !self.regex.is_match(&value),
            Action::Keep => return self.regex.is_match(&value),
            Action::DropEqual => return labels.value(&self.target) != value,
            Action::KeepEqual => return labels.value(&self.target) == value,
            Action::Replace => {
                let Some(found) = self.regex.captures(&value) else { return true };
                let (target, text) = (expand(&self.target, &found), expand(&self.replacement, &found));
                if !target.is_empty() {
                    labels.set(target, text);
                }
            }
            Action::Lowercase => {
                labels.set(&*self.target, value.to_lowercase());
            }
            Action::Uppercase => {
                labels.set(&*self.target, value.to_uppercase());
            }
            Action::HashMod => {
                let digest = md5(value.as_bytes());
                let half = digest.last_chunk::<8>().copied().unwrap_or_default();
                let rest = u64::from_be_bytes(half) % self.modulus.max(1);
                labels.set(&*self.target, rest.to_string());
            }
            Action::LabelMap => {
                let all: Vec<_> = labels.iter().cloned().collect();
                for l in all {
                    if let Some(found) = self.regex.captures(&l.name) {
                        labels.set(expand(&self.replacement, &found), l.value);
                    }
                }
            }
            Action::LabelDrop => {
                labels.retain(|l| !self.regex.is_match(&l.name));
            }
            Action::LabelKeep => {
                labels.retain(|l| self.regex.is_match(&l.name));
            }
        }
        true
    }
}

/// A rule as it is shown. What an action does not use is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelabelRule {
    pub action: &'static str,
    pub source_labels: Vec<String>,
    pub separator: String,
    pub regex: String,
    pub modulus: u64,
    pub target_label: String,
    pub replacement: String,
}

/// What is left of a label set after a rule and all before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelabelStep {
    pub rule: RelabelRule,
    /// Empty where the label set is dropped.
    pub output: Labels,
    pub keep: bool,
}

impl Relabel {
    fn shown(&self) -> RelabelRule {
        RelabelRule {
            action: ACTIONS.iter().find(|(_, a)| *a == self.action).map_or("", |(name, _)| name),
            source_labels: self.source.clone(),
            separator: self.separator.clone(),
            regex: self.pattern.clone(),
            modulus: self.modulus,
            target_label: self.target.clone(),
            replacement: self.replacement.clone(),
        }
    }
}

/// What becomes of a label set, rule by rule.
pub(crate) fn steps(rules: &[Relabel], labels: &Labels) -> Vec<RelabelStep> {
    let mut now = labels.edit();
    let mut keep = true;
    let step = |rule: &Relabel| {
        keep = keep && rule.apply(&mut now);
        let output = if keep { now.clone().build() } else { Labels::default() };
        RelabelStep { rule: rule.shown(), output, keep }
    };
    rules.iter().map(step).collect()
}

/// Applies rules one after the other; `false` means that the label set is dropped.
pub(crate) fn relabel(rules: &[Relabel], labels: &mut LabelsBuilder) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

#[cfg(test)]
mod tests;

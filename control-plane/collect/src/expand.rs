//! `${NAME}` and `${NAME:-default}` in the files of `probes/`.
//!
//! A name is of capitals, digits and underscores and begins with no digit; so the `${1}` and `${group}` of
//! relabelling stay what they are. Values are put in as they are: a value that looks like YAML stays text.

use kit::{
    problem::Problems,
    yaml::{Document, Kind, Node},
};

/// Replaces the names in all values of a document. A name that `value` does not know and that has no default
/// is a problem.
pub(crate) fn expand(doc: &mut Document, value: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
    let mut root = std::mem::replace(&mut doc.root, Node { line: 1, column: 1, kind: Kind::Null });
    expand_node(&mut root, doc, value, problems);
    doc.root = root;
}

fn expand_node(
    node: &mut Node,
    doc: &Document,
    value: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) {
    if let Some(text) = node.text()
        && text.contains("${")
    {
        let mut unknown = Vec::new();
        let expanded = expand_text(text, value, |name, offset| unknown.push((name.to_owned(), offset)));
        for (name, offset) in unknown {
            let problem = doc.problem_within(node, offset, format!("{name} is not set and has no default"));
            problems
                .push(problem.with_help(format!("set it in the environment, or write ${{{name}:-default}}")));
        }
        if let Kind::Scalar { text, .. } = &mut node.kind {
            *text = expanded;
        }
    }
    match &mut node.kind {
        Kind::Seq(items) => items.iter_mut().for_each(|n| expand_node(n, doc, value, problems)),
        Kind::Map(entries) => entries.iter_mut().for_each(|(_, v)| expand_node(v, doc, value, problems)),
        Kind::Null | Kind::Scalar { .. } => {}
    }
}

/// `text` with its names replaced. `unknown` is told of each name without a value, with its place in
/// characters.
fn expand_text(
    text: &str,
    value: &dyn Fn(&str) -> Option<String>,
    mut unknown: impl FnMut(&str, usize),
) -> String {
    let (mut out, mut rest, mut done) = (String::new(), text, 0);
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let offset = done + before.chars().count();
        let inside = after.split_once('}').map(|(inside, _)| inside);
        let parts =
            inside.map(|i| i.split_once(":-").map_or((i, None), |(name, default)| (name, Some(default))));
        match parts {
            Some((name, default)) if is_name(name) => {
                match value(name)
                    .filter(|v| !v.is_empty() || default.is_none())
                    .or(default.map(str::to_owned))
                {
                    Some(v) => out.push_str(&v),
                    None => unknown(name, offset),
                }
                let taken = inside.map_or(0, str::len) + 1;
                rest = after.get(taken..).unwrap_or("");
                done = offset + 2 + after.get(..taken).unwrap_or("").chars().count();
            }
            _ => {
                out.push_str("${");
                rest = after;
                done = offset + 2;
            }
        }
    }
    out.push_str(rest);
    out
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests;

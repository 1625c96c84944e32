//! What a regular expression captured, filled into a template as Go's library does.

use regex::Captures;

/// Fills in what groups captured: `$1`, `$name`, `${name}`, and `$$` for a dollar. A dollar before anything else is
/// itself, and a group that there is not is empty.
pub fn expand(template: &str, captures: &Captures<'_>) -> String {
    let (mut out, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(more) = after.strip_prefix('$') {
            out.push('$');
            rest = more;
        } else if let Some((name, more)) = reference(after) {
            let number = name.parse().ok().filter(|_| name == "0" || !name.starts_with('0'));
            let group = number.map_or_else(|| captures.name(name), |n: usize| captures.get(n));
            out.push_str(group.map_or("", |m| m.as_str()));
            rest = more;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// The name of a group after its dollar, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('{');
    let inside = braced.unwrap_or(text);
    let end = inside.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    let rest = if braced.is_some() { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

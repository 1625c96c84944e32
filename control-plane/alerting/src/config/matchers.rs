//! Alertmanager's matchers: `severity="critical"`, `service=~a|b`, several in one string with or without braces.

use kit::yaml::MapReader;
use model::{MatchOp, Matcher};

/// Reads one matcher, such as `severity="critical"` or `service=~auth|db`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_matcher(text: &str) -> Result<Matcher, String> {
    let text = text.trim();
    let bad = |why: &str| format!("{text:?} is no matcher: {why}; write it like severity=\"critical\"");
    let (name, rest) = if text.starts_with('"') {
        let end = quoted_end(text).ok_or_else(|| bad("the quoted name does not end"))?;
        let (quoted, rest) = text.split_at(end);
        (unquote(quoted).map_err(|e| bad(&e))?, rest)
    } else {
        let end = text.find(['=', '!']).ok_or_else(|| bad("there is no =, !=, =~ or !~"))?;
        let (name, rest) = text.split_at(end);
        (name.trim().to_owned(), rest)
    };
    let quoted = text.starts_with('"');
    if name.is_empty() || !quoted && name.chars().any(|c| c.is_whitespace() || "{},".contains(c)) {
        return Err(bad("the label's name is missing or has a character that needs quotes"));
    }
    let rest = rest.trim_start();
    let (op, value) = [("=~", MatchOp::Re), ("!~", MatchOp::Nre), ("!=", MatchOp::Ne), ("=", MatchOp::Eq)]
        .into_iter()
        .find_map(|(sign, op)| Some((op, rest.strip_prefix(sign)?)))
        .ok_or_else(|| bad("after the name comes =, !=, =~ or !~"))?;
    let value = value.trim();
    let value = if value.starts_with('"') {
        if quoted_end(value) != Some(value.len()) {
            return Err(bad("the quoted value does not end, or something follows it"));
        }
        unquote(value).map_err(|e| bad(&e))?
    } else if value.contains(['"', '{', '}', ',']) {
        return Err(bad("the value has a character that needs quotes"));
    } else {
        value.to_owned()
    };
    Matcher::new(name, op, value).map_err(|e| e.to_string())
}

/// Reads matchers separated by commas, with or without braces around them.
///
/// # Errors
/// A sentence for the first one that is wrong.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, String> {
    let text = text.trim();
    let inner = match (text.strip_prefix('{'), text.ends_with('}')) {
        (Some(inner), true) => inner.strip_suffix('}').unwrap_or(inner),
        (None, false) => text,
        _ => return Err(format!("{text:?} has one brace without the other")),
    };
    let mut parts = split(inner);
    // One comma may stand at the end; nothing else may be empty, unless there is nothing at all.
    if parts.last().is_some_and(|part| part.trim().is_empty()) {
        parts.pop();
    }
    parts.into_iter().map(parse_matcher).collect()
}

/// Splits at commas outside quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(text.get(start..i).unwrap_or(""));
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or(""));
    parts
}

/// Where the quoted text that begins at 0 ends, after its closing quote.
fn quoted_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(i + 1),
            _ => {}
        }
    }
    None
}

fn unquote(quoted: &str) -> Result<String, String> {
    let inner = quoted.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(quoted);
    let (mut out, mut chars) = (String::new(), inner.chars());
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(c @ ('"' | '\\')) => out.push(c),
            // Regular expressions are full of backslashes; the classic parser kept the others as they are.
            Some(c) => out.extend(['\\', c]),
            None => return Err("it ends in a backslash".to_owned()),
        }
    }
    Ok(out)
}

/// Reads `matchers` and the two older forms (`match`: equal, `match_re`: regular expressions).
pub(super) fn read(
    r: &mut MapReader<'_>,
    list: &'static str,
    equal: &'static str,
    regex: &'static str,
) -> Vec<Matcher> {
    let mut all = Vec::new();
    for (node, text) in r.texts(list) {
        match parse_matchers(text) {
            Ok(found) => all.extend(found),
            Err(e) => r.problem(node, e),
        }
    }
    for (field, op) in [(equal, MatchOp::Eq), (regex, MatchOp::Re)] {
        for (key, value) in r.text_map(field) {
            let text = value.text().unwrap_or("");
            // Alertmanager keeps the old form's expressions with their anchors, and so they stand in its keys.
            let text = if op == MatchOp::Re { format!("^(?:{text})$") } else { text.to_owned() };
            match Matcher::new(key.text().unwrap_or(""), op, text) {
                Ok(matcher) => all.push(matcher),
                Err(e) => r.problem(value, e.to_string()),
            }
        }
    }
    // In Alertmanager's order, so that a route's key is the same there and here.
    all.sort_by(|a, b| (&a.name, &a.value, a.op).cmp(&(&b.name, &b.value, b.op)));
    all
}

//! Function sets, and the functions every template has.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use crate::{
    context::{CallError, Ctx},
    convert,
    fmt::{sprint, sprintf, sprintln},
    html,
    out::{Out, Overflow},
    value::{List, Value},
};

type Called = Result<Value, CallError>;
/// A function of a template.
type Func = Arc<dyn Fn(&mut Ctx<'_, '_>, &[Value]) -> Called + Send + Sync>;

/// The functions a template may name. Cheap to clone.
#[derive(Clone)]
pub struct FuncSet {
    funcs: Arc<BTreeMap<&'static str, Func>>,
}

impl std::fmt::Debug for FuncSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.funcs.keys()).finish()
    }
}

impl FuncSet {
    /// What Go itself gives: `printf`, `len`, `index`, comparisons.
    pub fn builtin() -> Self {
        let mut set = FuncSet { funcs: Arc::new(BTreeMap::new()) };
        set.add("and", |_, _| Err(CallError::new("and is evaluated by the template itself")));
        set.add("or", |_, _| Err(CallError::new("or is evaluated by the template itself")));
        set.add("not", |_, args| Ok(Value::Bool(!convert::exactly::<1>(args)?[0].truth())));
        set.add("eq", |_, args| equal_any(args));
        set.add("ne", |_, args| {
            let [a, b] = convert::exactly(args)?;
            Ok(Value::Bool(!equal(a, b)?))
        });
        set.add("lt", |_, args| ordered(args, Ordering::is_lt));
        set.add("le", |_, args| ordered(args, Ordering::is_le));
        set.add("gt", |_, args| ordered(args, Ordering::is_gt));
        set.add("ge", |_, args| ordered(args, Ordering::is_ge));
        set.add("len", |_, args| length(&convert::exactly::<1>(args)?[0]));
        set.add("index", |_, args| index(args));
        set.add("slice", |_, args| slice(args));
        set.add("print", |ctx, args| bounded(ctx, |out| sprint(out, args)));
        set.add("println", |ctx, args| bounded(ctx, |out| sprintln(out, args)));
        set.add("printf", |ctx, args| {
            let (format, rest) =
                args.split_first().ok_or_else(|| CallError::new("wrong number of args: want a format"))?;
            let format = convert::text(format)?;
            bounded(ctx, |out| sprintf(out, format, rest))
        });
        set.add("html", |ctx, args| {
            let text = printed(ctx, args)?;
            bounded(ctx, |out| html::escape_text(out, &text))
        });
        set.add("js", |ctx, args| {
            let text = printed(ctx, args)?;
            bounded(ctx, |out| escape_js(out, &text))
        });
        set.add("urlquery", |ctx, args| {
            let text = printed(ctx, args)?;
            Ok(Value::str(query_escape(&text)))
        });
        set
    }

    /// Adds a function, or replaces one.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        func: impl Fn(&mut Ctx<'_, '_>, &[Value]) -> Result<Value, CallError> + Send + Sync + 'static,
    ) -> Self {
        self.add(name, func);
        self
    }

    pub(crate) fn add(
        &mut self,
        name: &'static str,
        func: impl Fn(&mut Ctx<'_, '_>, &[Value]) -> Called + Send + Sync + 'static,
    ) {
        Arc::make_mut(&mut self.funcs).insert(name, Arc::new(func));
    }

    pub fn contains(&self, name: &str) -> bool {
        self.funcs.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Func> {
        self.funcs.get(name)
    }
}

/// A text built under the execution's limit.
pub(crate) fn bounded(ctx: &Ctx<'_, '_>, build: impl FnOnce(&mut Out) -> Result<(), Overflow>) -> Called {
    let mut out = Out::new(ctx.limits().output_bytes);
    build(&mut out).map_err(|Overflow| CallError::new("the text is too long"))?;
    Ok(Value::str(out.into_string()))
}

/// The operands of an escaper as one text: a single text as it is, else as `print` gives it.
fn printed(ctx: &Ctx<'_, '_>, args: &[Value]) -> Result<String, CallError> {
    let value = bounded(ctx, |out| sprint(out, args))?;
    Ok(value.text().map(|t| t.to_string()).unwrap_or_default())
}

/// Go's basic kinds, which alone can be compared.
enum Basic<'v> {
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(&'v str),
}

fn basic(value: &Value) -> Result<Basic<'_>, CallError> {
    match value.base() {
        Value::Bool(b) => Ok(Basic::Bool(*b)),
        Value::Int(n) => Ok(Basic::Int((*n).into())),
        Value::Duration(d) => Ok(Basic::Int(d.as_nanos())),
        Value::Float(v) => Ok(Basic::Float(*v)),
        Value::Str(t) | Value::Safe(_, t) => Ok(Basic::Text(t)),
        other => Err(CallError(format!("{} cannot be compared", other.type_name()))),
    }
}

fn incompatible(a: &Value, b: &Value) -> CallError {
    CallError(format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name()))
}

fn equal(a: &Value, b: &Value) -> Result<bool, CallError> {
    if *a == Value::Nil || *b == Value::Nil {
        return Ok(a == b);
    }
    Ok(match (basic(a)?, basic(b)?) {
        (Basic::Bool(x), Basic::Bool(y)) => x == y,
        (Basic::Int(x), Basic::Int(y)) => x == y,
        #[expect(clippy::float_cmp, reason = "eq means exactly equal")]
        (Basic::Float(x), Basic::Float(y)) => x == y,
        (Basic::Text(x), Basic::Text(y)) => x == y,
        _ => return Err(incompatible(a, b)),
    })
}

fn equal_any(args: &[Value]) -> Called {
    let Some((first, rest)) = args.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(CallError::new("missing argument for comparison"));
    };
    for other in rest {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn ordered(args: &[Value], holds: fn(Ordering) -> bool) -> Called {
    let [a, b] = convert::exactly(args)?;
    let order = match (basic(a)?, basic(b)?) {
        (Basic::Int(x), Basic::Int(y)) => Some(x.cmp(&y)),
        (Basic::Float(x), Basic::Float(y)) => x.partial_cmp(&y),
        (Basic::Text(x), Basic::Text(y)) => Some(x.cmp(y)),
        (Basic::Bool(_), Basic::Bool(_)) => return Err(CallError::new("bool has no order")),
        _ => return Err(incompatible(a, b)),
    };
    Ok(Value::Bool(order.is_some_and(holds)))
}

fn length(value: &Value) -> Called {
    let n = match value.base() {
        Value::Str(t) | Value::Safe(_, t) => t.len(),
        Value::List(list) => list.items().len(),
        Value::Map(map) => map.entries().len(),
        other => return Err(CallError(format!("len of type {}", other.type_name()))),
    };
    Ok(Value::Int(i64::try_from(n).unwrap_or(i64::MAX)))
}

fn position(value: &Value, length: usize) -> Result<usize, CallError> {
    let Value::Int(n) = value.base() else {
        return Err(CallError(format!("cannot index with type {}", value.type_name())));
    };
    usize::try_from(*n)
        .ok()
        .filter(|n| *n <= length)
        .ok_or_else(|| CallError(format!("index out of range: {n}")))
}

fn index(args: &[Value]) -> Called {
    let Some((value, keys)) = args.split_first() else {
        return Err(CallError::new("wrong number of args: want at least 1 got 0"));
    };
    let mut value = value.clone();
    for key in keys {
        value = match value.base() {
            Value::Map(map) => map.get(convert::text(key)?).unwrap_or(map.missing()).clone(),
            Value::List(list) => {
                let at = position(key, list.items().len())?;
                list.items().get(at).cloned().ok_or_else(|| CallError(format!("index out of range: {at}")))?
            }
            Value::Str(t) | Value::Safe(_, t) => {
                let at = position(key, t.len())?;
                let byte = t.as_bytes().get(at);
                byte.map(|b| Value::Int((*b).into()))
                    .ok_or_else(|| CallError(format!("index out of range: {at}")))?
            }
            Value::Nil => return Err(CallError::new("index of untyped nil")),
            other => return Err(CallError(format!("can't index item of type {}", other.type_name()))),
        };
    }
    Ok(value)
}

fn slice(args: &[Value]) -> Called {
    let Some((value, bounds)) = args.split_first() else {
        return Err(CallError::new("wrong number of args: want at least 1 got 0"));
    };
    let length = match value.base() {
        Value::Str(t) | Value::Safe(_, t) => t.len(),
        Value::List(list) => list.items().len(),
        other => return Err(CallError(format!("can't slice item of type {}", other.type_name()))),
    };
    if bounds.len() > 2 {
        return Err(CallError::new("too many slice indexes"));
    }
    let from = bounds.first().map_or(Ok(0), |v| position(v, length))?;
    let to = bounds.get(1).map_or(Ok(length), |v| position(v, length))?;
    if from > to {
        return Err(CallError(format!("invalid slice index: {from} > {to}")));
    }
    match value.base() {
        Value::List(list) => Ok(Value::List(List::new(list.items()[from..to].to_vec()))),
        other => {
            let text = other.text().and_then(|t| t.get(from..to));
            text.map(Value::str).ok_or_else(|| CallError::new("the slice would cut a character"))
        }
    }
}

fn escape_js(out: &mut Out, text: &str) -> Result<(), Overflow> {
    let mut buffer = [0u8; 4];
    for c in text.chars() {
        match c {
            '\\' => out.push("\\\\")?,
            '\'' => out.push("\\'")?,
            '"' => out.push("\\\"")?,
            '<' | '>' | '&' | '=' => out.push(&format!("\\u{:04X}", u32::from(c)))?,
            c if c.is_control() => out.push(&format!("\\u{:04X}", u32::from(c)))?,
            c => out.push(c.encode_utf8(&mut buffer))?,
        }
    }
    Ok(())
}

/// Go's `url.QueryEscape`.
pub(crate) fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// The first letter of every word in upper case.
pub(crate) fn title(text: &str) -> String {
    let mut inside = false;
    text.chars()
        .flat_map(|c| {
            let begins = !inside;
            inside = c.is_alphanumeric() || c == '_' || c == '\'';
            let upper: Vec<char> = if begins { c.to_uppercase().collect() } else { vec![c] };
            upper
        })
        .collect()
}

pub(crate) fn regex(pattern: &str) -> Result<regex::Regex, CallError> {
    regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|e| CallError(format!("the regular expression {pattern:?} is not valid: {e}")))
}

/// `reReplaceAll pattern replacement text`.
pub(crate) fn replace_all(ctx: &Ctx<'_, '_>, args: &[Value]) -> Called {
    let [pattern, replacement, text] = convert::exactly(args)?;
    let (replacement, text) = (convert::text(replacement)?, convert::text(text)?);
    let regex = regex(convert::text(pattern)?)?;
    bounded(ctx, |out| {
        let mut at = 0;
        let mut piece = String::new();
        for found in regex.captures_iter(text) {
            let whole = found.get_match();
            out.push(text.get(at..whole.start()).unwrap_or_default())?;
            piece.clear();
            found.expand(replacement, &mut piece);
            out.push(&piece)?;
            at = whole.end();
        }
        out.push(text.get(at..).unwrap_or_default())
    })
}

/// Seconds as people say them: `1d 2h 3m 4s`, `12.3ms`. Prometheus's and Alertmanager's `humanizeDuration`.
pub(crate) fn humanize_duration(args: &[Value]) -> Called {
    use crate::number::format_g;
    let v = convert::float(&convert::exactly::<1>(args)?[0])?;
    if !v.is_finite() {
        return Ok(Value::str(format_g(v, Some(4))));
    }
    if v == 0.0 {
        return Ok(Value::str("0s"));
    }
    if v.abs() < 1.0 {
        let (scaled, prefix) = scale_down(v);
        return Ok(Value::str(format!("{}{prefix}s", format_g(scaled, Some(4)))));
    }
    let sign = if v < 0.0 { "-" } else { "" };
    #[expect(clippy::cast_possible_truncation, reason = "saturates, which is what is wanted")]
    let whole = v.abs() as i64;
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    Ok(Value::str(if days > 0 {
        format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
    } else if hours > 0 {
        format!("{sign}{hours}h {minutes}m {seconds}s")
    } else if minutes > 0 {
        format!("{sign}{minutes}m {seconds}s")
    } else {
        format!("{sign}{}s", format_g(v.abs(), Some(4)))
    }))
}

/// A number below one with the SI prefix that makes it at least one.
pub(crate) fn scale_down(mut v: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for p in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if v.abs() >= 1.0 {
            break;
        }
        prefix = p;
        v *= 1000.0;
    }
    (v, prefix)
}

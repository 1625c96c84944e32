//! `toJson`: JSON as Go's encoder writes it, HTML characters escaped.

use crate::{
    out::{Out, Overflow},
    time,
    value::Value,
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum JsonError {
    #[error("the JSON is too long")]
    Overflow,
    #[error("JSON has no infinite or undefined numbers")]
    NotANumber,
}

impl From<Overflow> for JsonError {
    fn from(_: Overflow) -> Self {
        JsonError::Overflow
    }
}

pub(crate) fn write(out: &mut Out, value: &Value) -> Result<(), JsonError> {
    match value {
        Value::Nil => out.push("null")?,
        Value::Bool(b) => out.push(if *b { "true" } else { "false" })?,
        Value::Int(n) => out.push(&n.to_string())?,
        Value::Float(v) if !v.is_finite() => return Err(JsonError::NotANumber),
        Value::Float(v) => out.push(&float(*v))?,
        Value::Str(t) | Value::Safe(_, t) => string(out, t)?,
        Value::List(list) => {
            out.push("[")?;
            for (i, item) in list.items().iter().enumerate() {
                out.push(if i == 0 { "" } else { "," })?;
                write(out, item)?;
            }
            out.push("]")?;
        }
        Value::Map(map) => {
            object(out, map.entries().iter().map(|(k, v)| (k.as_str(), v)))?;
        }
        Value::Struct(s) => object(out, s.fields.iter().map(|f| (f.json, &f.value)))?,
        Value::Time(at) => string(out, &time::rfc3339(at))?,
        Value::Duration(d) => out.push(&d.as_nanos().to_string())?,
        Value::Typed(typed) => write(out, &typed.value)?,
    }
    Ok(())
}

fn object<'a>(out: &mut Out, fields: impl Iterator<Item = (&'a str, &'a Value)>) -> Result<(), JsonError> {
    out.push("{")?;
    for (i, (key, item)) in fields.enumerate() {
        out.push(if i == 0 { "" } else { "," })?;
        string(out, key)?;
        out.push(":")?;
        write(out, item)?;
    }
    out.push("}")?;
    Ok(())
}

/// Go follows ECMAScript: exponents only below 1e-6 and from 1e21 on.
fn float(v: f64) -> String {
    if v == 0.0 || (1e-6..1e21).contains(&v.abs()) {
        return format!("{v}");
    }
    let text = crate::number::format_e(v, None);
    text.replace("e-0", "e-")
}

fn string(out: &mut Out, text: &str) -> Result<(), Overflow> {
    let mut buffer = [0u8; 4];
    out.push("\"")?;
    for c in text.chars() {
        match c {
            '"' => out.push("\\\"")?,
            '\\' => out.push("\\\\")?,
            '\n' => out.push("\\n")?,
            '\r' => out.push("\\r")?,
            '\t' => out.push("\\t")?,
            '\u{8}' => out.push("\\b")?,
            '\u{c}' => out.push("\\f")?,
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                out.push(&format!("\\u{:04x}", u32::from(c)))?;
            }
            c => out.push(c.encode_utf8(&mut buffer))?,
        }
    }
    out.push("\"")
}

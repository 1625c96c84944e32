//! Go's `fmt`: how values print, and `printf`.

use crate::{
    number::{format_e, format_f, format_g},
    out::{Out, Overflow},
    time,
    value::Value,
};

type Printed = Result<(), Overflow>;

/// `%v`.
pub(crate) fn print_value(out: &mut Out, value: &Value) -> Printed {
    match value {
        Value::Nil => out.push("<nil>"),
        Value::Bool(b) => out.push(if *b { "true" } else { "false" }),
        Value::Int(n) => out.push(&n.to_string()),
        Value::Float(v) => out.push(&format_g(*v, None)),
        Value::Str(t) | Value::Safe(_, t) => out.push(t),
        Value::List(list) => {
            out.push("[")?;
            for (i, item) in list.items().iter().enumerate() {
                out.push(if i == 0 { "" } else { " " })?;
                print_value(out, item)?;
            }
            out.push("]")
        }
        Value::Map(map) => {
            out.push("map[")?;
            for (i, (key, item)) in map.entries().iter().enumerate() {
                out.push(if i == 0 { "" } else { " " })?;
                out.push(key)?;
                out.push(":")?;
                print_value(out, item)?;
            }
            out.push("]")
        }
        Value::Struct(s) => {
            out.push("{")?;
            for (i, field) in s.fields.iter().enumerate() {
                out.push(if i == 0 { "" } else { " " })?;
                print_value(out, &field.value)?;
            }
            out.push("}")
        }
        Value::Time(at) => out.push(&time::print_time(at)),
        Value::Duration(d) => out.push(&time::print_duration(*d)),
        Value::Typed(typed) => {
            if typed.value == Value::Nil {
                out.push("map[]")
            } else {
                print_value(out, &typed.value)
            }
        }
    }
}

/// `print`: a space between two operands when neither is a string.
pub(crate) fn sprint(out: &mut Out, args: &[Value]) -> Printed {
    for (i, arg) in args.iter().enumerate() {
        if i > 0 && arg.text().is_none() && args[i - 1].text().is_none() {
            out.push(" ")?;
        }
        print_value(out, arg)?;
    }
    Ok(())
}

/// `println`: a space between all operands, a newline at the end.
pub(crate) fn sprintln(out: &mut Out, args: &[Value]) -> Printed {
    for (i, arg) in args.iter().enumerate() {
        out.push(if i == 0 { "" } else { " " })?;
        print_value(out, arg)?;
    }
    out.push("\n")
}

#[derive(Default, Clone, Copy)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Go refuses larger widths too.
const MAX_WIDTH: usize = 1_000_000;

/// `printf`.
pub(crate) fn sprintf(out: &mut Out, format: &str, args: &[Value]) -> Printed {
    let mut chars = format.chars().peekable();
    let mut next = 0;
    let mut reordered = false;
    let mut literal = [0u8; 4];
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c.encode_utf8(&mut literal))?;
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| "+-# 0".contains(*c)) {
            match flag {
                '+' => spec.plus = true,
                '-' => spec.minus = true,
                '#' => spec.sharp = true,
                ' ' => spec.space = true,
                _ => spec.zero = true,
            }
        }
        let mut index = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>, next: &mut usize| {
            if chars.next_if_eq(&'[').is_some() {
                let n = number(chars);
                let closed = chars.next_if_eq(&']').is_some();
                match n {
                    Some(n) if closed && n > 0 => *next = n - 1,
                    _ => *next = usize::MAX,
                }
                reordered = true;
            }
        };
        index(&mut chars, &mut next);
        if chars.next_if_eq(&'*').is_some() {
            match star(args, &mut next) {
                Some(n) => {
                    spec.minus |= n < 0;
                    spec.width = usize::try_from(n.unsigned_abs()).ok();
                }
                None => out.push("%!(BADWIDTH)")?,
            }
        } else {
            spec.width = number(&mut chars);
        }
        if chars.next_if_eq(&'.').is_some() {
            index(&mut chars, &mut next);
            if chars.next_if_eq(&'*').is_some() {
                match star(args, &mut next).and_then(|n| usize::try_from(n).ok()) {
                    Some(n) => spec.precision = Some(n),
                    None => out.push("%!(BADPREC)")?,
                }
            } else {
                spec.precision = Some(number(&mut chars).unwrap_or(0));
            }
        }
        index(&mut chars, &mut next);
        if spec.width.is_some_and(|w| w > MAX_WIDTH) || spec.precision.is_some_and(|p| p > MAX_WIDTH) {
            return Err(Overflow);
        }
        let Some(verb) = chars.next() else {
            out.push("%!(NOVERB)")?;
            break;
        };
        if verb == '%' {
            out.push("%")?;
            continue;
        }
        let Some(arg) = args.get(next) else {
            let problem = if next == usize::MAX || reordered { "BADINDEX" } else { "MISSING" };
            out.push(&format!("%!{verb}({problem})"))?;
            continue;
        };
        next += 1;
        one(out, verb, spec, arg)?;
    }
    if !reordered && next < args.len() {
        out.push("%!(EXTRA ")?;
        for (i, arg) in args.iter().enumerate().skip(next) {
            out.push(if i == next { "" } else { ", " })?;
            typed(out, arg)?;
        }
        out.push(")")?;
    }
    Ok(())
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut n: Option<usize> = None;
    while let Some(d) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        n = Some(n.unwrap_or(0).saturating_mul(10).saturating_add(d as usize));
    }
    n
}

fn star(args: &[Value], next: &mut usize) -> Option<i64> {
    let value = args.get(*next)?;
    *next += 1;
    match value.base() {
        Value::Int(n) => Some(*n),
        _ => None,
    }
}

/// `string=text`, as complaints show an operand.
fn typed(out: &mut Out, value: &Value) -> Printed {
    if matches!(value, Value::Nil) {
        return out.push("<nil>");
    }
    out.push(value.type_name())?;
    out.push("=")?;
    print_value(out, value)
}

fn bad(out: &mut Out, verb: char, value: &Value) -> Printed {
    out.push(&format!("%!{verb}("))?;
    typed(out, value)?;
    out.push(")")
}

fn one(out: &mut Out, verb: char, spec: Spec, value: &Value) -> Printed {
    match verb {
        'T' => return pad(out, spec, value.type_name(), false),
        'v' => {
            if let Value::Float(v) = value {
                return float(out, 'g', spec, *v);
            }
            if let Value::Int(n) = value {
                return integer(out, 'd', spec, *n);
            }
            return text(out, spec, value);
        }
        _ => {}
    }
    match (verb, value.base()) {
        ('d' | 'b' | 'o' | 'O' | 'x' | 'X' | 'c' | 'q' | 'U', Value::Int(n)) => integer(out, verb, spec, *n),
        ('d', Value::Duration(d)) => {
            integer(out, verb, spec, i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
        }
        ('e' | 'E' | 'f' | 'F' | 'g' | 'G', Value::Float(v)) => float(out, verb, spec, *v),
        ('t', Value::Bool(_))
        | ('s', Value::Str(_) | Value::Safe(..) | Value::Time(_) | Value::Duration(_)) => {
            text(out, spec, value)
        }
        ('q', Value::Str(t) | Value::Safe(_, t)) => pad(out, spec, &quote(t), false),
        ('x' | 'X', Value::Str(t) | Value::Safe(_, t)) => {
            let digits = |b: u8| if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") };
            let hex: String = t.bytes().map(digits).collect();
            pad(out, spec, &hex, false)
        }
        (_, Value::List(list)) => {
            out.push("[")?;
            for (i, item) in list.items().iter().enumerate() {
                out.push(if i == 0 { "" } else { " " })?;
                one(out, verb, spec, item)?;
            }
            out.push("]")
        }
        (_, Value::Map(map)) => {
            out.push("map[")?;
            for (i, (key, item)) in map.entries().iter().enumerate() {
                out.push(if i == 0 { "" } else { " " })?;
                one(out, verb, spec, &Value::str(key.as_str()))?;
                out.push(":")?;
                one(out, verb, spec, item)?;
            }
            out.push("]")
        }
        _ => bad(out, verb, value),
    }
}

fn text(out: &mut Out, spec: Spec, value: &Value) -> Printed {
    let mut inner = Out::new(out.room());
    print_value(&mut inner, value)?;
    let whole = inner.into_string();
    let cut = match (spec.precision, value.text()) {
        (Some(p), Some(_)) => whole.chars().take(p).collect(),
        _ => whole,
    };
    pad(out, spec, &cut, false)
}

/// Fills to the width: with zeros after the sign for numbers, with spaces otherwise.
fn pad(out: &mut Out, spec: Spec, body: &str, numeric: bool) -> Printed {
    let missing = spec.width.unwrap_or(0).saturating_sub(body.chars().count());
    if missing > out.room() {
        return Err(Overflow);
    }
    if spec.minus {
        out.push(body)?;
        return out.push(&" ".repeat(missing));
    }
    if spec.zero && numeric {
        let (sign, digits) = match body.chars().next() {
            Some('+' | '-' | ' ') => body.split_at(1),
            _ => ("", body),
        };
        out.push(sign)?;
        out.push(&"0".repeat(missing))?;
        return out.push(digits);
    }
    out.push(&" ".repeat(missing))?;
    out.push(body)
}

fn integer(out: &mut Out, verb: char, spec: Spec, n: i64) -> Printed {
    let magnitude = n.unsigned_abs();
    let digits = match verb {
        'b' => format!("{magnitude:b}"),
        'o' => format!("{}{magnitude:o}", if spec.sharp { "0" } else { "" }),
        'O' => format!("0o{magnitude:o}"),
        'x' => format!("{}{magnitude:x}", if spec.sharp { "0x" } else { "" }),
        'X' => format!("{}{magnitude:X}", if spec.sharp { "0X" } else { "" }),
        'c' | 'q' => {
            let c = u32::try_from(n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
            let shown = if verb == 'c' { c.to_string() } else { format!("'{c}'") };
            return pad(out, spec, &shown, false);
        }
        'U' => return pad(out, spec, &format!("U+{magnitude:04X}"), false),
        _ => magnitude.to_string(),
    };
    let zeros = spec.precision.unwrap_or(0).saturating_sub(digits.len());
    if zeros > out.room() {
        return Err(Overflow);
    }
    let sign = sign(n < 0, spec);
    let body = format!("{sign}{}{digits}", "0".repeat(zeros));
    pad(out, spec, &body, spec.precision.is_none())
}

fn sign(negative: bool, spec: Spec) -> &'static str {
    match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    }
}

fn float(out: &mut Out, verb: char, spec: Spec, v: f64) -> Printed {
    if spec.precision.is_some_and(|p| p > out.room()) {
        return Err(Overflow);
    }
    let magnitude = if v.is_sign_negative() && !v.is_nan() { -v } else { v };
    let digits = match verb {
        'e' => format_e(magnitude, Some(spec.precision.unwrap_or(6))),
        'E' => format_e(magnitude, Some(spec.precision.unwrap_or(6))).to_uppercase(),
        'f' | 'F' => format_f(magnitude, Some(spec.precision.unwrap_or(6))),
        'G' => format_g(magnitude, spec.precision).replace('e', "E"),
        _ => format_g(magnitude, spec.precision),
    };
    let body = if v.is_infinite() {
        if v < 0.0 { "-Inf".to_owned() } else { "+Inf".to_owned() }
    } else if v.is_nan() {
        "NaN".to_owned()
    } else {
        format!("{}{digits}", sign(v.is_sign_negative(), spec))
    };
    pad(out, spec, &body, v.is_finite())
}

/// A Go string literal.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;

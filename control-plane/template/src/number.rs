//! Go's literals, and Go's way of writing floats.

use crate::value::Value;

/// A Go number literal: decimal, `0x`, `0o`, `0b`, leading zero for octal, underscores, floats.
pub(crate) fn literal(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let clean = digits.replace('_', "");
    let lower = clean.to_ascii_lowercase();
    let radix = |prefix: &str, radix: u32| lower.strip_prefix(prefix).map(|d| i128::from_str_radix(d, radix));
    let integer = radix("0x", 16)
        .or_else(|| radix("0o", 8))
        .or_else(|| radix("0b", 2))
        .or_else(|| {
            let octal = lower.len() > 1 && lower.bytes().all(|b| b.is_ascii_digit());
            if octal { radix("0", 8) } else { None }
        })
        .unwrap_or_else(|| lower.parse::<i128>());
    if let Ok(n) = integer {
        let signed = if negative { -n } else { n };
        return i64::try_from(signed).ok().map(Value::Int);
    }
    let float_like = lower.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
    if !float_like {
        return None;
    }
    let value: f64 = lower.parse().ok().filter(|v: &f64| v.is_finite())?;
    Some(Value::Float(if negative { -value } else { value }))
}

/// The inside of a Go interpreted string or character literal. `None` for an escape that does not exist.
pub(crate) fn unquote(body: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(body.len());
    let mut chars = body.chars();
    let mut buffer = [0u8; 4];
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        let c = chars.next()?;
        let mut digits = |first: Option<char>, count: usize, radix: u32| -> Option<u32> {
            let mut n = first.map_or(Some(0), |c| c.to_digit(radix))?;
            for _ in 0..count {
                n = n.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
            }
            Some(n)
        };
        match c {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(12),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(11),
            '\\' | '\'' | '"' => bytes.push(u8::try_from(u32::from(c)).ok()?),
            'x' => bytes.push(u8::try_from(digits(None, 2, 16)?).ok()?),
            '0'..='7' => bytes.push(u8::try_from(digits(Some(c), 2, 8)?).ok()?),
            'u' | 'U' => {
                let code = digits(None, if c == 'u' { 4 } else { 8 }, 16)?;
                let c = char::from_u32(code)?;
                bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            }
            _ => return None,
        }
    }
    Some(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// Infinite and undefined numbers as Go prints them.
fn special(v: f64) -> Option<&'static str> {
    if v.is_nan() {
        Some("NaN")
    } else if v.is_infinite() {
        Some(if v > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

/// Sign, decimal digits without the point, and the exponent of the first digit.
fn digits(v: f64, significant: Option<usize>) -> (bool, String, i32) {
    let text = match significant {
        Some(n) => format!("{:.*e}", n.max(1) - 1, v.abs()),
        None => format!("{:e}", v.abs()),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (v.is_sign_negative(), mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// Go's `%g`: `precision` significant digits (`None`: as few as tell the number apart), no trailing zeros.
pub(crate) fn format_g(v: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(v) {
        return text.to_owned();
    }
    let (negative, all, exponent) = digits(v, precision);
    let mut significant = all.trim_end_matches('0');
    if significant.is_empty() {
        significant = "0";
    }
    let sign = if negative { "-" } else { "" };
    let count = i32::try_from(significant.len()).unwrap_or(i32::MAX);
    let wanted = precision.map_or(6, |p| i32::try_from(p.max(1)).unwrap_or(i32::MAX));
    // Go: when the digits are fewer than asked for and the number is whole, the digits decide; the shortest
    // form decides by 6.
    let limit = match precision {
        Some(_) if wanted > count && count > exponent => count,
        Some(_) => wanted,
        None => 6,
    };
    if exponent < -4 || exponent >= limit {
        return format!("{sign}{}", exponential(significant, exponent, 'e'));
    }
    format!("{sign}{}", positional(significant, exponent))
}

fn exponential(digits: &str, exponent: i32, letter: char) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}{letter}{sign}{:02}", exponent.unsigned_abs())
}

fn positional(digits: &str, exponent: i32) -> String {
    if exponent < 0 {
        let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
        return format!("0.{}{digits}", "0".repeat(zeros));
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    if digits.len() <= whole {
        return format!("{digits}{}", "0".repeat(whole - digits.len()));
    }
    let (a, b) = digits.split_at(whole);
    format!("{a}.{b}")
}

/// Go's `%e` with so many decimals.
pub(crate) fn format_e(v: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(v) {
        return text.to_owned();
    }
    let (negative, all, exponent) = digits(v, precision.map(|p| p + 1));
    format!("{}{}", if negative { "-" } else { "" }, exponential(&all, exponent, 'e'))
}

/// Go's `%f` with so many decimals (`None`: as few as needed).
pub(crate) fn format_f(v: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(v) {
        return text.to_owned();
    }
    match precision {
        Some(p) => format!("{v:.p$}"),
        None => format!("{v}"),
    }
}

#[cfg(test)]
mod tests;

//! Numbers and strings as Go writes them, which is what PromQL took over.

/// A number without sign: decimal, with underscores between digits, with exponent; hexadecimal (`0x1f`) and
/// octal (`017`) integers. `None` if it is none of these, or beyond the largest float.
pub(crate) fn number(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let underscores_ok = !bytes.contains(&b'_')
        || bytes.windows(2).all(|w| w != b"__")
            && bytes.iter().enumerate().all(|(i, b)| {
                let digit = |j: Option<usize>| {
                    j.and_then(|j| bytes.get(j))
                        .is_some_and(|b| b.is_ascii_hexdigit() || matches!(b, b'x' | b'X'))
                };
                *b != b'_' || digit(i.checked_sub(1)) && digit(Some(i + 1))
            });
    if !underscores_ok {
        return None;
    }
    let plain = text.replace('_', "");
    if let Some(digits) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return i64::from_str_radix(digits, 16).ok().map(as_f64);
    }
    let digits_only = !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_digit());
    if digits_only
        && let Some(octal) = plain.strip_prefix('0').filter(|rest| !rest.is_empty())
        && let Ok(n) = i64::from_str_radix(octal, 8)
    {
        return Some(as_f64(n));
    }
    if !plain.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || plain.bytes().any(|b| !matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
    {
        return None;
    }
    plain.parse().ok().filter(|v: &f64| v.is_finite())
}

#[expect(clippy::cast_precision_loss, reason = "numbers of the language are floats")]
fn as_f64(n: i64) -> f64 {
    n as f64
}

/// The contents of a quoted string: raw between backticks, else with Go's escapes. `Err` says what is wrong
/// and at which byte.
pub(crate) fn unquote(quoted: &str) -> Result<String, (usize, String)> {
    let mut chars = quoted.char_indices();
    let quote = chars.next().map_or('"', |(_, c)| c);
    let body_end = quoted.len() - quote.len_utf8();
    if quote == '`' {
        return Ok(quoted.get(1..body_end).unwrap_or("").to_owned());
    }
    // Escapes can spell single bytes, so bytes are collected and checked at the end.
    let mut out: Vec<u8> = Vec::with_capacity(quoted.len());
    while let Some((at, c)) = chars.next() {
        if at >= body_end {
            break;
        }
        if c != '\\' {
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let Some((_, escape)) = chars.next() else {
            return Err((at, "escape sequence not terminated".to_owned()));
        };
        let (digits, radix) = match escape {
            'a' => (0, 7),
            'b' => (0, 8),
            'f' => (0, 12),
            'n' => (0, 10),
            'r' => (0, 13),
            't' => (0, 9),
            'v' => (0, 11),
            '\\' => (0, 92),
            c if c == quote => (0, u32::from(c)),
            '0'..='7' => (2, 8),
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            c => return Err((at, format!("unknown escape sequence \\{c}"))),
        };
        if digits == 0 {
            out.extend(char::from_u32(radix).unwrap_or('?').encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let mut value = if radix == 8 { escape.to_digit(8).unwrap_or(0) } else { 0 };
        for _ in 0..digits {
            let digit = chars.next().and_then(|(_, c)| c.to_digit(radix));
            let Some(digit) = digit else {
                return Err((
                    at,
                    format!("the escape sequence \\{escape} needs {digits} digits of base {radix}"),
                ));
            };
            value = value.wrapping_mul(radix).wrapping_add(digit);
        }
        if matches!(escape, 'u' | 'U') {
            let Some(c) = char::from_u32(value) else {
                return Err((at, "escape sequence is an invalid Unicode code point".to_owned()));
            };
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            let Ok(byte) = u8::try_from(value) else {
                return Err((at, "escape sequence is beyond one byte".to_owned()));
            };
            out.push(byte);
        }
    }
    // A single byte above 0x7f is no text in Rust; it becomes the replacement character.
    Ok(String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

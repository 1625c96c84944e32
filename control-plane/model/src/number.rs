//! Numbers as Prometheus prints them.

/// A sample value as the HTTP API and the text format print it: the shortest digits that read back exactly,
/// `NaN`, `+Inf`, `-Inf`, and exponents like Go's `strconv.FormatFloat(v, 'f' or 'g', -1, 64)` as the JSON API
/// uses them: plain below 1e21, else with a two-digit exponent at least.
pub fn format(v: f64) -> String {
    let mut out = String::new();
    format_into(&mut out, v);
    out
}

/// The same, appended to a text.
pub fn format_into(out: &mut String, v: f64) {
    if v.is_nan() {
        return out.push_str("NaN");
    }
    if v.is_infinite() {
        return out.push_str(if v > 0.0 { "+Inf" } else { "-Inf" });
    }
    let magnitude = v.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{v:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
        return out.push_str(&format!("{mantissa}e{sign}{digits:0>2}"));
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(v);
    let text = text.strip_suffix(".0").unwrap_or(text);
    if text.contains(['e', 'E']) { out.push_str(&v.to_string()) } else { out.push_str(text) }
}

/// Reads a number as the text format writes it: Go's `ParseFloat`, with `NaN`, `Inf`, `+Inf`, `-Inf` in any
/// case, hexadecimal integers not included.
pub fn parse(text: &str) -> Option<f64> {
    match text.as_bytes() {
        [] => None,
        [b'0'..=b'9' | b'.' | b'-' | b'+', ..] | [b'n' | b'N' | b'i' | b'I', ..] => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

//! Numbers as Prometheus prints them.

/// A sample value as the HTTP API and the text format print it: the shortest digits that read back exactly,
/// `NaN`, `+Inf`, `-Inf`, and exponents like Go's `strconv.FormatFloat(v, 'f' or 'g', -1, 64)` as the JSON API
/// uses them: plain below 1e21, else with a two-digit exponent at least.
pub fn format(v: f64) -> String {
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let magnitude = v.abs();
    if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{v:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{v}")
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

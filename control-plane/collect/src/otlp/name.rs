//! OpenTelemetry's names in the alphabet of Prometheus, with unit and type behind them.
//!
//! The strategy is Prometheus's default, `UnderscoreEscapingWithSuffixes`, unless the configuration names another.

use super::data::Kind;

/// How metrics are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MetricNamer {
    /// Names stay as they are, as far as characters go.
    pub(crate) utf8: bool,
    /// Unit and type stand behind the name.
    pub(crate) suffixes: bool,
    pub(crate) namespace: &'static str,
}

impl Default for MetricNamer {
    fn default() -> Self {
        MetricNamer { utf8: false, suffixes: true, namespace: "" }
    }
}

/// The units of UCUM that OpenTelemetry uses, in words.
const UNITS: [(&str, &str); 31] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("KB", "kilobytes"),
    ("MB", "megabytes"),
    ("GB", "gigabytes"),
    ("TB", "terabytes"),
    ("B", "bytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

const PER: [(&str, &str); 8] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
    ("", ""),
];

/// Runs of characters that no classic name has become one underscore, as do runs of underscores.
fn cleaned(text: &str) -> String {
    parts(text).collect::<Vec<_>>().join("_")
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != ':').filter(|p| !p.is_empty())
}

/// Both halves of a unit, in words: what is measured, and per what.
fn unit_words(unit: &str, utf8: bool) -> (String, String) {
    let half = |text: &str, table: &[(&'static str, &'static str)]| {
        let text = text.trim();
        // What stands in braces is a remark.
        if text.contains(['{', '}']) {
            return String::new();
        }
        let known = table.iter().find(|(short, _)| *short == text).map(|(_, long)| *long);
        let text = known.unwrap_or(text);
        if utf8 { text.to_owned() } else { cleaned(text) }
    };
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let main = half(main, &UNITS);
    let mut per = half(per, &PER);
    if !per.is_empty() {
        per = format!("per_{}", per.strip_prefix("per_").unwrap_or(&per));
    }
    (main, per)
}

/// A unit as metadata have it; empty where there is none.
pub(crate) fn unit_name(unit: &str) -> String {
    let (main, per) = unit_words(unit, false);
    let parts: Vec<String> = [main, per].into_iter().filter(|p| !p.is_empty()).collect();
    parts.join("_")
}

impl MetricNamer {
    /// # Errors
    /// When nothing is left of the name.
    pub(crate) fn name(&self, name: &str, unit: &str, kind: Kind) -> Result<String, String> {
        let empty = || format!("normalization for metric {name:?} resulted in empty name");
        let out = match (self.utf8, self.suffixes) {
            (true, _) => self.verbatim(name, unit, kind),
            (false, true) => self.suffixed(name, unit, kind),
            (false, false) => self.plain(name),
        };
        if out.is_empty() {
            return Err(empty());
        }
        let only_underscores = out.chars().all(|c| c == '_');
        if only_underscores && out != name {
            return Err(format!("normalization for metric {name:?} resulted in invalid name {out:?}"));
        }
        Ok(out)
    }

    fn suffixed(&self, name: &str, unit: &str, kind: Kind) -> String {
        let mut words: Vec<String> = parts(name).map(str::to_owned).collect();
        let (main, per) = unit_words(unit, false);
        for word in [main, per] {
            if !word.is_empty() && !ends_with(&words, &word) {
                words.extend(parts(&word).map(str::to_owned));
            }
        }
        let last = |words: &mut Vec<String>, suffix: &str| {
            words.retain(|w| w != suffix);
            words.push(suffix.to_owned());
        };
        if words.is_empty() {
            return String::new();
        }
        if kind == Kind::Counter {
            last(&mut words, "total");
        }
        if unit == "1" && kind == Kind::Gauge {
            last(&mut words, "ratio");
        }
        if !self.namespace.is_empty() {
            words.splice(..0, parts(self.namespace).map(str::to_owned));
        }
        let mut out = words.join("_");
        digits_escaped(&mut out);
        out
    }

    /// Only what no name may have is gone; underscores are kept.
    fn plain(&self, name: &str) -> String {
        let clean = |text: &str| {
            let invalid = |c: char| !c.is_ascii_alphanumeric() && c != ':' && c != '_';
            text.split(invalid).filter(|p| !p.is_empty()).collect::<Vec<_>>().join("_")
        };
        let mut out = clean(name);
        if !self.namespace.is_empty() {
            out = format!("{}_{out}", clean(self.namespace));
        }
        digits_escaped(&mut out);
        out
    }

    fn verbatim(&self, name: &str, unit: &str, kind: Kind) -> String {
        let mut out = name.to_owned();
        if !self.namespace.is_empty() {
            out = format!("{}_{out}", self.namespace);
        }
        if !self.suffixes {
            return out;
        }
        let mut end = |suffix: &str| {
            if !suffix.is_empty() && !out.ends_with(suffix) {
                out.push('_');
                out.push_str(suffix);
            }
        };
        let (main, per) = unit_words(unit, true);
        // A suffix of the type stands behind the unit's.
        let total = kind == Kind::Counter;
        if total && name.ends_with("_total") && (name.contains(&main) || main.is_empty()) {
            return out;
        }
        end(&main);
        end(&per);
        if total {
            end("total");
        }
        if unit == "1" && kind == Kind::Gauge {
            end("ratio");
        }
        out
    }
}

fn ends_with(words: &[String], word: &str) -> bool {
    words.iter().any(|w| w == word)
}

fn digits_escaped(name: &mut String) {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
}

/// How labels are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LabelNamer {
    /// Names stay as they are.
    pub(crate) utf8: bool,
    /// `key` before a name that begins with one underscore.
    pub(crate) mark_underscore: bool,
    /// Runs of underscores stay.
    pub(crate) keep_underscores: bool,
}

impl LabelNamer {
    /// # Errors
    /// When nothing is left of the name.
    pub(crate) fn name(&self, name: &str) -> Result<String, String> {
        if name.is_empty() {
            return Err("label name is empty".to_owned());
        }
        if self.utf8 {
            return Ok(name.to_owned());
        }
        let mut out = String::with_capacity(name.len() + 4);
        // What is between two underscores at both ends is reserved, and keeps them.
        let reserved = name.len() > 4 && name.starts_with("__") && name.ends_with("__");
        for c in name.chars() {
            let c = if c.is_ascii_alphanumeric() { c } else { '_' };
            if c != '_' || self.keep_underscores || !out.ends_with('_') {
                out.push(c);
            }
        }
        if reserved && !self.keep_underscores {
            out = format!("_{out}_");
        }
        if out.chars().all(|c| c == '_') {
            return Err(format!("normalization for label name {name:?} resulted in invalid name {out:?}"));
        }
        if out.starts_with(|c: char| c.is_ascii_digit()) {
            out.insert_str(0, "key_");
        } else if self.mark_underscore && out.starts_with('_') && !out.starts_with("__") {
            out.insert_str(0, "key");
        }
        Ok(out)
    }
}

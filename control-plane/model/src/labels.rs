//! Label sets: immutable, sorted by name, cheap to clone, never with an empty value.
//!
//! A label with an empty value is the same as an absent label, as everywhere in Prometheus; so it is dropped
//! when a set is built. Names and values are shared strings, so that deriving one set from another (`by`,
//! `without`, relabelling) copies pointers and no text.

use std::{fmt, sync::Arc};

/// The label that carries a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// One name and its value. Any UTF-8 is a legal value; names are UTF-8 too (Prometheus 3), not empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    pub name: Arc<str>,
    pub value: Arc<str>,
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}", self.name, self.value)
    }
}

/// An immutable label set, sorted by name, names unique, values not empty.
///
/// Its order is that of Prometheus's `labels.Compare`: name and value pair by pair, shorter first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Labels(Arc::from([]))
    }
}

impl Labels {
    /// Builds a set from pairs in any order. Of several labels with one name the last wins.
    pub fn from_pairs<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<Arc<str>>,
        V: Into<Arc<str>>,
    {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name, value);
        }
        builder.build()
    }

    /// Takes labels that are already sorted by unique names and have values, as a decoder reads them back.
    /// Returns `None` when they are not.
    pub fn from_sorted(labels: Vec<Label>) -> Option<Self> {
        let sorted = labels.windows(2).all(|w| w[0].name < w[1].name);
        (sorted && labels.iter().all(|l| !l.value.is_empty())).then(|| Labels(labels.into()))
    }

    /// The value of `name`, or `None` when the label is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.label(name).map(|l| &*l.value)
    }

    /// The value of `name`, or the empty string, which means the same as absence.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    fn label(&self, name: &str) -> Option<&Label> {
        // Sets are small: a scan beats a binary search up to some twenty labels.
        self.0.iter().find(|l| &*l.name == name)
    }

    /// The metric's name, or the empty string.
    pub fn metric_name(&self) -> &str {
        self.value(METRIC_NAME)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    pub fn as_slice(&self) -> &[Label] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A builder that starts from this set.
    pub fn edit(&self) -> LabelsBuilder {
        LabelsBuilder { labels: self.0.to_vec() }
    }

    /// This set with one label set (or removed, when `value` is empty).
    pub fn with(&self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        let mut builder = self.edit();
        builder.set(name, value);
        builder.build()
    }

    /// These, and those of `others` whose names are not among them.
    pub fn with_missing(&self, others: &Labels) -> Self {
        if others.iter().all(|l| self.get(&l.name).is_some()) {
            return self.clone();
        }
        let mut builder = self.edit();
        for l in others.iter().filter(|l| self.get(&l.name).is_none()) {
            builder.set(Arc::clone(&l.name), Arc::clone(&l.value));
        }
        builder.build()
    }

    /// Only the labels named. `names` in any order.
    pub fn keep<S: AsRef<str>>(&self, names: &[S]) -> Self {
        self.filtered(|l| names.iter().any(|n| n.as_ref() == &*l.name))
    }

    /// All but the labels named. `names` in any order. The metric name stays unless it is named.
    pub fn drop<S: AsRef<str>>(&self, names: &[S]) -> Self {
        self.filtered(|l| !names.iter().any(|n| n.as_ref() == &*l.name))
    }

    fn filtered(&self, keep: impl Fn(&Label) -> bool) -> Self {
        Labels(self.0.iter().filter(|l| keep(l)).cloned().collect())
    }

    /// A stable 64-bit hash (FNV-1a over names and values with separators). Equal in every process and
    /// version, so it may be stored; it is not safe against people who craft collisions.
    pub fn stable_hash(&self) -> u64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        let mut feed = |bytes: &[u8]| {
            for &b in bytes.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for l in self.iter() {
            feed(l.name.as_bytes());
            feed(l.value.as_bytes());
        }
        hash
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<N: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(N, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Labels::from_pairs(pairs)
    }
}

/// Prometheus's own notation: `{a="b", c="d"}`, the metric's name among the labels.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, l) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_name(&l.name) {
                write!(f, "{}={}", l.name, quote(&l.value))?;
            } else {
                write!(f, "{}={}", quote(&l.name), quote(&l.value))?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter().map(|l| (&*l.name, &*l.value)))
    }
}

impl<'de> serde::Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Labels::from_pairs(std::collections::BTreeMap::<String, String>::deserialize(d)?))
    }
}

/// `s` in double quotes with Go's escapes for quotes, backslashes and control characters.
pub fn quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether `name` is a label name of the classic alphabet, `[a-zA-Z_][a-zA-Z0-9_]*`, so that it can stand
/// unquoted.
pub fn is_legacy_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
        && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

/// Whether `name` is a metric name of the classic alphabet: a label name that may have colons.
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b == b'_' || b == b':' || b.is_ascii_alphabetic())
        && bytes.all(|b| b == b'_' || b == b':' || b.is_ascii_alphanumeric())
}

/// A label set under construction, kept sorted.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    labels: Vec<Label>,
}

impl LabelsBuilder {
    /// Sets `name` to `value`, replacing what it was. An empty value removes the label.
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> &mut Self {
        let (name, value) = (name.into(), value.into());
        match self.labels.binary_search_by(|l| l.name.cmp(&name)) {
            Ok(i) if value.is_empty() => {
                self.labels.remove(i);
            }
            Ok(i) => self.labels[i].value = value,
            Err(_) if value.is_empty() => {}
            Err(i) => self.labels.insert(i, Label { name, value }),
        }
        self
    }

    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.labels.retain(|l| &*l.name != name);
        self
    }

    pub fn retain(&mut self, keep: impl FnMut(&Label) -> bool) -> &mut Self {
        self.labels.retain(keep);
        self
    }

    /// The value that `name` has so far, or the empty string.
    pub fn value(&self, name: &str) -> &str {
        self.labels.iter().find(|l| &*l.name == name).map_or("", |l| &*l.value)
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.labels.iter()
    }

    pub fn build(self) -> Labels {
        Labels(self.labels.into())
    }
}

#[cfg(test)]
mod tests;

//! YAML files that people write, read so that every problem is found at once and has its place.
//!
//! [`Document::parse`] turns text into a tree of [`Node`]s that know where they stand; a [`MapReader`] then
//! takes fields out of a mapping one by one, notes what is wrong and goes on. Fields that nobody asked for are
//! problems too, with a suggestion. Anchors and merge keys work; sizes are bounded by the parser's budget.

use crate::problem::{Problem, Problems, nearest};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::{collections::BTreeSet, fmt, time::Duration};

/// A file that parsed.
#[derive(Debug, Clone)]
pub struct Document {
    pub file: String,
    lines: Vec<String>,
    pub root: Node,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    pub line: usize,
    pub column: usize,
    pub kind: Kind,
}

/// What a node is. A scalar keeps the text as written; `plain` tells that it was not quoted, so that `5` and
/// `"5"` can be told apart where that matters.
#[derive(Debug, Clone)]
pub enum Kind {
    Null,
    Scalar { text: String, plain: bool },
    Seq(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Kind {
    fn what(&self) -> &'static str {
        match self {
            Kind::Null => "nothing",
            Kind::Scalar { .. } => "a single value",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }
}

impl Node {
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The value of `key` in a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _)| k.text() == Some(key)).map(|(_, v)| v),
            _ => None,
        }
    }
}

/// The tree as the deserializer gives it, before positions and raw texts are filled in.
struct Raw(RawKind);

enum RawKind {
    Null,
    Text(String),
    /// Not a string to YAML; its text is taken from the source.
    Other(String),
    Seq(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw(RawKind::Null))
            }
            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw(RawKind::Null))
            }
            fn visit_str<E>(self, s: &str) -> Result<Raw, E> {
                Ok(Raw(RawKind::Text(s.to_owned())))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Raw, E> {
                Ok(Raw(RawKind::Other(v.to_string())))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Raw, E> {
                Ok(Raw(RawKind::Other(v.to_string())))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Raw, E> {
                Ok(Raw(RawKind::Other(v.to_string())))
            }
            fn visit_i128<E>(self, v: i128) -> Result<Raw, E> {
                Ok(Raw(RawKind::Other(v.to_string())))
            }
            fn visit_u128<E>(self, v: u128) -> Result<Raw, E> {
                Ok(Raw(RawKind::Other(v.to_string())))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Raw, E> {
                Ok(Raw(RawKind::Other(v.to_string())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Raw(RawKind::Seq(items)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw(RawKind::Map(entries)))
            }
        }
        d.deserialize_any(V)
    }
}

fn place(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn cook(raw: Spanned<Raw>, text: &str) -> Node {
    let kind = match raw.value.0 {
        RawKind::Null => Kind::Null,
        RawKind::Text(text) => Kind::Scalar { text, plain: false },
        RawKind::Other(parsed) => {
            let span = raw.defined.span();
            let written = span
                .byte_offset()
                .zip(span.byte_len())
                .and_then(|(at, len)| text.get(place(at)..place(at.saturating_add(len))))
                .map(str::trim)
                .filter(|t| !t.is_empty() && !t.contains('\n'));
            Kind::Scalar { text: written.map_or(parsed, str::to_owned), plain: true }
        }
        RawKind::Seq(items) => Kind::Seq(items.into_iter().map(|i| cook(i, text)).collect()),
        RawKind::Map(entries) => {
            Kind::Map(entries.into_iter().map(|(k, v)| (cook(k, text), cook(v, text))).collect())
        }
    };
    Node { line: place(raw.referenced.line()), column: place(raw.referenced.column()), kind }
}

impl Document {
    /// Parses one document. An empty file is a document whose root is null. The first syntax error is the only
    /// problem reported: what follows it cannot be trusted.
    pub fn parse(file: &str, text: &str) -> Result<Document, Problems> {
        Self::parse_documents(file, text).map(|mut all| {
            if all.is_empty() {
                Self::whole(file, text, Node { line: 1, column: 1, kind: Kind::Null })
            } else {
                all.swap_remove(0)
            }
        })
    }

    /// Parses all documents of a stream. Prometheus reads the first of a rule file and ignores the others.
    pub fn parse_documents(file: &str, text: &str) -> Result<Vec<Document>, Problems> {
        match serde_saphyr::from_multiple::<Spanned<Raw>>(text) {
            Ok(all) => Ok(all.into_iter().map(|raw| Self::whole(file, text, cook(raw, text))).collect()),
            Err(e) => {
                let (line, column) =
                    e.location().map_or((1, 1), |l| (place(l.line()).max(1), place(l.column()).max(1)));
                let message = e.without_snippet().to_string();
                let message = message.lines().next().unwrap_or("not valid YAML").trim().to_owned();
                let source = text.lines().nth(line - 1).unwrap_or("").to_owned();
                let problem = Problem { file: file.into(), line, column, message, help: None, source };
                Err(Problems(vec![problem]))
            }
        }
    }

    fn whole(file: &str, text: &str, root: Node) -> Document {
        Document { file: file.to_owned(), lines: text.lines().map(str::to_owned).collect(), root }
    }

    /// A problem at a node.
    pub fn problem(&self, node: &Node, message: impl Into<String>) -> Problem {
        self.problem_at(node.line, node.column, message)
    }

    /// A problem at a place.
    pub fn problem_at(&self, line: usize, column: usize, message: impl Into<String>) -> Problem {
        let source = self.lines.get(line.wrapping_sub(1)).cloned().unwrap_or_default();
        Problem { file: self.file.clone(), line, column, message: message.into(), help: None, source }
    }

    /// A problem `offset` characters into a scalar: for expressions inside a value. In a block scalar (`|`) or
    /// a quoted one the offset is not known exactly, so the place is the value itself unless the value stands
    /// on one line as it is.
    pub fn problem_within(&self, node: &Node, offset: usize, message: impl Into<String>) -> Problem {
        let text = node.text().unwrap_or("");
        let source = self.lines.get(node.line.wrapping_sub(1)).map_or("", String::as_str);
        let from = |column: usize| source.chars().skip(column - 1).collect::<String>();
        let column = node.column.max(1);
        if from(column).starts_with(text) {
            return self.problem_at(node.line, column + offset, message);
        }
        if from(column).chars().skip(1).collect::<String>().starts_with(text) {
            return self.problem_at(node.line, column + 1 + offset, message);
        }
        // A block scalar: its text begins on the line after the indicator, indented.
        let before: String = text.chars().take(offset).collect();
        let (down, last) = (before.matches('\n').count(), before.rsplit('\n').next().unwrap_or(""));
        for first in [node.line + 1, node.line] {
            if let (Some(line), Some(wanted)) = (self.lines.get(first - 1 + down), text.lines().nth(down))
                && let Some(byte) = line.find(wanted)
            {
                let indent = line.get(..byte).map_or(0, |s| s.chars().count());
                return self.problem_at(first + down, indent + 1 + last.chars().count(), message);
            }
        }
        self.problem(node, message)
    }

    /// Reads the root as a mapping. A null root reads as an empty one.
    pub fn reader<'a>(&'a self, problems: &'a mut Problems) -> Option<MapReader<'a>> {
        MapReader::new(self, &self.root, problems)
    }
}

/// For fuzzing: a file that may be any bytes. Returns whether it was YAML.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) -> bool {
    let Ok(all) = Document::parse_documents("memory", &String::from_utf8_lossy(bytes)) else { return false };
    for doc in &all {
        let mut problems = Problems::default();
        if let Some(mut r) = doc.reader(&mut problems) {
            r.text("name");
            r.u64("n");
            r.bool("b");
            r.texts("texts");
            r.text_map("map");
            if let Some(child) = r.child("child") {
                child.finish();
            }
            r.finish();
        }
        // Places are looked up in the text once more when problems are shown.
        drop(problems.to_string());
    }
    true
}

/// Takes fields out of a mapping. Every `Option` that is `None` either was absent or has been noted as a
/// problem. Call [`MapReader::finish`] last: it notes fields that nobody asked for.
#[derive(Debug)]
pub struct MapReader<'a> {
    pub doc: &'a Document,
    pub node: &'a Node,
    pub problems: &'a mut Problems,
    entries: &'a [(Node, Node)],
    asked: BTreeSet<&'static str>,
}

impl<'a> MapReader<'a> {
    /// Reads `node` as a mapping; anything else is a problem.
    pub fn new(doc: &'a Document, node: &'a Node, problems: &'a mut Problems) -> Option<Self> {
        let entries: &[(Node, Node)] = match &node.kind {
            Kind::Map(entries) => entries,
            Kind::Null => &[],
            other => {
                problems.push(doc.problem(node, format!("expected a mapping, found {}", other.what())));
                return None;
            }
        };
        Some(MapReader { doc, node, problems, entries, asked: BTreeSet::new() })
    }

    /// The node of a field, absent or null fields alike being `None`.
    pub fn node(&mut self, name: &'static str) -> Option<&'a Node> {
        self.asked.insert(name);
        self.entries.iter().find(|(k, _)| k.text() == Some(name)).map(|(_, v)| v).filter(|v| !v.is_null())
    }

    /// Like [`MapReader::node`], but absence is a problem.
    pub fn required(&mut self, name: &'static str) -> Option<&'a Node> {
        let found = self.node(name);
        if found.is_none() {
            self.problems.push(self.doc.problem(self.node, format!("missing field `{name}`")));
        }
        found
    }

    /// Notes a problem at a node.
    pub fn problem(&mut self, node: &Node, message: impl Into<String>) {
        self.problems.push(self.doc.problem(node, message));
    }

    /// A field of one value, as written.
    pub fn text(&mut self, name: &'static str) -> Option<&'a str> {
        let node = self.node(name)?;
        self.scalar(name, node)
    }

    /// A field of one value that must be there and must not be empty.
    pub fn required_text(&mut self, name: &'static str) -> Option<&'a str> {
        let node = self.required(name)?;
        let text = self.scalar(name, node)?;
        if text.is_empty() {
            self.problem(node, format!("`{name}` must not be empty"));
            return None;
        }
        Some(text)
    }

    fn scalar(&mut self, name: &str, node: &'a Node) -> Option<&'a str> {
        match &node.kind {
            Kind::Scalar { text, .. } => Some(text),
            other => {
                self.problem(node, format!("`{name}` must be a single value, found {}", other.what()));
                None
            }
        }
    }

    /// A field that `parse` understands; its error is the problem.
    pub fn parsed<T, E: fmt::Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let node = self.node(name)?;
        let text = self.scalar(name, node)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(e) => {
                self.problem(node, format!("`{name}`: {e}"));
                None
            }
        }
    }

    /// A field that is `true` or `false`.
    pub fn bool(&mut self, name: &'static str) -> Option<bool> {
        self.parsed(name, |text| match text {
            "true" | "True" | "TRUE" | "yes" | "on" => Ok(true),
            "false" | "False" | "FALSE" | "no" | "off" => Ok(false),
            other => Err(format!("{other:?} is neither true nor false")),
        })
    }

    /// A field that is a whole number.
    pub fn u64(&mut self, name: &'static str) -> Option<u64> {
        self.parsed(name, |text| text.parse().map_err(|_| format!("{text:?} is not a whole number")))
    }

    /// A field that is a duration in Prometheus's notation, read by `parse` (of `model::duration`, usually).
    pub fn duration<E: fmt::Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<Duration, E>,
    ) -> Option<Duration> {
        self.parsed(name, parse)
    }

    /// The items of a field that is a list; an absent field is an empty list.
    pub fn list(&mut self, name: &'static str) -> &'a [Node] {
        let Some(node) = self.node(name) else { return &[] };
        match &node.kind {
            Kind::Seq(items) => items,
            other => {
                self.problem(node, format!("`{name}` must be a list, found {}", other.what()));
                &[]
            }
        }
    }

    /// The items of a field that is a list of single values, as written, each with its node.
    pub fn texts(&mut self, name: &'static str) -> Vec<(&'a Node, &'a str)> {
        self.list(name).iter().filter_map(|node| Some((node, self.scalar(name, node)?))).collect()
    }

    /// The entries of a field that maps names to single values (labels, annotations), as written.
    pub fn text_map(&mut self, name: &'static str) -> Vec<(&'a Node, &'a Node)> {
        let Some(node) = self.node(name) else { return Vec::new() };
        match &node.kind {
            Kind::Map(entries) => entries
                .iter()
                .filter(|(key, value)| {
                    self.scalar(name, key).is_some()
                        && (value.is_null() || self.scalar(name, value).is_some())
                })
                .map(|(key, value)| (key, value))
                .collect(),
            other => {
                self.problem(node, format!("`{name}` must map names to values, found {}", other.what()));
                Vec::new()
            }
        }
    }

    /// A field that is a mapping itself. Read it through the returned node with [`MapReader::new`].
    pub fn child<'b>(&'b mut self, name: &'static str) -> Option<MapReader<'b>>
    where
        'a: 'b,
    {
        let node = self.node(name)?;
        MapReader::new(self.doc, node, self.problems)
    }

    /// A reader for an item of a list.
    pub fn item<'b>(&'b mut self, node: &'b Node) -> Option<MapReader<'b>>
    where
        'a: 'b,
    {
        MapReader::new(self.doc, node, self.problems)
    }

    /// Notes every field that nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.entries {
            let Some(name) = key.text() else {
                self.problems.push(self.doc.problem(key, "a field name must be a single value"));
                continue;
            };
            if !self.asked.contains(name) {
                let mut problem = self.doc.problem(key, format!("unknown field `{name}`"));
                let known: Vec<&str> = self.asked.iter().copied().collect();
                problem.help = Some(match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known fields here: {}", known.join(", ")),
                });
                self.problems.push(problem);
            }
        }
    }
}

#[cfg(test)]
mod tests;

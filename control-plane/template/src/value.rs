//! What templates compute with.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::{SignedDuration, Zoned};

use crate::context::CallError;

/// A value. Cheap to clone.
///
/// Equality is structural and for tests; templates compare with `eq`, which follows Go.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    #[default]
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Arc<str>),
    /// Text that was declared safe for a context of HTML; elsewhere just text.
    Safe(Safe, Arc<str>),
    List(List),
    Map(Map),
    Struct(Arc<Struct>),
    Time(Arc<Zoned>),
    Duration(SignedDuration),
    /// A value with a name and methods of its own.
    Typed(Arc<Typed>),
}

/// For which context a text was declared safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safe {
    Html,
    Url,
}

/// A list. Knows how deep it nests, so that no template can build what cannot be printed or dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    items: Arc<[Value]>,
    depth: usize,
}

/// A map from text to values, in the order of its keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Map {
    inner: Arc<MapInner>,
    depth: usize,
}

#[derive(Debug, PartialEq)]
struct MapInner {
    entries: BTreeMap<String, Value>,
    /// What an absent key gives: empty text in a map of texts, nil in a map of anything.
    missing: Value,
}

/// Named fields, like a Go struct: an unknown field is an error, not a missing value.
#[derive(Debug, PartialEq)]
pub struct Struct {
    pub type_name: &'static str,
    pub fields: Vec<Field>,
}

/// One field; `json` is its name in `toJson`.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: &'static str,
    pub json: &'static str,
    pub value: Value,
}

/// Methods of a [`Typed`] value: the value, the method's name, the arguments. `None`: there is no such method.
pub type Methods = Arc<dyn Fn(&Value, &str, &[Value]) -> Option<Result<Value, CallError>> + Send + Sync>;

/// A value with methods; fields, printing, `range` and `len` are those of what it wraps.
pub struct Typed {
    pub type_name: &'static str,
    pub value: Value,
    pub methods: Methods,
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(self.type_name).field(&self.value).finish()
    }
}

impl PartialEq for Typed {
    fn eq(&self, other: &Self) -> bool {
        self.type_name == other.type_name && self.value == other.value
    }
}

/// How deep values that templates build may nest.
pub(crate) const MAX_VALUE_DEPTH: usize = 24;

impl List {
    pub fn new(items: impl Into<Arc<[Value]>>) -> Self {
        let items = items.into();
        let depth = 1 + items.iter().map(Value::depth).max().unwrap_or(0);
        List { items, depth }
    }

    pub fn items(&self) -> &[Value] {
        &self.items
    }
}

impl Map {
    /// A map of texts: an absent key gives the empty text, as with labels.
    pub fn of_text<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let entries = pairs.into_iter().map(|(k, v)| (k.into(), Value::str(v.into()))).collect();
        Map::build(entries, Value::str(""))
    }

    /// A map of anything: an absent key gives nil.
    pub fn of_values(entries: BTreeMap<String, Value>) -> Self {
        Map::build(entries, Value::Nil)
    }

    fn build(entries: BTreeMap<String, Value>, missing: Value) -> Self {
        let depth = 1 + entries.values().map(Value::depth).max().unwrap_or(0);
        Map { inner: Arc::new(MapInner { entries, missing }), depth }
    }

    pub fn entries(&self) -> &BTreeMap<String, Value> {
        &self.inner.entries
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.inner.entries.get(key)
    }

    pub(crate) fn missing(&self) -> &Value {
        &self.inner.missing
    }
}

impl Value {
    pub fn str(text: impl Into<Arc<str>>) -> Self {
        Value::Str(text.into())
    }

    pub fn list(items: impl Into<Arc<[Value]>>) -> Self {
        Value::List(List::new(items))
    }

    pub fn typed(type_name: &'static str, value: Value, methods: Methods) -> Self {
        Value::Typed(Arc::new(Typed { type_name, value, methods }))
    }

    /// JSON as Go decodes it, but with whole numbers as integers.
    pub fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as J;
        match json {
            J::Null => Value::Nil,
            J::Bool(b) => Value::Bool(*b),
            J::Number(n) => {
                n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or(f64::NAN)), Value::Int)
            }
            J::String(s) => Value::str(s.as_str()),
            J::Array(items) => Value::list(items.iter().map(Value::from_json).collect::<Vec<_>>()),
            J::Object(fields) => Value::Map(Map::of_values(
                fields.iter().map(|(k, v)| (k.clone(), Value::from_json(v))).collect(),
            )),
        }
    }

    /// What lies under names and methods.
    pub fn base(&self) -> &Value {
        let mut value = self;
        while let Value::Typed(typed) = value {
            value = &typed.value;
        }
        value
    }

    pub(crate) fn depth(&self) -> usize {
        match self.base() {
            Value::List(list) => list.depth,
            Value::Map(map) => map.depth,
            Value::Struct(s) => 1 + s.fields.iter().map(|f| f.value.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The text of a string, however safe.
    pub(crate) fn text(&self) -> Option<&Arc<str>> {
        match self.base() {
            Value::Str(text) | Value::Safe(_, text) => Some(text),
            _ => None,
        }
    }

    /// Go's truth: zero, empty and nil are false.
    pub fn truth(&self) -> bool {
        match self.base() {
            Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(n) => *n != 0,
            Value::Float(v) => *v != 0.0,
            Value::Str(t) | Value::Safe(_, t) => !t.is_empty(),
            Value::List(list) => !list.items.is_empty(),
            Value::Map(map) => !map.entries().is_empty(),
            Value::Duration(d) => !d.is_zero(),
            Value::Struct(_) | Value::Time(_) | Value::Typed(_) => true,
        }
    }

    /// The type, as messages and `%T` name it.
    pub(crate) fn type_name(&self) -> &str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Str(_) => "string",
            Value::Safe(Safe::Html, _) => "template.HTML",
            Value::Safe(Safe::Url, _) => "template.URL",
            Value::List(_) => "[]interface {}",
            Value::Map(map) if *map.missing() == Value::Nil => "map[string]interface {}",
            Value::Map(_) => "map[string]string",
            Value::Struct(s) => s.type_name,
            Value::Time(_) => "time.Time",
            Value::Duration(_) => "time.Duration",
            Value::Typed(typed) => typed.type_name,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::str(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::str(text)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}

impl From<f64> for Value {
    fn from(v: f64) -> Self {
        Value::Float(v)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Value::Int(n)
    }
}

//! Documents behind a trait that is narrower than any database, so that every implementation can be exact.
//!
//! A document is a JSON object with an id and a revision. A [`Collection`] declares the scalar fields that may
//! be filtered, sorted or unique; everything else in a document is only kept. Filters are conjunctions of
//! equality, membership and range on declared fields. Sorting is by one declared, required field, ties broken
//! by id; pages go on after the last document seen. A document without a field matches no filter on it.
//!
//! Not here, on purpose: arrays as values, comparisons across types, transactions over several documents.
//! Coming with what needs them: time to live, leases.

mod sqlite;

pub use sqlite::Sqlite;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use std::fmt;

/// A document's content.
pub type Body = Map<String, Value>;

/// Answers of a [`DocumentStore`].
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The type of a declared field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Compared byte by byte.
    Text,
    /// 64 bits, signed.
    Int,
    Bool,
}

/// A field that may be filtered.
#[derive(Debug, Clone, Copy)]
pub struct FieldDef {
    pub name: &'static str,
    pub kind: Kind,
    /// Every document has it; only such fields can be sorted by.
    pub required: bool,
    /// No two documents have the same value.
    pub unique: bool,
}

/// A set of documents of one kind.
#[derive(Debug)]
pub struct Collection {
    pub name: &'static str,
    pub fields: &'static [FieldDef],
}

/// A value of a declared field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    Text(String),
    Int(i64),
    Bool(bool),
}

impl Scalar {
    fn kind(&self) -> Kind {
        match self {
            Scalar::Text(_) => Kind::Text,
            Scalar::Int(_) => Kind::Int,
            Scalar::Bool(_) => Kind::Bool,
        }
    }

    fn of(value: &Value) -> Option<Scalar> {
        match value {
            Value::String(text) => Some(Scalar::Text(text.clone())),
            Value::Bool(b) => Some(Scalar::Bool(*b)),
            Value::Number(n) => n.as_i64().map(Scalar::Int),
            _ => None,
        }
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Scalar::Text(text.to_owned())
    }
}

impl From<i64> for Scalar {
    fn from(n: i64) -> Self {
        Scalar::Int(n)
    }
}

impl From<bool> for Scalar {
    fn from(b: bool) -> Self {
        Scalar::Bool(b)
    }
}

/// What a field must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Is(Scalar),
    In(Vec<Scalar>),
    /// From the first, inclusive, to the second, exclusive.
    Range(Option<Scalar>, Option<Scalar>),
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    pub field: &'static str,
    pub test: Test,
}

impl Filter {
    pub fn is(field: &'static str, value: impl Into<Scalar>) -> Self {
        Filter { field, test: Test::Is(value.into()) }
    }

    pub fn at_least(field: &'static str, value: impl Into<Scalar>) -> Self {
        Filter { field, test: Test::Range(Some(value.into()), None) }
    }
}

/// Which documents, in which order, from where.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    pub filters: Vec<Filter>,
    /// A declared, required field; `None`: by id.
    pub sort: Option<&'static str>,
    pub descending: bool,
    /// The last document of the page before: its sort value (absent when by id), and its id.
    pub after: Option<(Option<Scalar>, String)>,
    /// At most this many; never more than [`MAX_PAGE`].
    pub limit: usize,
}

/// The most documents of one page.
pub const MAX_PAGE: usize = 500;

/// The most bytes of one document.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// A stored document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub id: String,
    /// 1 when inserted, one more with every change.
    pub revision: i64,
    pub body: Body,
}

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{collection} already has a document with this {field}")]
    Duplicate { collection: &'static str, field: String },
    #[error("{collection} has no document {id}")]
    Missing { collection: &'static str, id: String },
    #[error("the document {id} of {collection} was changed in the meantime")]
    Conflict { collection: &'static str, id: String },
    #[error("{0}")]
    Invalid(String),
    #[error("the store does not work")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where documents are.
pub trait DocumentStore: Send + Sync + fmt::Debug {
    /// Makes the collection and its indexes when they are missing.
    fn ensure(&self, collection: &'static Collection) -> Answer<'_, ()>;

    /// Adds a document.
    fn insert(&self, collection: &'static Collection, id: String, body: Body) -> Answer<'_, Document>;

    fn get(&self, collection: &'static Collection, id: String) -> Answer<'_, Option<Document>>;

    /// Replaces a document that still has this revision.
    fn replace(
        &self,
        collection: &'static Collection,
        id: String,
        revision: i64,
        body: Body,
    ) -> Answer<'_, Document>;

    /// Removes a document. Says whether it was there.
    fn delete(&self, collection: &'static Collection, id: String) -> Answer<'_, bool>;

    fn find(&self, collection: &'static Collection, query: Query) -> Answer<'_, Vec<Document>>;

    fn count(&self, collection: &'static Collection, filters: Vec<Filter>) -> Answer<'_, u64>;

    /// Adds to a declared integer field, atomically; an absent one counts as zero. Gives the new value.
    fn increment(
        &self,
        collection: &'static Collection,
        id: String,
        field: &'static str,
        by: i64,
    ) -> Answer<'_, i64>;

    /// Whether it works; the error is for a health report.
    fn ping(&self) -> Answer<'_, ()>;

    /// `sqlite`
    fn kind(&self) -> &'static str;
}

impl Collection {
    pub(crate) fn field(&self, name: &str) -> Option<&'static FieldDef> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// Refuses what any implementation might understand differently.
    pub(crate) fn check_filters(&self, filters: &[Filter]) -> Result<(), StoreError> {
        for filter in filters {
            let def = self.field(filter.field).ok_or_else(|| self.undeclared(filter.field))?;
            let values: Vec<&Scalar> = match &filter.test {
                Test::Is(v) => vec![v],
                Test::In(all) => all.iter().collect(),
                Test::Range(from, to) => from.iter().chain(to).collect(),
            };
            if let Some(other) = values.iter().find(|v| v.kind() != def.kind) {
                let message = format!("{}.{} is {:?}, not {:?}", self.name, def.name, def.kind, other.kind());
                return Err(StoreError::Invalid(message));
            }
        }
        Ok(())
    }

    pub(crate) fn check_query(&self, query: &Query) -> Result<(), StoreError> {
        self.check_filters(&query.filters)?;
        let Some(sort) = query.sort else {
            return match &query.after {
                Some((Some(_), _)) => Err(StoreError::Invalid("the page does not fit the order".into())),
                _ => Ok(()),
            };
        };
        let def = self.field(sort).ok_or_else(|| self.undeclared(sort))?;
        if !def.required {
            return Err(StoreError::Invalid(format!("{}.{sort} may be absent: no sorting by it", self.name)));
        }
        match &query.after {
            Some((value, _)) if value.as_ref().map(Scalar::kind) != Some(def.kind) => {
                Err(StoreError::Invalid("the page does not fit the order".into()))
            }
            _ => Ok(()),
        }
    }

    /// The body as text, when its declared fields are what they are declared to be.
    pub(crate) fn check_body(&self, body: &Body) -> Result<String, StoreError> {
        for def in self.fields {
            match body.get(def.name) {
                None if def.required => {
                    return Err(StoreError::Invalid(format!("{}.{} is missing", self.name, def.name)));
                }
                None => {}
                Some(value) if Scalar::of(value).is_some_and(|s| s.kind() == def.kind) => {}
                Some(_) => {
                    let message = format!("{}.{} must be {:?}", self.name, def.name, def.kind);
                    return Err(StoreError::Invalid(message));
                }
            }
        }
        let text = serde_json::to_string(body).map_err(|e| StoreError::Broken(e.into()))?;
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(StoreError::Invalid(format!("a document has at most {MAX_DOCUMENT_BYTES} bytes")));
        }
        Ok(text)
    }

    pub(crate) fn check_counter(&self, field: &str) -> Result<(), StoreError> {
        match self.field(field) {
            Some(def) if def.kind == Kind::Int && !def.unique => Ok(()),
            Some(_) => Err(StoreError::Invalid(format!("{}.{field} is no counter", self.name))),
            None => Err(self.undeclared(field)),
        }
    }

    fn undeclared(&self, field: &str) -> StoreError {
        StoreError::Invalid(format!("{}.{field} is not declared", self.name))
    }
}

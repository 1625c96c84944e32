//! Documents in SQLite: a table a collection, JSON text, indexes on expressions.
//!
//! One connection writes; a few read. WAL, and every commit is on disk (`synchronous=FULL`) before it is
//! answered. Calls block, so they run on tokio's blocking threads, a bounded number at a time.

use super::{
    Answer, Body, Collection, Document, DocumentStore, Filter, MAX_PAGE, Query, Scalar, StoreError, Test,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params_from_iter, types::Value as Sql};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;

const READERS: usize = 3;

/// Calls that wait or run at once.
const MOST_CALLS: usize = 64;

/// The layout of the file, in `user_version`.
const FORMAT: i64 = 1;

/// A store in one file.
#[derive(Debug, Clone)]
pub struct Sqlite(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    writer: Mutex<Connection>,
    readers: Vec<Mutex<Connection>>,
    next: std::sync::atomic::AtomicUsize,
    calls: Semaphore,
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Broken(error.into())
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path).map_err(broken)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(broken)?;
    connection
        .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF;")
        .map_err(broken)?;
    Ok(connection)
}

impl Sqlite {
    /// Opens or makes the file. Blocking, and meant for the start of the process.
    ///
    /// # Errors
    /// When the file cannot be opened, or was written by a later version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let writer = open(path)?;
        let found: i64 = writer.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(broken)?;
        if found > FORMAT {
            return Err(StoreError::Invalid(format!(
                "{} has format {found}; this version reads {FORMAT}: use the newer version that wrote it",
                path.display()
            )));
        }
        writer.pragma_update(None, "user_version", FORMAT).map_err(broken)?;
        let readers = (0..READERS).map(|_| open(path).map(Mutex::new)).collect::<Result<_, _>>()?;
        Ok(Sqlite(Arc::new(Inner {
            writer: Mutex::new(writer),
            readers,
            next: std::sync::atomic::AtomicUsize::new(0),
            calls: Semaphore::new(MOST_CALLS),
        })))
    }

    fn run<T: Send + 'static>(
        &self,
        writes: bool,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let _place = self.0.calls.acquire().await.map_err(broken)?;
            let done = tokio::task::spawn_blocking(move || {
                let connection = if writes {
                    &inner.writer
                } else {
                    let next = inner.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    &inner.readers[next % READERS]
                };
                work(&connection.lock().unwrap_or_else(PoisonError::into_inner))
            });
            done.await.map_err(broken)?
        })
    }
}

/// Names come from our own declarations, but an index is still the wrong place for a surprise.
fn safe(name: &str) -> &str {
    debug_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{name}");
    name
}

fn expression(field: &str) -> String {
    format!("json_extract(body, '$.{}')", safe(field))
}

fn to_sql(value: &Scalar) -> Sql {
    match value {
        Scalar::Text(text) => Sql::Text(text.clone()),
        Scalar::Int(n) => Sql::Integer(*n),
        Scalar::Bool(b) => Sql::Integer(i64::from(*b)),
    }
}

/// `WHERE ...` and its values; empty without conditions.
fn conditions(filters: &[Filter], values: &mut Vec<Sql>) -> Vec<String> {
    let mut all = Vec::new();
    for filter in filters {
        let field = expression(filter.field);
        match &filter.test {
            Test::Is(value) => {
                values.push(to_sql(value));
                all.push(format!("{field} = ?"));
            }
            Test::In(list) => {
                values.extend(list.iter().map(to_sql));
                all.push(format!("{field} IN ({})", vec!["?"; list.len()].join(",")));
            }
            Test::Range(from, to) => {
                all.push(format!("{field} IS NOT NULL"));
                for (bound, sign) in [(from, ">="), (to, "<")] {
                    if let Some(value) = bound {
                        values.push(to_sql(value));
                        all.push(format!("{field} {sign} ?"));
                    }
                }
            }
        }
    }
    all
}

fn where_clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

fn document(row: &Row<'_>) -> rusqlite::Result<(String, i64, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn parsed((id, revision, text): (String, i64, String)) -> Result<Document, StoreError> {
    Ok(Document { id, revision, body: serde_json::from_str(&text).map_err(broken)? })
}

/// What a failed write means.
fn refused(collection: &'static Collection, error: rusqlite::Error) -> StoreError {
    let rusqlite::Error::SqliteFailure(code, message) = &error else { return broken(error) };
    if code.code != ErrorCode::ConstraintViolation {
        return broken(error);
    }
    let message = message.as_deref().unwrap_or_default();
    let field = collection
        .fields
        .iter()
        .find(|f| f.unique && message.contains(&format!("{}__{}", collection.name, f.name)))
        .map_or("id", |f| f.name);
    StoreError::Duplicate { collection: collection.name, field: field.to_owned() }
}

fn one(connection: &Connection, collection: &Collection, id: &str) -> Result<Option<Document>, StoreError> {
    let sql = format!("SELECT id, revision, body FROM {} WHERE id = ?", safe(collection.name));
    let mut statement = connection.prepare_cached(&sql).map_err(broken)?;
    let row = statement.query_row([id], document).optional().map_err(broken)?;
    row.map(parsed).transpose()
}

impl DocumentStore for Sqlite {
    fn ensure(&self, collection: &'static Collection) -> Answer<'_, ()> {
        self.run(true, move |connection| {
            let name = safe(collection.name);
            let mut sql = format!(
                "CREATE TABLE IF NOT EXISTS {name} (id TEXT PRIMARY KEY, revision INTEGER NOT NULL, \
                 body TEXT NOT NULL) STRICT, WITHOUT ROWID;"
            );
            for field in collection.fields {
                let expression = expression(field.name);
                // With the id in it a unique index would never see two equal values.
                let (unique, tail) = if field.unique { ("UNIQUE ", "") } else { ("", ", id") };
                sql.push_str(&format!(
                    "CREATE {unique}INDEX IF NOT EXISTS {name}__{} ON {name} ({expression}{tail});",
                    safe(field.name)
                ));
            }
            connection.execute_batch(&format!("BEGIN; {sql} COMMIT;")).map_err(broken)
        })
    }

    fn insert(&self, collection: &'static Collection, id: String, body: Body) -> Answer<'_, Document> {
        self.run(true, move |connection| {
            let text = collection.check_body(&body)?;
            let sql = format!("INSERT INTO {} (id, revision, body) VALUES (?, 1, ?)", safe(collection.name));
            let mut statement = connection.prepare_cached(&sql).map_err(broken)?;
            statement.execute([&id, &text]).map_err(|e| refused(collection, e))?;
            Ok(Document { id, revision: 1, body })
        })
    }

    fn get(&self, collection: &'static Collection, id: String) -> Answer<'_, Option<Document>> {
        self.run(false, move |connection| one(connection, collection, &id))
    }

    fn replace(
        &self,
        collection: &'static Collection,
        id: String,
        revision: i64,
        body: Body,
    ) -> Answer<'_, Document> {
        self.run(true, move |connection| {
            let text = collection.check_body(&body)?;
            let sql = format!(
                "UPDATE {} SET revision = revision + 1, body = ? WHERE id = ? AND revision = ?",
                safe(collection.name)
            );
            let mut statement = connection.prepare_cached(&sql).map_err(broken)?;
            let changed = statement.execute((&text, &id, revision)).map_err(|e| refused(collection, e))?;
            if changed == 1 {
                return Ok(Document { id, revision: revision + 1, body });
            }
            Err(match one(connection, collection, &id)? {
                Some(_) => StoreError::Conflict { collection: collection.name, id },
                None => StoreError::Missing { collection: collection.name, id },
            })
        })
    }

    fn delete(&self, collection: &'static Collection, id: String) -> Answer<'_, bool> {
        self.run(true, move |connection| {
            let sql = format!("DELETE FROM {} WHERE id = ?", safe(collection.name));
            connection.execute(&sql, [&id]).map(|n| n == 1).map_err(broken)
        })
    }

    fn find(&self, collection: &'static Collection, query: Query) -> Answer<'_, Vec<Document>> {
        self.run(false, move |connection| {
            collection.check_query(&query)?;
            let mut values = Vec::new();
            let mut all = conditions(&query.filters, &mut values);
            let (direction, beyond) = if query.descending { ("DESC", "<") } else { ("ASC", ">") };
            if let Some((value, id)) = &query.after {
                match (query.sort, value) {
                    (Some(sort), Some(value)) => {
                        all.push(format!("({}, id) {beyond} (?, ?)", expression(sort)));
                        values.push(to_sql(value));
                    }
                    _ => all.push(format!("id {beyond} ?")),
                }
                values.push(Sql::Text(id.clone()));
            }
            let order = match query.sort {
                Some(sort) => format!("{} {direction}, id {direction}", expression(sort)),
                None => format!("id {direction}"),
            };
            let sql = format!(
                "SELECT id, revision, body FROM {}{} ORDER BY {order} LIMIT {}",
                safe(collection.name),
                where_clause(&all),
                query.limit.min(MAX_PAGE),
            );
            let mut statement = connection.prepare_cached(&sql).map_err(broken)?;
            let rows = statement.query_map(params_from_iter(values), document).map_err(broken)?;
            rows.map(|row| row.map_err(broken).and_then(parsed)).collect()
        })
    }

    fn count(&self, collection: &'static Collection, filters: Vec<Filter>) -> Answer<'_, u64> {
        self.run(false, move |connection| {
            collection.check_filters(&filters)?;
            let mut values = Vec::new();
            let all = conditions(&filters, &mut values);
            let sql = format!("SELECT count(*) FROM {}{}", safe(collection.name), where_clause(&all));
            let mut statement = connection.prepare_cached(&sql).map_err(broken)?;
            let count: i64 =
                statement.query_row(params_from_iter(values), |row| row.get(0)).map_err(broken)?;
            u64::try_from(count).map_err(broken)
        })
    }

    fn increment(
        &self,
        collection: &'static Collection,
        id: String,
        field: &'static str,
        by: i64,
    ) -> Answer<'_, i64> {
        self.run(true, move |connection| {
            collection.check_counter(field)?;
            let (name, expression) = (safe(collection.name), expression(field));
            let sql = format!(
                "UPDATE {name} SET revision = revision + 1, \
                 body = json_set(body, '$.{field}', coalesce({expression}, 0) + ?1) WHERE id = ?2 \
                 RETURNING {expression}"
            );
            let mut statement = connection.prepare_cached(&sql).map_err(broken)?;
            let value = statement.query_row((by, &id), |row| row.get(0)).optional().map_err(broken)?;
            value.ok_or(StoreError::Missing { collection: collection.name, id })
        })
    }

    fn ping(&self) -> Answer<'_, ()> {
        self.run(true, |connection| {
            // Asks for the lock that a write needs, and gives it back.
            connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK;").map_err(broken)
        })
    }

    fn kind(&self) -> &'static str {
        "sqlite"
    }
}

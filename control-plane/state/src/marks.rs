//! Marks: small values that must outlive the process, such as the clock's high-water mark.

use crate::engine::{Pending, State, StateError, Tables};
use rusqlite::OptionalExtension;

pub(crate) const TABLES: Tables = Tables {
    module: "marks",
    steps: &["CREATE TABLE marks (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT"],
};

impl State {
    /// The value under `name`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn mark(&self, name: &str) -> Result<Option<String>, StateError> {
        self.read(|c| {
            Ok(c.query_row("SELECT value FROM marks WHERE name = ?1", [name], |row| row.get(0)).optional()?)
        })
    }

    /// Sets the value under `name`.
    pub fn set_mark(&self, name: &str, value: impl Into<String>) -> Pending<()> {
        let (name, value) = (name.to_owned(), value.into());
        self.write(move |c| {
            c.execute("INSERT OR REPLACE INTO marks VALUES (?1, ?2)", (&name, &value))?;
            Ok(())
        })
    }
}

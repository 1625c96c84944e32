//! Groups: series that are written together, one column each.

use super::matrix::Matrix;
use crate::row::{Rows, State, States, Written};
use model::Timestamp;
use std::sync::Arc;

/// Rows that are gathered before they become columns.
const MAX_ROWS: usize = 64;
/// Columns of one group; what comes with more is several groups.
pub(crate) const MAX_COLUMNS: usize = 4096;
/// Fewer series than this are not worth a group.
pub(super) const MIN_COLUMNS: usize = 4;
/// Rows in another order than the group's until it is made anew in theirs.
const PATIENCE: u32 = 8;

/// What readers take away of a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    pub(crate) sealed: Vec<Arc<Matrix>>,
    pub(crate) rows: Rows,
}

impl Shared {
    pub(crate) fn range(&self) -> Option<(Timestamp, Timestamp)> {
        let sealed = self.sealed.first().map(|m| m.range().0).zip(self.sealed.last().map(|m| m.range().1));
        match (sealed, self.rows.range()) {
            (Some((min, _)), Some((_, max))) => Some((min, max)),
            (range, None) | (None, range) => range,
        }
    }

    /// Whether a column has any sample.
    pub(super) fn has(&self, column: usize) -> bool {
        let mut found = self.sealed.iter().any(|m| m.has(column));
        // What does not decode is there, and says so when it is read.
        let read = self.rows.column(column, |_, _| {
            found = true;
            false
        });
        found || read.is_err()
    }
}

/// A row for the log.
#[derive(Debug, Clone)]
pub(crate) struct LoggedRow {
    pub(crate) group: u32,
    /// The series of the columns that the row before did not have; 0 for a column that nobody has any more.
    pub(crate) added: Vec<u64>,
    pub(crate) written: Written,
}

#[derive(Debug)]
pub(crate) struct Group {
    /// The series of each column; 0 when it has left.
    pub(super) ids: Vec<u64>,
    pub(super) live: usize,
    /// Time of the last row.
    pub(super) last: Timestamp,
    pub(super) shared: Arc<Shared>,
    states: States,
    /// Whether the next row must not be told from those before: they were read back from the log.
    fresh: bool,
    misfits: u32,
    /// A row of the log was not there: what is told from it is not believed.
    broken: bool,
}

impl Group {
    pub(super) fn new(ids: Vec<u64>) -> Group {
        let live = ids.iter().filter(|id| **id != 0).count();
        Group {
            ids,
            live,
            last: Timestamp::MIN,
            shared: Arc::default(),
            states: States::default(),
            fresh: true,
            misfits: 0,
            broken: false,
        }
    }

    /// Whether these are exactly its columns, in their order.
    pub(super) fn is(&self, series: &[model::SeriesRef]) -> bool {
        series.len() == self.ids.len() && series.iter().zip(&self.ids).all(|(s, id)| s.0 == *id)
    }

    /// Where a column stands after the last row, unless that row was read back from the log.
    pub(super) fn now(&self, column: u32) -> Option<State> {
        if self.fresh { None } else { self.states.now(column as usize) }
    }

    /// Adds a row, which is later than all others; `window` is the length of a block.
    pub(super) fn push(&mut self, number: u32, at: Timestamp, values: &[f64], window: i64) -> LoggedRow {
        let border = |t: Timestamp| t.div_euclid(window);
        let full = match self.shared.rows.range() {
            Some((first, _)) => self.shared.rows.len() >= MAX_ROWS || border(first) != border(at),
            None => true,
        };
        if full || self.fresh {
            self.seal();
            self.states.restart();
            self.fresh = false;
        }
        let (row, written) = self.states.encode(at, self.shared.rows.len(), values);
        let added = self.ids.get(self.shared.rows.columns()..).unwrap_or_default().to_vec();
        Arc::make_mut(&mut self.shared).rows.push(Arc::new(row));
        self.last = at;
        LoggedRow { group: number, added, written }
    }

    /// Takes a row back from the log. `false` when it does not follow what is there.
    pub(super) fn restore(&mut self, written: &Written) -> bool {
        if written.place == 0 {
            self.seal();
            self.broken = false;
        }
        let rows = &self.shared.rows;
        let follows = !self.broken
            && rows.len() == written.place
            && written.columns == self.ids.len()
            && written.at > self.last;
        let Some(row) = follows.then(|| self.states.restore(written).ok()).flatten() else {
            self.broken = true;
            return false;
        };
        self.last = row.at;
        self.fresh = true;
        Arc::make_mut(&mut self.shared).rows.push(Arc::new(row));
        true
    }

    pub(super) fn restore_sealed(&mut self, matrix: Matrix) {
        self.last = self.last.max(matrix.range().1);
        Arc::make_mut(&mut self.shared).sealed.push(Arc::new(matrix));
    }

    /// Turns the rows into columns.
    pub(super) fn seal(&mut self) {
        if self.shared.rows.is_empty() {
            return;
        }
        let shared = Arc::make_mut(&mut self.shared);
        // Rows are encoded here or were checked when they were read; what could still be wrong is lost alone.
        if let Ok(matrix) = Matrix::seal(&shared.rows) {
            shared.sealed.push(Arc::new(matrix));
        }
        shared.rows = Rows::default();
        self.fresh = true;
    }

    /// Notes a row that came in the group's order.
    pub(super) fn fits(&mut self) {
        self.misfits = 0;
    }

    /// Notes a row whose columns came in another order, or not all; `true` when that has gone on for long.
    pub(super) fn misfit(&mut self) -> bool {
        self.misfits += 1;
        self.misfits > PATIENCE
    }

    /// Forgets what ends before `time`.
    pub(super) fn drop_before(&mut self, time: Timestamp) {
        let rows_end = self.shared.rows.range().is_some_and(|(_, max)| max < time);
        if rows_end || self.shared.sealed.first().is_some_and(|m| m.range().1 < time) {
            let shared = Arc::make_mut(&mut self.shared);
            shared.sealed.retain(|m| m.range().1 >= time);
            shared.sealed.shrink_to_fit();
            if rows_end {
                shared.rows = Rows::default();
                self.fresh = true;
            }
        }
    }
}

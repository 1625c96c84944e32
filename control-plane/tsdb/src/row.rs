//! Rows: the samples of many series at one time, each told from what the series had before.
//!
//! What is scraped together is kept together: the series of a target are the columns, a scrape is a row, and the
//! row has one time for all. Rows of the same columns follow each other in [`Rows`]; the first tells every
//! number from zero, each later one from the row before. They are both what the log holds and what readers
//! read, until enough of them are turned into columns. `FORMAT.md`, "Row", has the bytes.

use crate::{
    bytes::{Malformed, Reader},
    decimal,
    pack::{self, BLOCK, Packed, Slot},
    rice::{self, Guess},
};
use model::{STALE_NAN_BITS, Timestamp};
use std::sync::Arc;

/// Says in a row of numbers that a column has none. No scrape makes these bits; a sample that has them all the
/// same is kept outside of rows.
pub(crate) const ABSENT: f64 = f64::from_bits(0x7ff4_9e3b_52c1_a0d7);

/// The exponent of a column whose numbers are no decimals: its numbers are the bits of floats.
pub(crate) const RAW: u8 = u8::MAX;

/// What the next number of a column is told from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) m: i64,
    pub(crate) e: u8,
}

impl State {
    /// How `v` is written after what came before.
    #[inline]
    fn step(&mut self, v: f64) -> Slot {
        let bits = v.to_bits();
        if self.e != RAW
            && let Some(m) = decimal::scaled(v, self.e)
        {
            let change = m.wrapping_sub(self.m);
            self.m = m;
            return Slot::Number(change);
        }
        if bits == ABSENT.to_bits() {
            Slot::Absent
        } else if bits == STALE_NAN_BITS {
            Slot::Stale
        } else if self.e == RAW {
            let change = bits.cast_signed().wrapping_sub(self.m);
            self.m = bits.cast_signed();
            Slot::Number(change)
        } else if !v.is_finite() || v == 0.0 {
            // Minus zero, infinities and other NaNs are guests.
            Slot::Keep(bits)
        } else {
            self.reset(v);
            Slot::Reset(bits)
        }
    }

    #[inline]
    fn number(self) -> f64 {
        if self.e == RAW { f64::from_bits(self.m.cast_unsigned()) } else { decimal::number(self.m, self.e) }
    }

    fn reset(&mut self, v: f64) {
        let from = if self.e == RAW { 0 } else { self.e };
        let (m, e) = decimal::find(v, from).unwrap_or((v.to_bits().cast_signed(), RAW));
        *self = State { m, e };
    }

    /// The number that a slot stands for, [`ABSENT`] for none.
    #[inline]
    pub(crate) fn apply(&mut self, slot: Slot) -> f64 {
        match slot {
            Slot::Number(change) => {
                self.m = self.m.wrapping_add(change);
                self.number()
            }
            Slot::Absent => ABSENT,
            Slot::Stale => f64::from_bits(STALE_NAN_BITS),
            Slot::Keep(bits) => f64::from_bits(bits),
            Slot::Reset(bits) => {
                self.reset(f64::from_bits(bits));
                f64::from_bits(bits)
            }
        }
    }
}

/// Where a row's numbers are told from: one state a column.
#[derive(Debug, Clone, Default)]
pub(crate) struct States {
    m: Vec<i64>,
    e: Vec<u8>,
    /// How rows are told in the log.
    guesses: Vec<Guess>,
}

/// How a row's bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As in memory: packed blocks.
    Packed,
    /// As the log tells a row that follows another.
    Told,
}

/// A row as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) at: Timestamp,
    /// Its place among the rows that are told from each other.
    pub(crate) place: usize,
    pub(crate) columns: usize,
    pub(crate) form: Form,
    pub(crate) bytes: Vec<u8>,
}

impl States {
    pub(crate) fn restart(&mut self) {
        self.m.fill(0);
        self.e.fill(0);
        self.guesses.fill(Guess::default());
    }

    fn grow_guesses(&mut self, columns: usize) {
        if columns > self.guesses.len() {
            self.guesses.reserve_exact(columns - self.guesses.len());
            self.guesses.resize(columns, Guess::default());
        }
    }

    /// Takes back a row that the log has. Rows come in their order; the one at place 0 is told from nothing.
    pub(crate) fn restore(&mut self, written: &Written) -> Result<Row, Malformed> {
        if written.place == 0 {
            self.guesses.fill(Guess::default());
        }
        self.grow_guesses(written.columns);
        let Written { at, columns, bytes, .. } = written;
        if written.form == Form::Packed {
            let row = Row::read(*at, *columns, bytes)?;
            if written.place > 0 {
                row.each(|column, slot| {
                    if let Slot::Number(change) = slot {
                        self.guesses[column].learn(change);
                    }
                })?;
            }
            return Ok(row);
        }
        // A slot takes a bit at least.
        if written.place == 0 || *columns > bytes.len() * 8 {
            return Err(BAD);
        }
        let mut reader = rice::Reader::new(bytes);
        let mut packed = Vec::with_capacity(columns + 64);
        let mut ends = Vec::with_capacity(columns.div_ceil(BLOCK));
        let mut slots = [Slot::Absent; BLOCK];
        for guesses in self.guesses[..*columns].chunks_mut(BLOCK) {
            for (slot, guess) in slots.iter_mut().zip(guesses.iter_mut()) {
                *slot = reader.slot(guess)?;
            }
            pack::put(&mut packed, &slots[..guesses.len()]);
            ends.push(u32::try_from(packed.len()).map_err(|_| BAD)?);
        }
        if !reader.is_done() {
            return Err(BAD);
        }
        Ok(Row { at: *at, columns: *columns, bytes: packed.into(), ends: ends.into() })
    }

    fn get(&self, i: usize) -> State {
        State { m: self.m[i], e: self.e[i] }
    }

    /// Where a column stands after the last row that was encoded.
    pub(crate) fn now(&self, column: usize) -> Option<State> {
        Some(State { m: *self.m.get(column)?, e: *self.e.get(column)? })
    }

    fn set(&mut self, i: usize, s: State) {
        (self.m[i], self.e[i]) = (s.m, s.e);
    }

    /// Encodes a row, for memory and for the log; columns beyond those of the row before begin from zero. `place`
    /// is its place among the rows that are told from each other.
    pub(crate) fn encode(&mut self, at: Timestamp, place: usize, values: &[f64]) -> (Row, Written) {
        if values.len() > self.m.len() {
            // Exactly: there is one of these for each series that is written.
            self.m.reserve_exact(values.len() - self.m.len());
            self.e.reserve_exact(values.len() - self.e.len());
            self.m.resize(values.len(), 0);
            self.e.resize(values.len(), 0);
        }
        self.grow_guesses(values.len());
        let mut told = rice::Writer::with_capacity(if place > 0 { values.len() } else { 0 });
        let mut bytes = Vec::with_capacity(values.len() + 64);
        let mut ends = Vec::with_capacity(values.len().div_ceil(BLOCK));
        let mut slots = [Slot::Absent; BLOCK];
        for (b, block) in values.chunks(BLOCK).enumerate() {
            for (i, (slot, v)) in slots.iter_mut().zip(block).enumerate() {
                let place = b * BLOCK + i;
                let mut state = self.get(place);
                *slot = state.step(*v);
                self.set(place, state);
            }
            pack::put(&mut bytes, &slots[..block.len()]);
            ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            if place > 0 {
                let guesses = &mut self.guesses[b * BLOCK..b * BLOCK + block.len()];
                slots.iter().zip(guesses).for_each(|(slot, guess)| told.slot(*slot, guess));
            }
        }
        let columns = values.len();
        let row = Row { at, columns, bytes: bytes.into(), ends: ends.into() };
        let (form, bytes) =
            if place > 0 { (Form::Told, told.finish()) } else { (Form::Packed, row.bytes.to_vec()) };
        (row, Written { at, place, columns, form, bytes })
    }
}

/// The samples of some series at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) at: Timestamp,
    columns: usize,
    bytes: Box<[u8]>,
    /// Where each block ends in the bytes.
    ends: Box<[u32]>,
}

const BAD: Malformed = Malformed("row");

impl Row {
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes back what [`Row::bytes`] gave.
    pub(crate) fn read(at: Timestamp, columns: usize, bytes: &[u8]) -> Result<Row, Malformed> {
        // A block takes two bytes at least.
        if columns.div_ceil(BLOCK) > bytes.len() {
            return Err(BAD);
        }
        let mut r = Reader::new(bytes, "row");
        let mut ends = Vec::with_capacity(columns.div_ceil(BLOCK));
        let mut left = columns;
        while left > 0 {
            let n = left.min(BLOCK);
            Packed::next(&mut r, n)?;
            left -= n;
            ends.push(u32::try_from(bytes.len() - r.remaining()).map_err(|_| BAD)?);
        }
        if !r.is_empty() {
            return Err(BAD);
        }
        Ok(Row { at, columns, bytes: bytes.into(), ends: ends.into() })
    }

    /// Hands out every slot.
    fn each(&self, mut take: impl FnMut(usize, Slot)) -> Result<(), Malformed> {
        let mut slots = [Slot::Absent; BLOCK];
        for b in 0..self.ends.len() {
            let here = (self.columns - b * BLOCK).min(BLOCK);
            self.block(b)?.all(&mut slots[..here])?;
            slots[..here].iter().enumerate().for_each(|(i, slot)| take(b * BLOCK + i, *slot));
        }
        Ok(())
    }

    fn block(&self, b: usize) -> Result<Packed<'_>, Malformed> {
        let end = *self.ends.get(b).ok_or(BAD)? as usize;
        let begin = b.checked_sub(1).map_or(0, |b| self.ends[b] as usize);
        let bytes = self.bytes.get(begin..end).ok_or(BAD)?;
        Packed::read(bytes, (self.columns - b * BLOCK).min(BLOCK))
    }

    fn slot(&self, column: usize) -> Result<Slot, Malformed> {
        if column >= self.columns {
            return Ok(Slot::Absent);
        }
        self.block(column / BLOCK)?.get(column % BLOCK)
    }
}

/// Reads rows that follow each other one by one, as they come from the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    states: Vec<State>,
    guesses: States,
}

impl Reading {
    /// Hands out the numbers of the next row, with their columns.
    pub(crate) fn next(
        &mut self,
        written: &Written,
        mut take: impl FnMut(usize, f64),
    ) -> Result<(), Malformed> {
        let row = self.guesses.restore(written)?;
        self.states.resize(row.columns.max(self.states.len()), State::default());
        row.each(|column, slot| {
            let v = self.states[column].apply(slot);
            if v.to_bits() != ABSENT.to_bits() {
                take(column, v);
            }
        })
    }
}

/// Rows of the same columns, oldest first. Readers share them; the writer adds to a copy of the list while they
/// do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    rows: Vec<Arc<Row>>,
}

impl Rows {
    pub(crate) fn push(&mut self, row: Arc<Row>) {
        self.rows.push(row);
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.rows.iter()
    }

    pub(crate) fn range(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.rows.first()?.at, self.rows.last()?.at))
    }

    pub(crate) fn columns(&self) -> usize {
        self.rows.last().map_or(0, |r| r.columns)
    }

    /// Hands out the samples of one column, oldest first, while `take` says to go on.
    pub(crate) fn column(
        &self,
        column: usize,
        mut take: impl FnMut(Timestamp, f64) -> bool,
    ) -> Result<(), Malformed> {
        let mut state = State::default();
        for row in &self.rows {
            let v = state.apply(row.slot(column)?);
            if v.to_bits() != ABSENT.to_bits() && !take(row.at, v) {
                break;
            }
        }
        Ok(())
    }

    /// The samples of one column, newest first, while `take` says to go on. `state` is where the column stands after
    /// the last row. `false` when it cannot be told what came before: then only [`Rows::column`] finds it.
    pub(crate) fn column_back(
        &self,
        column: usize,
        mut state: State,
        mut take: impl FnMut(Timestamp, f64) -> bool,
    ) -> Result<bool, Malformed> {
        let mut known = true;
        for row in self.rows.iter().rev() {
            if !known {
                return Ok(false);
            }
            let slot = row.slot(column)?;
            let v = match slot {
                Slot::Number(change) => {
                    let v = state.number();
                    state.m = state.m.wrapping_sub(change);
                    v
                }
                Slot::Reset(bits) => {
                    known = false;
                    f64::from_bits(bits)
                }
                other => State::default().apply(other),
            };
            if v.to_bits() != ABSENT.to_bits() && !take(row.at, v) {
                break;
            }
        }
        Ok(true)
    }

    /// The numbers of up to [`BLOCK`] columns from `block * BLOCK` on: for each column those of all rows.
    pub(crate) fn strip(&self, block: usize, out: &mut Vec<Vec<f64>>) -> Result<(), Malformed> {
        let width = self.columns().saturating_sub(block * BLOCK).min(BLOCK);
        out.resize_with(width, Vec::new);
        out.iter_mut().for_each(Vec::clear);
        let mut states = [State::default(); BLOCK];
        let mut slots = [Slot::Absent; BLOCK];
        for row in &self.rows {
            let here = row.columns.saturating_sub(block * BLOCK).min(BLOCK);
            slots.fill(Slot::Absent);
            if here > 0 {
                row.block(block)?.all(&mut slots[..here])?;
            }
            for ((column, state), slot) in out.iter_mut().zip(&mut states).zip(&slots) {
                column.push(state.apply(*slot));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! XOR2: floats with one prefix for time and value together, and start times where there are any.
//!
//! After the count comes a byte: its top bit says that the first sample has a start time, the others from which
//! sample on (0: never) each has a change of it. A start time is kept as its distance to the sample before.

use super::{Fault, Taker, counted};
use crate::{
    bits::BitReader,
    prometheus::varbit::{Xor, get_int, get_uvarint, get_varint},
};
use model::{STALE_NAN_BITS, Timestamp};

pub(super) fn decode(data: &[u8], taker: &mut Taker<'_>) -> Result<(), Fault> {
    let (count, rest) = counted(data)?;
    let (header, rest) = rest.split_first().ok_or_else(Fault::cut)?;
    let mut state = State {
        bits: BitReader::new(rest),
        at: 0,
        delta: 0,
        value: Xor::default(),
        start: 0,
        distance: 0,
        starts_known: header & 0x80 != 0,
        starts_from: u16::from(header & 0x7f),
    };
    for n in 0..count {
        let value = state.sample(n).ok_or_else(Fault::cut)?;
        // Zero is how the encoding says that there is none.
        let start = (state.start != 0).then_some(state.start);
        taker.float(state.at, start, value)?;
    }
    Ok(())
}

struct State<'a> {
    bits: BitReader<'a>,
    at: Timestamp,
    delta: i64,
    /// The last value that was no staleness marker: markers leave it as it is.
    value: Xor,
    start: Timestamp,
    distance: i64,
    starts_known: bool,
    starts_from: u16,
}

impl State<'_> {
    fn sample(&mut self, n: u16) -> Option<f64> {
        let before = self.at;
        if n == 0 {
            self.at = get_varint(&mut self.bits)?;
            let first = self.bits.get(64)?;
            if first != STALE_NAN_BITS {
                self.value = Xor::first(f64::from_bits(first));
            }
            if self.starts_known {
                self.start = self.at.wrapping_sub(get_varint(&mut self.bits)?);
            }
            return Some(f64::from_bits(first));
        }
        let value = if n == 1 {
            self.delta = get_uvarint(&mut self.bits)?.cast_signed();
            self.changed_value()?
        } else {
            self.joint()?
        };
        self.at = self.at.wrapping_add(self.delta);
        if self.starts_from > 0 && n >= self.starts_from {
            let change = get_int(&mut self.bits)?;
            self.distance = if n == self.starts_from { change } else { self.distance.wrapping_add(change) };
            self.start = before.wrapping_sub(self.distance);
        }
        Some(value)
    }

    /// The prefix says how the time goes on, and with an even pace also how the value does.
    fn joint(&mut self) -> Option<f64> {
        match self.bits.unary(5)? {
            0 => Some(self.value.get()),
            1 => {
                if self.bits.bit()? {
                    self.value.read_window(&mut self.bits)?;
                } else {
                    self.value.read_same_window(&mut self.bits)?;
                }
                Some(self.value.get())
            }
            2 => self.paced(13),
            3 => self.paced(20),
            4 => self.paced(64),
            _ => Some(f64::from_bits(STALE_NAN_BITS)),
        }
    }

    fn paced(&mut self, width: u32) -> Option<f64> {
        let raw = self.bits.get(width)?;
        let change = (raw << (64 - width)).cast_signed() >> (64 - width);
        self.delta = self.delta.wrapping_add(change);
        self.changed_value()
    }

    fn changed_value(&mut self) -> Option<f64> {
        match self.bits.unary(3)? {
            0 => {}
            1 => self.value.read_same_window(&mut self.bits)?,
            2 => self.value.read_window(&mut self.bits)?,
            _ => return Some(f64::from_bits(STALE_NAN_BITS)),
        }
        Some(self.value.get())
    }
}

//! Protobuf's wire format, read in place.
//!
//! A [`Wire`] walks over bytes that stay where they are; what it hands out are positions and slices of them. It
//! allocates nothing, so nothing that a sender writes makes it allocate.

/// The bytes are not what a message of this type looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the protobuf message is malformed at byte {at}: {what}")]
pub(crate) struct Malformed {
    at: usize,
    what: &'static str,
}

/// How a field's value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Varint,
    Fixed64,
    Bytes,
    Fixed32,
}

/// A field's number, and how its value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) field: u32,
    pub(crate) kind: Kind,
}

/// A piece of a message. `at` and `end` are positions in the whole body, which is shorter than 4 GiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) at: usize,
    pub(crate) end: usize,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Wire { body, at: 0, end: body.len() }
    }

    /// The part of a body from `at` to `end`, which were positions of an earlier piece of it.
    pub(crate) fn part(body: &'a [u8], at: usize, end: usize) -> Self {
        let end = end.min(body.len());
        Wire { body, at: at.min(end), end }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    pub(crate) fn bytes(&self) -> &'a [u8] {
        &self.body[self.at..self.end]
    }

    fn bad(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let rest = self.bytes();
        match rest.first() {
            Some(b) if *b < 0x80 => {
                self.at += 1;
                return Ok(u64::from(*b));
            }
            _ => {}
        }
        let mut value = 0u64;
        for (i, b) in rest.iter().take(10).enumerate() {
            if i == 9 && *b > 1 {
                break;
            }
            value |= u64::from(*b & 0x7f) << (7 * i);
            if *b < 0x80 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(self.bad(if rest.len() < 10 { "it ends inside a number" } else { "a number is too long" }))
    }

    /// The next field, or `None` at the end.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<Option<Tag>, Malformed> {
        if self.is_empty() {
            return Ok(None);
        }
        let begin = *self;
        let raw = self.varint()?;
        let kind = match raw & 7 {
            0 => Kind::Varint,
            1 => Kind::Fixed64,
            2 => Kind::Bytes,
            5 => Kind::Fixed32,
            _ => return Err(begin.bad("a field has no known type")),
        };
        match u32::try_from(raw >> 3) {
            Ok(field) if field > 0 => Ok(Some(Tag { field, kind })),
            _ => Err(begin.bad("a field has no valid number")),
        }
    }

    /// A message, a text or a packed list.
    #[inline]
    pub(crate) fn nested(&mut self) -> Result<Wire<'a>, Malformed> {
        let len = self.varint()?;
        match usize::try_from(len) {
            Ok(len) if len <= self.end - self.at => {
                let inner = Wire { body: self.body, at: self.at, end: self.at + len };
                self.at += len;
                Ok(inner)
            }
            _ => Err(self.bad("a length goes beyond the end")),
        }
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.bytes().first_chunk::<N>() {
            Some(raw) => {
                self.at += N;
                Ok(*raw)
            }
            None => Err(self.bad("it ends inside a number")),
        }
    }

    #[inline]
    pub(crate) fn double(&mut self) -> Result<f64, Malformed> {
        self.fixed().map(f64::from_le_bytes)
    }

    /// `fixed64`.
    pub(crate) fn fixed64(&mut self) -> Result<u64, Malformed> {
        self.fixed().map(u64::from_le_bytes)
    }

    /// `int64`.
    #[inline]
    pub(crate) fn int64(&mut self) -> Result<i64, Malformed> {
        self.varint().map(u64::cast_signed)
    }

    /// `sint64`.
    pub(crate) fn sint64(&mut self) -> Result<i64, Malformed> {
        self.varint().map(|z| ((z >> 1).cast_signed()) ^ -((z & 1).cast_signed()))
    }

    /// `sint32`.
    pub(crate) fn sint32(&mut self) -> Result<i32, Malformed> {
        let wide = self.sint64()?;
        i32::try_from(wide).map_err(|_| self.bad("a number does not fit its type"))
    }

    /// `uint32`, or an enumeration.
    #[inline]
    pub(crate) fn uint32(&mut self) -> Result<u32, Malformed> {
        let wide = self.varint()?;
        u32::try_from(wide).map_err(|_| self.bad("a number does not fit its type"))
    }

    /// Passes over a value that means nothing here.
    pub(crate) fn skip(&mut self, kind: Kind) -> Result<(), Malformed> {
        match kind {
            Kind::Varint => self.varint().map(drop),
            Kind::Fixed64 => self.fixed::<8>().map(drop),
            Kind::Fixed32 => self.fixed::<4>().map(drop),
            Kind::Bytes => self.nested().map(drop),
        }
    }

    /// The error for a field that is written in another way than its type has it.
    pub(crate) fn wrong_kind(&self) -> Malformed {
        self.bad("a field is written in another way than its type")
    }

    /// A repeated number: one value, or a packed list of them.
    pub(crate) fn repeated<T>(
        &mut self,
        kind: Kind,
        single: Kind,
        read: impl Fn(&mut Wire<'a>) -> Result<T, Malformed>,
        out: &mut Vec<T>,
    ) -> Result<(), Malformed> {
        if kind == single {
            out.push(read(self)?);
            return Ok(());
        }
        if kind != Kind::Bytes {
            return Err(self.wrong_kind());
        }
        let mut list = self.nested()?;
        while !list.is_empty() {
            out.push(read(&mut list)?);
        }
        Ok(())
    }
}

/// Writes messages, for those that are sent and for keys.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v.to_le_bytes()[0] | 0x80);
        v >>= 7;
    }
    out.push(v.to_le_bytes()[0]);
}

/// How many bytes [`put_varint`] writes.
pub(crate) fn varint_len(v: u64) -> usize {
    (70 - (v | 1).leading_zeros() as usize) / 7
}

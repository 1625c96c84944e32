//! What a target sent last, line by line, so that the next text needs to be compared and not understood.
//!
//! A target sends nearly the same lines every time. A line here holds only what it does not share with the line
//! before, and the two are compared together, so remembering costs a few bytes a line. What the lines said is
//! kept beside them: the series and the type of its family.

use super::exposition::MetricType;
use model::SeriesRef;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Metadata, or words for people: the whole line, with its end.
    Comment,
    /// A sample's name and labels. `None`: relabelling dropped it, or the store has no room for it.
    Series(Option<SeriesRef>),
}

/// A line as it is remembered: sixteen bytes beside its text.
#[derive(Debug, Clone, Copy)]
struct Line {
    series: u64,
    /// Bytes of its own text.
    len: u32,
    /// Bytes that it begins with as the line before does.
    shared: u16,
    kind: MetricType,
    flags: u8,
}

const COMMENT: u8 = 1;
const NO_SERIES: u8 = 2;
/// Its samples have the time of the scrape, so they have to be ended some time.
const LIVE: u8 = 4;

#[derive(Debug, Default)]
pub(crate) struct Template {
    lines: Vec<Line>,
    bytes: Vec<u8>,
    /// How many lines are series that are stored.
    kept: usize,
}

/// A place between two lines of a template, and in the text that is compared with it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    line: usize,
    /// Where the line's own bytes begin.
    at: usize,
    /// The line before, as it stands in the text.
    before: &'a [u8],
}

impl<'a> Place<'a> {
    pub(crate) fn line(&self) -> usize {
        self.line
    }

    /// The line before, as it stands in the text.
    pub(crate) fn before(&self) -> &'a [u8] {
        self.before
    }
}

fn shared(a: &[u8], b: &[u8]) -> u16 {
    let n = a.iter().zip(b).take(usize::from(u16::MAX)).take_while(|(a, b)| a == b).count();
    u16::try_from(n).unwrap_or(0)
}

impl Template {
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Lines whose series are stored.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Its lines before `place`, as the beginning of another one.
    pub(crate) fn until(&self, place: &Place<'_>) -> Template {
        let lines = self.lines.get(..place.line).unwrap_or_default().to_vec();
        let kept = lines.iter().filter(|l| l.flags & (COMMENT | NO_SERIES) == 0).count();
        Template { kept, lines, bytes: self.bytes.get(..place.at).unwrap_or_default().to_vec() }
    }

    /// Adds a line; `before` is the text of the one before. `live`: what it stands for must be ended some time.
    pub(crate) fn push(&mut self, before: &[u8], text: &[u8], kind: MetricType, what: What, live: bool) {
        let shared = shared(before, text);
        let own = &text[usize::from(shared)..];
        let (series, mut flags) = match what {
            What::Comment => (0, COMMENT),
            What::Series(None) => (0, NO_SERIES),
            What::Series(Some(series)) => (series.0, 0),
        };
        if matches!(what, What::Series(Some(_))) {
            self.kept += 1;
            flags |= if live { LIVE } else { 0 };
        }
        self.bytes.extend_from_slice(own);
        let len = u32::try_from(own.len()).unwrap_or(u32::MAX);
        self.lines.push(Line { series, len, shared, kind, flags });
    }

    /// Gives back memory that growing took too much.
    pub(crate) fn shrink(&mut self) {
        self.lines.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    /// The bytes with which the next line must begin if it is the one at `place`: some of the line before, then
    /// its own.
    fn expected<'t>(&'t self, place: &Place<'t>) -> Option<(&'t Line, &'t [u8], &'t [u8])> {
        let line = self.lines.get(place.line)?;
        let first = place.before.get(..usize::from(line.shared))?;
        Some((line, first, self.bytes.get(place.at..place.at + line.len as usize)?))
    }

    /// If the text goes on with the line at `place`, goes behind it and says what it is, and its length.
    #[inline]
    pub(crate) fn follow<'a>(
        &self,
        place: &mut Place<'a>,
        rest: &'a [u8],
    ) -> Option<(What, MetricType, usize)> {
        let line = self.lines.get(place.line)?;
        let first = place.before.get(..usize::from(line.shared))?;
        let own = self.bytes.get(place.at..place.at + line.len as usize)?;
        let len = first.len() + own.len();
        let text = rest.get(..len)?;
        if text[..first.len()] != *first || text[first.len()..] != *own {
            return None;
        }
        // A name that goes on is another name; a comment was remembered with its end.
        if line.flags & COMMENT == 0 && rest.get(len) != Some(&b' ') {
            return None;
        }
        *place = Place { line: place.line + 1, at: place.at + own.len(), before: text };
        Some((line.what(), line.kind, len))
    }

    /// Whether the next line is `text`, which was read otherwise.
    pub(crate) fn is_next(&self, place: &Place<'_>, text: &[u8]) -> bool {
        self.expected(place).is_some_and(|(_, first, own)| {
            text.len() == first.len() + own.len() && text.starts_with(first) && text.ends_with(own)
        })
    }

    /// Goes behind a line that was read otherwise.
    pub(crate) fn skip<'a>(&self, place: &mut Place<'a>, text: &'a [u8]) {
        let own = self.lines.get(place.line).map_or(0, |l| l.len as usize);
        *place = Place { line: place.line + 1, at: place.at + own, before: text };
    }

    pub(crate) fn line(&self, i: usize) -> Option<(What, MetricType, bool)> {
        self.lines.get(i).map(|l| (l.what(), l.kind, l.flags & LIVE != 0))
    }

    /// Hands out every line with its whole text.
    pub(crate) fn each(&self, mut show: impl FnMut(usize, &[u8])) {
        let (mut text, mut at) = (Vec::new(), 0);
        for (i, line) in self.lines.iter().enumerate() {
            text.truncate(usize::from(line.shared));
            text.extend_from_slice(&self.bytes[at..at + line.len as usize]);
            at += line.len as usize;
            show(i, &text);
        }
    }

    /// Another reference for the series of a line, which the store had retired, or none.
    pub(crate) fn set_series(&mut self, i: usize, series: Option<SeriesRef>) {
        let Some(line) = self.lines.get_mut(i) else { return };
        match series {
            Some(series) => line.series = series.0,
            None if line.flags & NO_SERIES == 0 => {
                self.kept -= 1;
                line.flags = NO_SERIES;
            }
            None => {}
        }
    }

    /// The series that must be ended, by line.
    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, SeriesRef)> + '_ {
        let live = |(_, l): &(usize, &Line)| l.flags & LIVE != 0;
        self.lines.iter().enumerate().filter(live).map(|(i, l)| (i, SeriesRef(l.series)))
    }
}

impl Line {
    fn what(&self) -> What {
        match self.flags & (COMMENT | NO_SERIES) {
            COMMENT => What::Comment,
            NO_SERIES => What::Series(None),
            _ => What::Series(Some(SeriesRef(self.series))),
        }
    }
}

const POWERS: [f64; 16] =
    [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The number between one blank and the line's end, and its length, where that is all there is and it is a plain
/// decimal of up to 15 digits. Such a number is exact: both of its parts are exact floats, and division rounds
/// once (Clinger, PLDI 1990). Anything else is for the grammar.
#[inline]
pub(crate) fn plain_number(rest: &[u8]) -> Option<(f64, usize)> {
    let mut i = 1;
    let negative = rest.get(i) == Some(&b'-');
    i += usize::from(negative);
    let begin = i;
    let mut m = 0u64;
    let mut point = None;
    loop {
        let b = *rest.get(i)?;
        let digit = b.wrapping_sub(b'0');
        if digit < 10 {
            m = m * 10 + u64::from(digit);
        } else if b == b'.' && point.is_none() {
            point = Some(i);
        } else if b == b'\n' {
            break;
        } else {
            return None;
        }
        i += 1;
        if i - begin > 16 {
            return None;
        }
    }
    let digits = i - begin - usize::from(point.is_some());
    if digits == 0 || digits > 15 {
        return None;
    }
    let behind = point.map_or(0, |p| i - p - 1);
    let v = if behind == 0 { m as f64 } else { m as f64 / POWERS[behind] };
    Some((if negative { -v } else { v }, i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_are_what_the_grammar_reads() {
        let check = |text: &str| {
            let line = format!(" {text}\n");
            let want: Option<f64> = text.parse().ok();
            match plain_number(line.as_bytes()) {
                Some((v, len)) => {
                    assert_eq!(Some(v.to_bits()), want.map(f64::to_bits), "{text}");
                    assert_eq!(len, line.len() - 1);
                }
                None => {
                    assert!(text.is_empty() || text.len() > 15 || text.bytes().any(|b| !b.is_ascii_digit()))
                }
            }
        };
        for text in [
            "0",
            "-0",
            "1",
            "-17",
            "3.25",
            "0.1",
            "123456789012345",
            "0.000000000000001",
            "1e5",
            "NaN",
            "+Inf",
            "9007199254740993",
            "12345678.9012345",
            "1 1700000000000",
            "",
            "-",
            ".",
            "5.",
            ".5",
            "1.2.3",
            "0x10",
        ] {
            check(text);
        }
        for i in 0..100_000u64 {
            let n = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            check(&format!("{}.{:03}", n % 100_000_000, n % 1000));
        }
    }

    #[test]
    fn a_line_is_followed_only_where_it_stands_whole() {
        let mut t = Template::default();
        let series = What::Series(Some(SeriesRef(7)));
        t.push(b"", b"# TYPE ab counter\n", MetricType::Counter, What::Comment, false);
        t.push(b"# TYPE ab counter\n", b"ab{x=\"1\"}", MetricType::Counter, series, true);
        t.push(b"ab{x=\"1\"}", b"ab{x=\"12\"}", MetricType::Counter, series, true);
        let body = b"# TYPE ab counter\nab{x=\"1\"} 5\nab{x=\"12\"} 6\n";
        let (mut place, mut at) = (Place::default(), 0);
        for (what, skip) in [(What::Comment, 0), (series, 3), (series, 3)] {
            let (got, kind, len) = t.follow(&mut place, &body[at..]).expect("it stands there");
            assert_eq!((got, kind), (what, MetricType::Counter));
            at += len + skip;
        }
        assert_eq!(at, body.len());
        let mut place = Place { line: 1, at: 18, before: b"# TYPE ab counter\n" };
        assert_eq!(t.follow(&mut place, b"ab{x=\"1\"}5 5\n"), None);
        assert_eq!(t.follow(&mut place, b"ab{x=\"1\"}"), None);
        assert!(t.is_next(&place, b"ab{x=\"1\"}") && !t.is_next(&place, b"ab{x=\"2\"}"));
        let mut texts = Vec::new();
        t.each(|_, text| texts.push(text.to_vec()));
        assert_eq!(texts[2], b"ab{x=\"12\"}");
    }
}

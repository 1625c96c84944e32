//! A place in a body, and the pieces that both grammars are made of.

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

fn is_name_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b == b':'
}

impl<'a> Cursor<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Cursor { body, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn since(&self, from: usize) -> &'a [u8] {
        &self.body[from..self.at]
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.body[self.at..]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    pub(super) fn take(&mut self, n: usize) -> &'a [u8] {
        let from = self.at;
        self.at = (self.at + n).min(self.body.len());
        &self.body[from..self.at]
    }

    /// Takes `what` if it stands here.
    pub(super) fn eat(&mut self, what: &[u8]) -> bool {
        let here = self.rest().starts_with(what);
        if here {
            self.at += what.len();
        }
        here
    }

    pub(super) fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let n = self.rest().iter().take_while(|b| wanted(**b)).count();
        self.take(n)
    }

    /// Skips blanks; returns whether there were any.
    pub(super) fn blanks(&mut self) -> bool {
        !self.take_while(|b| b == b' ' || b == b'\t').is_empty()
    }

    /// The rest of the line, without its end, which is taken too.
    pub(super) fn line_rest(&mut self) -> &'a [u8] {
        let n = memchr::memchr(b'\n', self.rest()).unwrap_or(self.rest().len());
        let text = self.take(n);
        self.take(1);
        text
    }

    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`
    pub(super) fn metric_name(&mut self) -> Option<&'a [u8]> {
        self.peek().filter(|b| is_name_start(*b))?;
        Some(self.take_while(|b| is_name_start(b) || b.is_ascii_digit()))
    }

    /// `[a-zA-Z_][a-zA-Z0-9_]*`
    pub(super) fn label_name(&mut self) -> Option<&'a [u8]> {
        self.peek().filter(|b| is_name_start(*b) && *b != b':')?;
        Some(self.take_while(|b| (is_name_start(b) && b != b':') || b.is_ascii_digit()))
    }

    /// What stands between double quotes, escapes untouched. A backslash guards any byte but a line's end.
    pub(super) fn quoted(&mut self, lines_allowed: bool) -> Option<&'a [u8]> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let text = &self.rest()[1..];
        let mut i = 0;
        loop {
            i += memchr::memchr3(b'"', b'\\', if lines_allowed { b'"' } else { b'\n' }, &text[i..])?;
            match text[i] {
                b'"' => break,
                b'\\' if text.get(i + 1).is_some_and(|b| *b != b'\n') => i += 2,
                _ => return None,
            }
        }
        self.at += i + 2;
        Some(&text[..i])
    }

    pub(super) fn line(&self) -> usize {
        memchr::memchr_iter(b'\n', &self.body[..self.at]).count() + 1
    }

    /// What stands here, for people.
    pub(super) fn shown(&self) -> String {
        let rest = self.rest();
        match rest.first() {
            None => "the end".to_owned(),
            Some(b'\n') => "the end of the line".to_owned(),
            Some(_) => {
                let end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()).min(20);
                format!("`{}`", String::from_utf8_lossy(&rest[..end]).escape_debug())
            }
        }
    }
}

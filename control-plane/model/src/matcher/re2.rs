//! RE2's syntax, in which Prometheus's regular expressions are written, as the regex crate reads it.
//!
//! The two are close enough that a pattern of one compiles in the other, and then may mean something else: `\d` and
//! `\w` are ASCII in RE2, `[a&&b]` is three characters there, `\<` is one, and a `{` that counts nothing is itself. So
//! every pattern is written anew in what both have. What neither knows is left for the regex crate to refuse.

/// Names of classes such as `[[:alpha:]]`.
const NAMED: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// How often something may be repeated.
const MOST: u32 = 1000;

/// Rewrites a pattern; the reason, if RE2 has no such pattern.
pub(super) fn rewrite(pattern: &str) -> Result<String, String> {
    let mut r =
        Rewriter { rest: pattern, out: String::with_capacity(pattern.len()), open: 0, repeats: false };
    while let Some(c) = r.rest.chars().next() {
        let repeats = std::mem::take(&mut r.repeats);
        match c {
            '\\' => r.escape()?,
            '[' => r.class()?,
            '(' => r.open()?,
            ')' if r.open == 0 => return Err("unexpected )".to_owned()),
            ')' => {
                r.open -= 1;
                r.copy(1);
            }
            '*' | '+' | '?' => r.repeat(1, repeats)?,
            '{' => match counted(r.rest)? {
                Some(length) => r.repeat(length, repeats)?,
                None => r.literal(c),
            },
            ']' | '}' => r.literal(c),
            _ => r.copy(c.len_utf8()),
        }
    }
    Ok(r.out)
}

struct Rewriter<'p> {
    rest: &'p str,
    out: String,
    /// Groups that are not closed yet.
    open: usize,
    /// Whether what was read last repeats something, so that it cannot be repeated itself.
    repeats: bool,
}

/// The length of a count such as `{2,3}` at the text's beginning, if that is one.
fn counted(text: &str) -> Result<Option<usize>, String> {
    let Some((inside, _)) = text.get(1..).and_then(|t| t.split_once('}')) else { return Ok(None) };
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let leading_zero = digits.len() > 1 && digits.starts_with('0');
        (plain && !leading_zero).then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let (least, most) = match inside.split_once(',') {
        None => (number(inside), Some(number(inside))),
        Some((least, "")) => (number(least), None),
        Some((least, most)) => (number(least), Some(number(most))),
    };
    let (Some(least), None | Some(Some(_))) = (least, most) else { return Ok(None) };
    let most = most.flatten().unwrap_or(least);
    if least > MOST || most > MOST || least > most {
        return Err(format!("invalid repeat count {{{inside}}}: up to {MOST} are allowed"));
    }
    Ok(Some(inside.len() + 2))
}

impl Rewriter<'_> {
    fn copy(&mut self, bytes: usize) {
        let (text, rest) = self.rest.split_at(bytes);
        self.out.push_str(text);
        self.rest = rest;
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    /// Writes a character that stands for itself.
    fn put(&mut self, c: char) {
        self.out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    /// The same for the one that comes next.
    fn literal(&mut self, c: char) {
        self.put(c);
        self.skip(c.len_utf8());
    }

    fn repeat(&mut self, length: usize, repeats: bool) -> Result<(), String> {
        if repeats {
            let operator = self.rest.get(..length).unwrap_or("");
            return Err(format!("invalid nested repetition operator: {operator:?} repeats a repetition"));
        }
        self.copy(length);
        if self.rest.starts_with('?') {
            self.copy(1);
        }
        self.repeats = true;
        Ok(())
    }

    /// A group, or flags.
    fn open(&mut self) -> Result<(), String> {
        let Some(special) = self.rest.strip_prefix("(?") else {
            self.open += 1;
            self.copy(1);
            return Ok(());
        };
        // `(?P<name>`, `(?<name>`, or flags up to what ends them.
        let flags = |c: char| "imsU-".contains(c);
        let length = if special.starts_with("P<") || special.starts_with('<') {
            self.open += 1;
            special.find('>')
        } else {
            let after = special.trim_start_matches(flags);
            self.open += usize::from(after.starts_with(':'));
            after.starts_with([':', ')']).then_some(special.len() - after.len())
        };
        let Some(length) = length else {
            let beginning: String = self.rest.chars().take(4).collect();
            return Err(format!("invalid or unsupported syntax: {beginning:?}"));
        };
        self.copy("(?".len() + length + 1);
        Ok(())
    }

    /// What begins with a backslash, outside a class.
    fn escape(&mut self) -> Result<(), String> {
        if let Some(quoted) = self.rest.strip_prefix(r"\Q") {
            let (quoted, rest) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            self.out.push_str(&regex::escape(quoted));
            self.rest = rest;
            return Ok(());
        }
        match self.rest.as_bytes().get(1) {
            Some(b'A' | b'z') => self.copy(2),
            Some(b'b') => {
                self.out.push_str(r"(?-u:\b)");
                self.skip(2);
            }
            Some(b'B') => {
                self.out.push_str(r"(?-u:\B)");
                self.skip(2);
            }
            Some(b'd' | b's' | b'w') => {
                self.out.push('[');
                self.perl_class();
                self.out.push(']');
            }
            Some(b'D' | b'S' | b'W') => self.perl_class(),
            Some(b'p' | b'P') => self.unicode_class()?,
            _ => {
                let c = self.escaped()?;
                self.put(c);
            }
        }
        Ok(())
    }

    /// `\d`, `\s` and `\w`, as what stands in brackets, or in brackets what they are not.
    fn perl_class(&mut self) {
        self.out.push_str(match self.rest.as_bytes().get(1) {
            Some(b'd') => "0-9",
            Some(b'D') => "[^0-9]",
            Some(b's') => r"\t\n\f\r ",
            Some(b'S') => r"[^\t\n\f\r ]",
            Some(b'w') => "0-9A-Za-z_",
            _ => "[^0-9A-Za-z_]",
        });
        self.skip(2);
    }

    /// `\pN` or `\p{Greek}`, where a `^` before the name means the others.
    fn unicode_class(&mut self) -> Result<(), String> {
        let negative = self.rest.starts_with(r"\P");
        self.skip(2);
        let name = match self.rest.strip_prefix('{') {
            Some(braced) => braced.split_once('}').map(|(name, _)| (name, name.len() + 2)),
            None => {
                self.rest.chars().next().and_then(|c| Some((self.rest.get(..c.len_utf8())?, c.len_utf8())))
            }
        };
        let Some((name, length)) = name else { return Err("invalid character class".to_owned()) };
        let others = name.strip_prefix('^');
        let escape = if negative == others.is_some() { r"\p" } else { r"\P" };
        self.out.push_str(&format!("{escape}{{{}}}", others.unwrap_or(name)));
        self.skip(length);
        Ok(())
    }

    /// An escape sequence that stands for one character.
    fn escaped(&mut self) -> Result<char, String> {
        let whole = self.rest;
        let bad = || Err(format!("invalid escape sequence {:?}", whole.chars().take(2).collect::<String>()));
        let mut chars = whole.chars().skip(1);
        let Some(c) = chars.next() else { return Err("incomplete escape sequence".to_owned()) };
        self.skip(1 + c.len_utf8());
        let octal = |text: &str| text.chars().take(2).take_while(|c| c.is_digit(8)).count();
        let code = match c {
            'a' => 7,
            't' => 9,
            'n' => 10,
            'v' => 11,
            'f' => 12,
            'r' => 13,
            'x' => {
                let (text, length) = match self.rest.strip_prefix('{') {
                    Some(braced) => match braced.split_once('}') {
                        Some((inside, _)) => (inside, inside.len() + 2),
                        None => return bad(),
                    },
                    None => (self.rest.get(..2).unwrap_or(""), 2),
                };
                self.skip(length);
                match u32::from_str_radix(text, 16) {
                    Ok(code) if text.bytes().all(|b| b.is_ascii_hexdigit()) => code,
                    _ => return bad(),
                }
            }
            // One digit alone, but zero, would refer to a group, which RE2 has not.
            '1'..='7' if octal(self.rest) == 0 => return bad(),
            '0'..='7' => {
                let more = octal(self.rest);
                let code = u32::from_str_radix(whole.get(1..2 + more).unwrap_or("0"), 8).unwrap_or(0);
                self.skip(more);
                code
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
            _ => return bad(),
        };
        char::from_u32(code).map_or_else(bad, Ok)
    }

    /// A class in brackets, from one to the other. There are no classes in classes, and no operations on them.
    fn class(&mut self) -> Result<(), String> {
        self.copy(1);
        if self.rest.starts_with('^') {
            self.copy(1);
        }
        let mut first = true;
        loop {
            if self.rest.starts_with(']') && !first {
                self.copy(1);
                return Ok(());
            }
            first = false;
            if let Some((name, _)) = self.rest.strip_prefix("[:").and_then(|named| named.split_once(":]")) {
                if !NAMED.contains(&name.strip_prefix('^').unwrap_or(name)) {
                    return Err(format!("invalid character class range: there is no class {name:?}"));
                }
                self.copy(name.len() + 4);
                continue;
            }
            match self.rest.as_bytes() {
                [] => return Err("unclosed character class".to_owned()),
                [b'\\', b'd' | b'D' | b's' | b'S' | b'w' | b'W', ..] => self.perl_class(),
                [b'\\', b'p' | b'P', ..] => self.unicode_class()?,
                _ => {
                    let low = self.member()?;
                    self.put(low);
                    let range = self
                        .rest
                        .strip_prefix('-')
                        .is_some_and(|high| !high.is_empty() && !high.starts_with(']'));
                    if range {
                        self.copy(1);
                        let high = self.member()?;
                        if high < low {
                            return Err(format!(
                                "invalid character class range: {low:?} comes after {high:?}"
                            ));
                        }
                        self.put(high);
                    }
                }
            }
        }
    }

    /// One character of a class.
    fn member(&mut self) -> Result<char, String> {
        match self.rest.chars().next() {
            None => Err("unclosed character class".to_owned()),
            Some('\\') => self.escaped(),
            Some(c) => {
                self.skip(c.len_utf8());
                Ok(c)
            }
        }
    }
}

//! The test language of Prometheus: scripts of `load`, `clear` and `eval`, as commands.

use promql::{
    Expr,
    ast::ExprKind,
    parse,
    parse::series::{self, SeriesDescription},
};
use regex::Regex;

/// One command and the line on which it stands, from 1.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) command: Command,
}

#[derive(Debug)]
pub(crate) enum Command {
    Load { interval: i64, series: Vec<SeriesDescription>, with_nhcb: bool },
    Clear,
    Eval(Box<Eval>),
}

#[derive(Debug)]
pub(crate) struct Eval {
    pub(crate) text: String,
    /// The error, if it does not even parse: an eval may expect that.
    pub(crate) expr: Result<Expr, String>,
    pub(crate) times: Times,
    pub(crate) expect: Expect,
    pub(crate) samples: Vec<SeriesDescription>,
    pub(crate) scalar: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Times {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// What the `expect` lines demand.
#[derive(Debug, Default)]
pub(crate) struct Expect {
    pub(crate) fail: Vec<Pattern>,
    pub(crate) warn: Vec<Pattern>,
    pub(crate) info: Vec<Pattern>,
    pub(crate) no_warn: bool,
    pub(crate) no_info: bool,
    pub(crate) ordered: bool,
    pub(crate) string: Option<String>,
    /// Start and step of an expected range vector.
    pub(crate) range_vector: Option<(i64, i64)>,
}

#[derive(Debug)]
pub(crate) enum Pattern {
    Any,
    Exact(String),
    Regex(Regex),
}

impl Pattern {
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Exact(exact) => exact == text,
            Pattern::Regex(regex) => regex.is_match(text),
        }
    }
}

fn duration(text: &str) -> Result<i64, String> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let parsed = model::duration::parse(digits).map_err(|e| e.to_string())?;
    i64::try_from(parsed.as_millis()).map(|ms| sign * ms).map_err(|e| e.to_string())
}

/// A line that cannot be read, and why.
pub(crate) type Fault = (usize, String);

/// Reads a whole script. A command with a fault is left out; the others are worth running all the same.
pub(crate) fn read(text: &str) -> (Vec<Line>, Vec<Fault>) {
    // A comment is an empty line; both end what stands above.
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|l| if l.starts_with('#') { "" } else { l }).collect();
    let (mut out, mut faults) = (Vec::new(), Vec::new());
    let mut i = 0;
    while i < lines.len() {
        let number = i + 1;
        let line = lines[i];
        i += 1;
        if line.is_empty() {
            continue;
        }
        let from = i;
        while i < lines.len() && !lines[i].is_empty() {
            i += 1;
        }
        let word = line.split_whitespace().next().unwrap_or("").to_ascii_lowercase();
        let body = Body { first: number + 1, lines: &lines[from..i] };
        let command = match &*word {
            "clear" => {
                i = from;
                Ok(Command::Clear)
            }
            "load" | "load_with_nhcb" => load((number, line), &body, word.ends_with("nhcb")),
            w if w.starts_with("eval") => eval((number, line), &body).map(|e| Command::Eval(Box::new(e))),
            _ => Err((number, format!("invalid command {line:?}"))),
        };
        match command {
            Ok(command) => out.push(Line { number, command }),
            Err(fault) => faults.push(fault),
        }
    }
    (out, faults)
}

/// The lines below a command.
struct Body<'t> {
    /// The number of the first one.
    first: usize,
    lines: &'t [&'t str],
}

impl Body<'_> {
    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        (self.first..).zip(self.lines.iter().copied())
    }
}

fn series(text: &str) -> Result<SeriesDescription, String> {
    series::parse_series(text).map_err(|e| e.to_string())
}

fn load((number, line): (usize, &str), body: &Body<'_>, with_nhcb: bool) -> Result<Command, Fault> {
    let interval = line.split_whitespace().nth(1).ok_or("load needs an interval".to_owned());
    let interval = interval.and_then(duration).map_err(|e| (number, e))?;
    let series = body.numbered().map(|(n, l)| series(l).map_err(|e| (n, e)));
    Ok(Command::Load { interval, series: series.collect::<Result<_, _>>()?, with_nhcb })
}

fn eval((number, line): (usize, &str), body: &Body<'_>) -> Result<Eval, Fault> {
    let mut eval = evaluation(line).map_err(|e| (number, e))?;
    for (n, line) in body.numbered() {
        expected(line, &mut eval).map_err(|e| (n, e))?;
    }
    if !eval.expect.fail.is_empty() && eval.samples.len() + usize::from(eval.scalar.is_some()) > 0 {
        return Err((number, "an evaluation that must fail cannot have a result".to_owned()));
    }
    Ok(eval)
}

fn evaluation(line: &str) -> Result<Eval, String> {
    let instant = Regex::new(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(\S+)\s+)(.+)$");
    let range = Regex::new(
        r"^eval(?:_(fail|warn|ordered|info))?\s+range\s+from\s+(.+?)\s+to\s+(.+?)\s+step\s+(\S+)\s+(.+)$",
    );
    let (instant, range) = (instant.map_err(|e| e.to_string())?, range.map_err(|e| e.to_string())?);
    let mut expect = Expect::default();
    let (kind, times, text) = if let Some(c) = instant.captures(line) {
        (c.get(1), Times::Instant(duration(&c[2])?), c[3].to_owned())
    } else if let Some(c) = range.captures(line) {
        let (start, end, step) = (duration(&c[2])?, duration(&c[3])?, duration(&c[4])?);
        if end < start {
            return Err("invalid test definition, end timestamp is before start timestamp".to_owned());
        }
        (c.get(1), Times::Range { start, end, step }, c[5].to_owned())
    } else {
        return Err(format!("invalid evaluation command: {line:?}"));
    };
    match kind.map(|k| k.as_str()) {
        Some("fail") => expect.fail.push(Pattern::Any),
        Some("warn") => expect.warn.push(Pattern::Any),
        Some("info") => expect.info.push(Pattern::Any),
        Some("ordered") => expect.ordered = true,
        _ => {}
    }
    Ok(Eval {
        expr: parse(&text).map_err(|e| e.to_string()),
        text,
        times,
        expect,
        samples: Vec::new(),
        scalar: None,
    })
}

/// A line that says what an evaluation gives.
fn expected(line: &str, eval: &mut Eval) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix("expect ") {
        expectation(rest.trim(), &mut eval.expect)?;
    } else if let Some(rest) = line.strip_prefix("expected_fail_message") {
        eval.expect.fail = vec![Pattern::Exact(rest.trim().to_owned())];
    } else if let Some(rest) = line.strip_prefix("expected_fail_regexp") {
        eval.expect.fail = vec![Pattern::Regex(Regex::new(rest.trim()).map_err(|e| e.to_string())?)];
    } else if let Some(v) = number(line) {
        eval.scalar = Some(v);
    } else {
        let parsed = series(line)?;
        if matches!(eval.times, Times::Instant(_))
            && eval.expect.range_vector.is_none()
            && parsed.values.len() > 1
        {
            return Err("expecting multiple values in instant evaluation not allowed".to_owned());
        }
        eval.samples.push(parsed);
    }
    Ok(())
}

/// A line that is a number as PromQL writes it.
fn number(text: &str) -> Option<f64> {
    let plain = |e: &Expr| match &e.kind {
        ExprKind::Number(n) if !n.duration => Some(n.value),
        _ => None,
    };
    let expr = parse(text).ok()?;
    match &expr.kind {
        ExprKind::Unary { negative, expr } => plain(expr).map(|v| if *negative { -v } else { v }),
        _ => plain(&expr),
    }
}

fn expectation(text: &str, expect: &mut Expect) -> Result<(), String> {
    if let Some(rest) = text.strip_prefix("string") {
        let literal = parse(rest.trim()).ok().and_then(|e| match &e.kind {
            ExprKind::String(text) => Some(text.clone()),
            _ => None,
        });
        let missing = "expected string literal not valid - a quoted string literal is required";
        expect.string = Some(literal.ok_or(missing)?);
        return Ok(());
    }
    if let Some(rest) = text.strip_prefix("range vector") {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let ["from", start, "to", _, "step", step] = words[..] else {
            return Err(format!("invalid range vector definition {text:?}"));
        };
        expect.range_vector = Some((duration(start)?, duration(step)?));
        return Ok(());
    }
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let pattern = if let Some(exact) = rest.strip_prefix("msg:") {
        Pattern::Exact(exact.trim().to_owned())
    } else if let Some(regex) = rest.strip_prefix("regex:") {
        Pattern::Regex(Regex::new(regex.trim()).map_err(|e| e.to_string())?)
    } else if rest.is_empty() {
        Pattern::Any
    } else {
        return Err(format!("invalid expectation {text:?}"));
    };
    match (kind, pattern) {
        ("fail", p) => expect.fail.push(p),
        ("warn", p) => expect.warn.push(p),
        ("info", p) => expect.info.push(p),
        ("no_warn", Pattern::Any) => expect.no_warn = true,
        ("no_info", Pattern::Any) => expect.no_info = true,
        ("ordered", Pattern::Any) => expect.ordered = true,
        _ => return Err(format!("invalid expectation {text:?}")),
    }
    if (expect.no_warn && !expect.warn.is_empty()) || (expect.no_info && !expect.info.is_empty()) {
        return Err(format!("{text:?} contradicts another expectation"));
    }
    Ok(())
}

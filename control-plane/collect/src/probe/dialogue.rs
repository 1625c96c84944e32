//! A dialogue in lines: what is sent, what is expected.
//!
//! A step first waits for a line that its expression matches, passing over others, then sends. What the
//! expression's groups matched can be sent back: `${1}`, `${name}`.

use super::Found;
use model::matcher::expand;
use regex::{Captures, Regex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A line is not longer, nor is all that is passed over while waiting for one.
const MAX_LINE: usize = 64 << 10;
const MAX_PASSED: usize = 256 << 10;

/// One step.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// As it is written, and compiled.
    pub(super) expect: Option<(String, Regex)>,
    pub(super) send: Option<String>,
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        let pattern = |step: &Step| step.expect.as_ref().map(|(pattern, _)| pattern.clone());
        self.send == other.send && pattern(self) == pattern(other)
    }
}

impl Step {
    /// What to send after `line` matched; without an expression, as it stands.
    pub(super) fn answer(&self, captures: Option<&Captures<'_>>) -> Option<String> {
        let send = self.send.as_ref()?;
        Some(match captures {
            Some(captures) => expand(send, captures),
            None => send.clone(),
        })
    }

    /// The end of waiting for what never came.
    pub(super) fn unmet(&self, found: &mut Found, last: Option<&str>) -> String {
        found.set("probe_failed_due_to_regex", 1.0);
        let wanted = self.expect.as_ref().map_or("", |(pattern, _)| pattern);
        match last {
            Some(last) => {
                let last: String = last.chars().take(80).collect();
                format!("nothing matched {wanted:?}; the last was {last:?}")
            }
            None => format!("nothing came that could match {wanted:?}"),
        }
    }
}

/// A stream, and what was read of it and not yet used.
pub(super) struct Lines<'a, S> {
    stream: &'a mut S,
    kept: Vec<u8>,
    /// How much of what is kept was used.
    used: usize,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Lines<'a, S> {
    pub(super) fn new(stream: &'a mut S) -> Self {
        Lines { stream, kept: Vec::new(), used: 0 }
    }

    /// The next line without its end; what is left at the end of the stream counts as one. `None` when there is
    /// nothing more.
    pub(super) async fn next(&mut self) -> Result<Option<String>, String> {
        let mut searched = 0;
        loop {
            let rest = self.kept.get(self.used..).unwrap_or_default();
            if let Some(at) = rest.get(searched..).and_then(|new| memchr::memchr(b'\n', new)) {
                let (line, length) = (text(rest.get(..searched + at).unwrap_or_default()), searched + at + 1);
                self.used += length;
                return Ok(Some(line));
            }
            searched = rest.len();
            if searched > MAX_LINE {
                return Err(format!("a line is longer than {MAX_LINE} bytes"));
            }
            self.kept.drain(..std::mem::take(&mut self.used));
            let mut chunk = [0; 2048];
            let n = self.stream.read(&mut chunk).await.map_err(|e| format!("reading failed: {e}"))?;
            if n == 0 {
                let rest = std::mem::take(&mut self.kept);
                return Ok(if rest.is_empty() { None } else { Some(text(&rest)) });
            }
            self.kept.extend_from_slice(chunk.get(..n).unwrap_or_default());
        }
    }

    pub(super) async fn send(&mut self, line: &str) -> Result<(), String> {
        let failed = |e: std::io::Error| format!("sending failed: {e}");
        self.stream.write_all(line.as_bytes()).await.map_err(failed)?;
        self.stream.flush().await.map_err(failed)
    }

    /// Whether everything that was read was used.
    pub(super) fn is_spent(&self) -> bool {
        self.used == self.kept.len()
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches(['\r', '\n']).to_owned()
}

/// Holds a whole dialogue.
pub(super) async fn hold<S: AsyncRead + AsyncWrite + Unpin>(
    steps: &[Step],
    stream: &mut S,
    found: &mut Found,
) -> Result<(), String> {
    let mut lines = Lines::new(stream);
    for step in steps {
        let mut send = step.answer(None);
        if let Some((_, expect)) = &step.expect {
            let (mut last, mut passed): (Option<String>, usize) = (None, 0);
            send = loop {
                let line = match lines.next().await? {
                    Some(line) if passed <= MAX_PASSED => line,
                    _ => return Err(step.unmet(found, last.as_deref())),
                };
                passed += line.len() + 1;
                if let Some(captures) = expect.captures(&line) {
                    break step.answer(Some(&captures));
                }
                last = Some(line);
            };
        }
        if let Some(send) = send {
            lines.send(&format!("{send}\n")).await?;
        }
    }
    Ok(())
}

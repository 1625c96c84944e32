//! How far a long command is, on stderr: nothing in the first two seconds, then a line now and then.

use kit::clock::Clock;
use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

/// How long nothing is said.
const QUIET: Duration = Duration::from_secs(2);

/// Says one line to people.
pub(super) fn say(line: &str) {
    // Nobody may be reading.
    let _nobody = writeln!(std::io::stderr().lock(), "{line}").is_err();
}

/// Tells how far it is.
#[derive(Debug)]
pub(super) struct Meter {
    clock: Clock,
    begun: Duration,
    said: Duration,
    every: Duration,
    /// A terminal has one line that changes.
    terminal: bool,
    wrote: bool,
}

impl Meter {
    pub(super) fn new(clock: &Clock) -> Meter {
        let terminal = std::io::stderr().is_terminal();
        let every = Duration::from_secs(if terminal { 1 } else { 10 });
        let now = clock.elapsed();
        Meter { clock: clock.clone(), begun: now, said: Duration::ZERO, every, terminal, wrote: false }
    }

    /// `done` of `all` steps, of which `before` were done earlier; `what` says the rest.
    pub(super) fn tell(&mut self, before: u64, done: u64, all: u64, samples: u64, what: &str) {
        let now = self.clock.elapsed();
        let passed = now.saturating_sub(self.begun);
        if passed < QUIET || (self.wrote && now.saturating_sub(self.said) < self.every) {
            return;
        }
        (self.said, self.wrote) = (now, true);
        let line = line(passed, (before, done, all), samples, what);
        if self.terminal {
            let mut err = std::io::stderr().lock();
            let _nobody = write!(err, "\r\x1b[K{line}").and_then(|()| err.flush()).is_err();
        } else {
            say(&line);
        }
    }

    /// Ends the line that changes.
    pub(super) fn end(&mut self) {
        if self.terminal && self.wrote {
            say("");
            self.wrote = false;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "people read three digits")]
fn line(passed: Duration, (before, done, all): (u64, u64, u64), samples: u64, what: &str) -> String {
    let seconds = passed.as_secs_f64().max(0.001);
    let rate = samples as f64 / seconds;
    let mut out = format!("{what}, {samples} samples, {rate:.0} samples/s");
    let (now, left) = (done.saturating_sub(before), all.saturating_sub(done));
    if all > 0 {
        out = format!("{done} of {all} windows, {out}");
    }
    if now > 0 && left > 0 {
        let eta = Duration::from_secs_f64((seconds / now as f64 * left as f64).min(1e9));
        out.push_str(&format!(
            ", about {} left",
            model::duration::format(Duration::from_secs(eta.as_secs()))
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_counts_rate_and_what_is_left() {
        let check =
            |steps, expect: &str| assert_eq!(line(Duration::from_secs(10), steps, 5000, "3 blocks"), expect);
        check((0, 0, 100), "0 of 100 windows, 3 blocks, 5000 samples, 500 samples/s");
        check((50, 60, 100), "60 of 100 windows, 3 blocks, 5000 samples, 500 samples/s, about 40s left");
        check((0, 0, 0), "3 blocks, 5000 samples, 500 samples/s");
    }
}

//! What one run of a probe found.

use crate::recorder::figures::{Figure, Part};
use std::time::Duration;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Found {
    /// Why it is not good.
    pub(crate) error: Option<String>,
    pub(crate) latency: Duration,
    /// Nothing can be said yet: a heartbeat that is not due for the first time. Nothing is written then.
    pub(crate) waiting: bool,
    figures: Vec<Figure>,
}

impl Found {
    /// Room for what a run finds, success and duration first.
    pub(super) fn new() -> Found {
        let mut figures = Vec::with_capacity(24);
        figures.push(("probe_success", None, 0.0));
        figures.push(("probe_duration_seconds", None, 0.0));
        Found { figures, ..Found::default() }
    }

    fn value(&mut self, name: &'static str, part: Part) -> &mut f64 {
        let place = match self.figures.iter().position(|(n, p, _)| *n == name && *p == part) {
            Some(place) => place,
            None => {
                self.figures.push((name, part, 0.0));
                self.figures.len() - 1
            }
        };
        &mut self.figures[place].2
    }

    /// Sets a figure; what it was before is gone.
    pub(super) fn set(&mut self, name: &'static str, value: f64) {
        *self.value(name, None) = value;
    }

    /// Sets a part of a figure.
    pub(super) fn set_part(&mut self, name: &'static str, part: (&'static str, &'static str), value: f64) {
        *self.value(name, Some(part)) = value;
    }

    /// Adds the time that a phase took: redirects go through the same phases again.
    pub(super) fn took(&mut self, name: &'static str, phase: &'static str, time: Duration) {
        *self.value(name, Some(("phase", phase))) += time.as_secs_f64();
    }

    /// Shows phases that may not be reached.
    pub(super) fn phases(&mut self, name: &'static str, phases: &[&'static str]) {
        self.figures.extend(phases.iter().map(|phase| (name, Some(("phase", *phase)), 0.0)));
    }

    /// How the run ended.
    pub(super) fn end(&mut self, error: Option<String>, latency: Duration) {
        self.set("probe_success", f64::from(u8::from(error.is_none())));
        self.set("probe_duration_seconds", latency.as_secs_f64());
        (self.error, self.latency) = (error, latency);
    }

    /// The values to write.
    pub(crate) fn figures(&self) -> &[Figure] {
        if self.waiting { &[] } else { &self.figures }
    }
}

//! Functions of a series of floats, for all windows in one go: what is the same for windows is found once.

use super::{
    range::Cursor,
    select::{Points, seconds},
    sum::Sum,
};

/// Windows that are worked on side by side: their sums do not wait for each other.
const LANES: usize = 4;

/// Neither the sum of numbers below nor that of their squares overflows.
const LARGE: f64 = 1e150;

/// A function that is known to go that way.
#[derive(Debug)]
pub(crate) enum Sliding {
    Growth(Growth),
    Windows(Windows),
}

impl Sliding {
    /// `None` for functions that are evaluated window by window.
    pub(crate) fn of(function: &str, range: i64) -> Option<Self> {
        if let Some(growth) = Growth::of(function, range) {
            return Some(Sliding::Growth(growth));
        }
        let what = match function {
            "stddev_over_time" => What::Deviation,
            "stdvar_over_time" => What::Variance,
            "deriv" => What::Slope,
            _ => return None,
        };
        Some(Sliding::Windows(Windows { what, range, line: None }))
    }

    /// Fills in a value for each window that has one; `end` tells where windows end, which never goes back. Whether
    /// there is any; `None`, with nothing filled in, if this series must go window by window.
    pub(crate) fn slide(
        &mut self,
        samples: &Points<f64>,
        end: impl Fn(usize) -> i64,
        out: &mut [f64],
    ) -> Option<bool> {
        match self {
            Sliding::Growth(growth) => Some(growth.slide(samples, end, out)),
            Sliding::Windows(windows) => windows.slide(samples, end, out),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Deviation,
    Variance,
    Slope,
}

/// Functions that look at every sample of a window, some windows at a time.
#[derive(Debug)]
pub(crate) struct Windows {
    what: What,
    range: i64,
    line: Option<Line>,
}

/// Of windows with this many samples this far apart: their times, in seconds after the first, and sums of those.
#[derive(Debug)]
struct Line {
    samples: usize,
    apart: i64,
    x: Vec<f64>,
    n: f64,
    sum: f64,
    squares: f64,
}

impl Line {
    fn of(samples: usize, apart: i64) -> Self {
        let (mut n, mut sum, mut squares) = (0.0, Sum::default(), Sum::default());
        let x: Vec<f64> = (0..).take(samples).map(|i| seconds(apart * i)).collect();
        for x in &x {
            n += 1.0;
            sum.add(*x);
            squares.add(x * x);
        }
        let total = |s: Sum| s.sum + s.compensation;
        Line { samples, apart, n, sum: total(sum), squares: total(squares), x }
    }

    /// The slopes of the lines with the least squares, as `deriv` has them.
    fn slopes<const N: usize>(&self, values: &[f64], from: [usize; N]) -> [f64; N] {
        let (mut y, mut xy) = (Sums::<N>::default(), Sums::<N>::default());
        let windows = from.map(|f| &values[f..f + self.samples]);
        for (k, x) in self.x.iter().enumerate() {
            let v = windows.map(|w| w[k]);
            y.add(v);
            xy.add(v.map(|v| x * v));
        }
        let (y, xy) = (y.totals(), xy.totals());
        std::array::from_fn(|lane| {
            let first = windows[lane][0];
            if windows[lane].iter().all(|v| *v == first) {
                return if first.is_infinite() { f64::NAN } else { 0.0 };
            }
            (xy[lane] - self.sum * y[lane] / self.n) / (self.squares - self.sum * self.sum / self.n)
        })
    }
}

/// Sums of windows side by side, each as [`Sum`] has it as long as nothing overflows; the compiler makes vectors of
/// the lanes.
struct Sums<const N: usize> {
    sum: [f64; N],
    compensation: [f64; N],
}

impl<const N: usize> Default for Sums<N> {
    fn default() -> Self {
        Sums { sum: [0.0; N], compensation: [0.0; N] }
    }
}

impl<const N: usize> Sums<N> {
    #[inline]
    fn add(&mut self, x: [f64; N]) {
        for lane in 0..N {
            let (sum, x) = (self.sum[lane], x[lane]);
            let t = sum + x;
            let added = t - sum;
            let error = (sum - (t - added)) + (x - added);
            self.compensation[lane] += error;
            self.sum[lane] = t;
        }
    }

    #[inline]
    fn totals(&self) -> [f64; N] {
        std::array::from_fn(|lane| self.sum[lane] + self.compensation[lane])
    }
}

/// Welford's method, as `stdvar_over_time` has it.
fn variances<const N: usize>(values: &[f64], from: [usize; N], samples: usize) -> [f64; N] {
    let (mut mean, mut squares) = (Sums::<N>::default(), Sums::<N>::default());
    let windows = from.map(|f| &values[f..f + samples]);
    let mut count = 0.0;
    for k in 0..samples {
        count += 1.0;
        let x = windows.map(|w| w[k]);
        let before = mean.totals();
        let delta: [f64; N] = std::array::from_fn(|lane| x[lane] - before[lane]);
        mean.add(delta.map(|d| d / count));
        let after = mean.totals();
        squares.add(std::array::from_fn(|lane| delta[lane] * (x[lane] - after[lane])));
    }
    squares.totals().map(|s| s / count)
}

impl Windows {
    fn slide(&mut self, samples: &Points<f64>, end: impl Fn(usize) -> i64, out: &mut [f64]) -> Option<bool> {
        let (times, values) = (&samples.times[..], &samples.values[..]);
        if !values.iter().all(|v| v.abs() < LARGE) {
            return None;
        }
        let apart = times.get(1)? - times[0];
        let least = if self.what == What::Slope { 2 } else { 1 };
        if self.what == What::Slope && times.windows(2).any(|w| w[1] - w[0] != apart) {
            return None;
        }
        let mut cursor = Cursor::default();
        // Windows of one length that wait for their lanes to fill: their steps and where they begin.
        let (mut steps, mut begins, mut waiting, mut len) = ([0; LANES], [0; LANES], 0, 0);
        let mut any = false;
        for i in 0..=out.len() {
            let window = match i == out.len() {
                true => 0..0,
                false => {
                    let end = end(i);
                    cursor.slide(times, end.saturating_sub(self.range), end)
                }
            };
            if waiting > 0 && (waiting == LANES || window.len() != len) {
                self.work(values, apart, &steps[..waiting], begins, len, out);
                waiting = 0;
            }
            if window.len() >= least {
                (steps[waiting], begins[waiting], len) = (i, window.start, window.len());
                waiting += 1;
                any = true;
            }
        }
        Some(any)
    }

    fn work(
        &mut self,
        values: &[f64],
        apart: i64,
        steps: &[usize],
        mut begins: [usize; LANES],
        len: usize,
        out: &mut [f64],
    ) {
        // Lanes that stayed empty do the first one's work again.
        let first = begins[0];
        begins[steps.len()..].fill(first);
        let results = match self.what {
            What::Slope => {
                if self.line.as_ref().is_none_or(|l| (l.samples, l.apart) != (len, apart)) {
                    self.line = Some(Line::of(len, apart));
                }
                self.line.as_ref().map_or([f64::NAN; LANES], |l| l.slopes(values, begins))
            }
            What::Variance => variances(values, begins, len),
            What::Deviation => variances(values, begins, len).map(f64::sqrt),
        };
        for (step, result) in steps.iter().zip(results) {
            out[*step] = result;
        }
    }
}

/// `rate`, `increase` and `delta` of a series of floats without start times, for all windows in one go.
///
/// Where a counter began anew is looked up once, and what the extrapolation makes of a window's times is kept: they
/// repeat from window to window, and from series to series of a target.
#[derive(Debug)]
pub(super) struct Growth {
    counter: bool,
    per_second: bool,
    range: i64,
    /// The samples after which the counter began anew.
    resets: Vec<usize>,
    cursor: Cursor,
    known: Extrapolation,
}

/// What the extrapolation makes of a window's times, without the limit at zero.
#[derive(Debug, Clone, Copy, Default)]
struct Extrapolation {
    /// From the window's start to the first sample, from there to the last one, from there to the end; samples.
    shape: (i64, i64, i64, usize),
    sampled: f64,
    to_start: f64,
    to_end: f64,
    factor: f64,
}

impl Extrapolation {
    #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^53 samples")]
    fn of(shape: (i64, i64, i64, usize), per: f64) -> Self {
        let (before, between, after, samples) = shape;
        let sampled = seconds(between);
        let average = sampled / samples.saturating_sub(1).max(1) as f64;
        let near = |distance: f64| if distance >= average * 1.1 { average / 2.0 } else { distance };
        let (to_start, to_end) = (near(seconds(before)), near(seconds(after)));
        let factor = (sampled + to_start + to_end) / sampled / per;
        Extrapolation { shape, sampled, to_start, to_end, factor }
    }
}

impl Growth {
    fn of(function: &str, range: i64) -> Option<Self> {
        let (counter, per_second) = match function {
            "rate" => (true, true),
            "increase" => (true, false),
            "delta" => (false, false),
            _ => return None,
        };
        let (resets, cursor, known) = (Vec::new(), Cursor::default(), Extrapolation::default());
        Some(Growth { counter, per_second, range, resets, cursor, known })
    }

    fn slide(&mut self, samples: &Points<f64>, end: impl Fn(usize) -> i64, out: &mut [f64]) -> bool {
        let (times, values) = (&samples.times[..], &samples.values[..]);
        self.resets.clear();
        if self.counter {
            let began_anew = |w: (usize, &[f64])| (w.1[1] < w.1[0]).then_some(w.0);
            self.resets.extend(values.windows(2).enumerate().filter_map(began_anew));
        }
        self.cursor = Cursor::default();
        let per = if self.per_second { seconds(self.range) } else { 1.0 };
        let (mut any, mut reset) = (false, 0);
        for (i, out) in out.iter_mut().enumerate() {
            let end = end(i);
            let start = end.saturating_sub(self.range);
            let window = self.cursor.slide(times, start, end);
            if window.len() < 2 {
                continue;
            }
            let (from, last) = (window.start, window.end - 1);
            let mut growth = values[last] - values[from];
            while self.resets.get(reset).is_some_and(|r| *r < from) {
                reset += 1;
            }
            for r in self.resets[reset..].iter().take_while(|r| **r < last) {
                growth += values[*r];
            }
            let shape = (times[from] - start, times[last] - times[from], end - times[last], window.len());
            if shape != self.known.shape {
                self.known = Extrapolation::of(shape, per);
            }
            let Extrapolation { sampled, to_start, to_end, mut factor, .. } = self.known;
            // A counter was not below zero before its first sample.
            if self.counter
                && growth > 0.0
                && values[from] >= 0.0
                && values[from] * sampled < to_start * growth
            {
                let to_zero = sampled * (values[from] / growth);
                factor = (sampled + to_start.min(to_zero) + to_end) / sampled / per;
            }
            *out = growth * factor;
            any = true;
        }
        any
    }
}

#[cfg(test)]
mod tests;

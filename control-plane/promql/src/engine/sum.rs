//! Sums that keep what floats would lose: Kahan's method with Neumaier's improvement, as Prometheus sums.

/// A running sum and its compensation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) sum: f64,
    pub(crate) compensation: f64,
}

impl Sum {
    pub(crate) fn of(first: f64) -> Self {
        Sum { sum: first, compensation: 0.0 }
    }

    /// The error of the addition is Knuth's, which is Neumaier's to the bit, but asks not which is larger.
    #[inline]
    pub(crate) fn add(&mut self, x: f64) {
        let t = self.sum + x;
        let added = t - self.sum;
        let error = (self.sum - (t - added)) + (x - added);
        self.compensation = if t.is_infinite() { 0.0 } else { self.compensation + error };
        self.sum = t;
    }

    pub(crate) fn scale(&mut self, by: f64) {
        self.sum *= by;
        self.compensation *= by;
    }

    pub(crate) fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.compensation }
    }
}

/// A running mean: the sum divided at the end, or, once the sum overflows, the mean moved sample by sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mean {
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    pub(crate) fn of(first: f64) -> Self {
        Mean { sum: Sum::of(first), count: 1.0, incremental: false }
    }

    pub(crate) fn add(&mut self, x: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.sum;
            next.add(x);
            if !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.incremental = true;
            self.sum.sum /= self.count - 1.0;
            self.sum.compensation /= self.count - 1.0;
        }
        self.sum.scale((self.count - 1.0) / self.count);
        self.sum.add(x / self.count);
    }

    pub(crate) fn total(self) -> f64 {
        if self.incremental {
            self.sum.sum + self.sum.compensation
        } else {
            self.sum.sum / self.count + self.sum.compensation / self.count
        }
    }
}

/// Running variance, by Welford's method.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Variance {
    count: f64,
    mean: Sum,
    squares: Sum,
}

impl Variance {
    pub(crate) fn add(&mut self, x: f64) {
        self.count += 1.0;
        let delta = x - (self.mean.sum + self.mean.compensation);
        self.mean.add(delta / self.count);
        self.squares.add(delta * (x - (self.mean.sum + self.mean.compensation)));
    }

    pub(crate) fn total(self) -> f64 {
        (self.squares.sum + self.squares.compensation) / self.count
    }
}

/// The `q`-quantile of values, interpolated between neighbours; they are sorted on the way.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    // NaN sorts lowest, as in Prometheus.
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^53 values")]
    let rank = q * (values.len() - 1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= rank < len")]
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

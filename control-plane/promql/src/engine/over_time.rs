//! `*_over_time` and the functions that fit a line or a trend to the samples of a window.

use super::{
    EvalError,
    eval::execution,
    histograms,
    range::{Notes, Window},
    select::seconds,
    sum::{self, Mean, Sum, Variance},
};
use model::Value;
use std::sync::Arc;

type Given = Result<Option<Value>, EvalError>;

fn float(v: f64) -> Given {
    Ok(Some(Value::Float(v)))
}

/// For functions that look at floats only: whether there are any, with a remark if there are histograms beside.
fn floats_only(w: &Window<'_>, notes: &mut Notes<'_>) -> bool {
    if w.floats.is_empty() {
        return false;
    }
    if !w.histograms.is_empty() {
        notes.ignored_histograms();
    }
    true
}

pub(crate) fn avg(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    if !w.floats.is_empty() && !w.histograms.is_empty() {
        notes.mixed();
        return Ok(None);
    }
    let Some((first, rest)) = w.floats.values.split_first() else {
        return Ok(histograms::fold(w.histograms.values, true, notes));
    };
    let mut mean = Mean::of(*first);
    rest.iter().for_each(|v| mean.add(*v));
    float(mean.total())
}

pub(crate) fn sum(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    if !w.floats.is_empty() && !w.histograms.is_empty() {
        notes.mixed();
        return Ok(None);
    }
    if w.floats.is_empty() {
        return Ok(histograms::fold(w.histograms.values, false, notes));
    }
    let mut sum = Sum::default();
    w.floats.values.iter().for_each(|v| sum.add(*v));
    float(sum.total())
}

#[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^53 samples")]
pub(crate) fn count(w: &Window<'_>, _: &[f64], _: &mut Notes<'_>) -> Given {
    float((w.floats.len() + w.histograms.len()) as f64)
}

pub(crate) fn present(_: &Window<'_>, _: &[f64], _: &mut Notes<'_>) -> Given {
    float(1.0)
}

pub(crate) fn first(w: &Window<'_>, _: &[f64], _: &mut Notes<'_>) -> Given {
    Ok(match (w.floats.times.first(), w.histograms.times.first()) {
        (Some(f), Some(h)) if h < f => Some(Value::Histogram(Arc::clone(&w.histograms.values[0]))),
        (Some(_), _) => Some(Value::Float(w.floats.values[0])),
        (None, _) => w.histograms.values.first().map(|h| Value::Histogram(Arc::clone(h))),
    })
}

pub(crate) fn last(w: &Window<'_>, _: &[f64], _: &mut Notes<'_>) -> Given {
    let histogram = || w.histograms.values.last().map(|h| Value::Histogram(Arc::clone(h)));
    Ok(match (w.floats.times.last(), w.histograms.times.last()) {
        (Some(f), Some(h)) if h > f => histogram(),
        (Some(_), _) => w.floats.values.last().map(|v| Value::Float(*v)),
        (None, _) => histogram(),
    })
}

pub(crate) fn time_of_first(w: &Window<'_>, _: &[f64], _: &mut Notes<'_>) -> Given {
    let times = w.floats.times.first().into_iter().chain(w.histograms.times.first());
    Ok(times.min().map(|t| Value::Float(seconds(*t))))
}

pub(crate) fn time_of_last(w: &Window<'_>, _: &[f64], _: &mut Notes<'_>) -> Given {
    let times = w.floats.times.last().into_iter().chain(w.histograms.times.last());
    Ok(times.max().map(|t| Value::Float(seconds(*t))))
}

/// The index of the sample that `better` prefers to all before it; NaN yields to anything.
fn best(w: &Window<'_>, notes: &mut Notes<'_>, better: fn(f64, f64) -> bool) -> Option<usize> {
    if !floats_only(w, notes) {
        return None;
    }
    let values = w.floats.values;
    let pick = |best: usize, i: usize| {
        if better(values[i], values[best]) || values[best].is_nan() { i } else { best }
    };
    Some((0..values.len()).fold(0, pick))
}

pub(crate) fn max(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    Ok(best(w, notes, |a, b| a > b).map(|i| Value::Float(w.floats.values[i])))
}

pub(crate) fn min(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    Ok(best(w, notes, |a, b| a < b).map(|i| Value::Float(w.floats.values[i])))
}

pub(crate) fn time_of_max(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    Ok(best(w, notes, |a, b| a >= b).map(|i| Value::Float(seconds(w.floats.times[i]))))
}

pub(crate) fn time_of_min(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    Ok(best(w, notes, |a, b| a <= b).map(|i| Value::Float(seconds(w.floats.times[i]))))
}

fn variance(w: &Window<'_>, notes: &mut Notes<'_>) -> Option<f64> {
    floats_only(w, notes).then(|| {
        let mut variance = Variance::default();
        w.floats.values.iter().for_each(|v| variance.add(*v));
        variance.total()
    })
}

pub(crate) fn stdvar(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    Ok(variance(w, notes).map(Value::Float))
}

pub(crate) fn stddev(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    Ok(variance(w, notes).map(|v| Value::Float(v.sqrt())))
}

pub(crate) fn quantile(w: &Window<'_>, args: &[f64], notes: &mut Notes<'_>) -> Given {
    let q = args.first().copied().unwrap_or(f64::NAN);
    if w.floats.is_empty() {
        return Ok(None);
    }
    histograms::check_quantile(q, notes.first, notes.annotations);
    floats_only(w, notes);
    float(sum::quantile(q, &mut w.floats.values.to_vec()))
}

pub(crate) fn mad(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    if !floats_only(w, notes) {
        return Ok(None);
    }
    let mut values = w.floats.values.to_vec();
    let median = sum::quantile(0.5, &mut values);
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    float(sum::quantile(0.5, &mut values))
}

/// Slope, and value at `origin`, of the line with the least squares. Needs at least one sample.
fn line(w: &Window<'_>, origin: i64) -> (f64, f64) {
    let values = w.floats.values;
    if values.iter().all(|v| *v == values[0]) {
        return if values[0].is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, values[0]) };
    }
    let (mut n, mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (0.0, Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for (t, y) in w.floats.times.iter().zip(values) {
        let x = seconds(t - origin);
        n += 1.0;
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let total = |s: Sum| s.sum + s.compensation;
    let (sx, sy) = (total(x_sum), total(y_sum));
    let slope = (total(xy_sum) - sx * sy / n) / (total(xx_sum) - sx * sx / n);
    (slope, sy / n - slope * sx / n)
}

/// For functions that need two floats.
fn two_floats(w: &Window<'_>, notes: &mut Notes<'_>) -> bool {
    if !w.floats.is_empty() && !w.histograms.is_empty() {
        notes.ignored_histograms();
    }
    w.floats.len() >= 2
}

pub(crate) fn deriv(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    if !two_floats(w, notes) {
        return Ok(None);
    }
    // An origin near the samples keeps precision.
    float(line(w, w.floats.times[0]).0)
}

pub(crate) fn predict_linear(w: &Window<'_>, args: &[f64], notes: &mut Notes<'_>) -> Given {
    if !two_floats(w, notes) {
        return Ok(None);
    }
    let (slope, intercept) = line(w, w.at);
    float(slope * args.first().copied().unwrap_or(f64::NAN) + intercept)
}

/// Holt's method: a smoothed value and a smoothed trend.
pub(crate) fn double_exponential_smoothing(w: &Window<'_>, args: &[f64], notes: &mut Notes<'_>) -> Given {
    let factor = |i: usize, name: &str, short: &str| {
        let v = args.get(i).copied().unwrap_or(f64::NAN);
        if v <= 0.0 || v >= 1.0 {
            return execution(format!("invalid {name} factor. Expected: 0 < {short} < 1, got: {v:.6}"));
        }
        Ok(v)
    };
    let (smoothing, trend) = (factor(0, "smoothing", "sf")?, factor(1, "trend", "tf")?);
    if !two_floats(w, notes) {
        return Ok(None);
    }
    let values = w.floats.values;
    let (mut previous, mut current, mut slope) = (0.0, values[0], values[1] - values[0]);
    for (i, v) in values.iter().enumerate().skip(1) {
        if i > 1 {
            slope = trend * (current - previous) + (1.0 - trend) * slope;
        }
        let next = smoothing * v + (1.0 - smoothing) * (current + slope);
        (previous, current) = (current, next);
    }
    float(current)
}

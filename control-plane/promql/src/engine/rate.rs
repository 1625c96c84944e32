//! `rate` and its kin: how counters grow and gauges move within a window.
//!
//! The extrapolation is Prometheus's: up to the window's edges where samples lie near them, half an average
//! distance beyond the samples where they do not, and never below zero for counters.

use super::{
    EvalError, histograms,
    range::{Notes, Slice, Window},
    select::seconds,
};
use crate::ast::Extent;
use model::{CounterReset, Histogram, Value};
use std::sync::Arc;

type Given = Result<Option<Value>, EvalError>;

pub(crate) fn rate(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    extrapolated(w, notes, true, true)
}

pub(crate) fn increase(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    extrapolated(w, notes, true, false)
}

pub(crate) fn delta(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    extrapolated(w, notes, false, false)
}

/// Whether the sample at `i + 1` began counting anew after the one at `i`, by their start times.
pub(crate) fn restarted<T>(s: &Slice<'_, T>, i: usize) -> bool {
    if s.starts.is_empty() {
        return false;
    }
    let (before, now) = (s.times[i], s.times[i + 1]);
    let (start_before, start) = (s.start(i), s.start(i + 1));
    if start == 0 || start >= now || start < before {
        return false;
    }
    // A start at the sample before: a delta, unless that one's own start is unknown or impossible.
    start > before || (start_before != 0 && start_before < before)
}

fn overlap_warning<T>(s: &Slice<'_, T>, notes: &mut Notes<'_>) {
    let overlaps = (1..s.len()).any(|i| {
        let start = s.start(i);
        start != 0 && start < s.times[i - 1] && start != s.start(i - 1)
    });
    if !s.starts.is_empty() && overlaps {
        let message = format!(
            "sample has start time that overlaps with previous sample timestamp for metric {:?}",
            notes.name()
        );
        notes.annotations.warn(notes.first, message);
    }
}

fn extrapolated(w: &Window<'_>, notes: &mut Notes<'_>, counter: bool, per_second: bool) -> Given {
    if !w.floats.is_empty() && !w.histograms.is_empty() {
        notes.mixed();
        return Ok(None);
    }
    if w.extent.is_some() && !w.histograms.is_empty() {
        let growth = extended_histograms(w, notes, counter);
        let by = if per_second { 1.0 / seconds(w.end - w.start) } else { 1.0 };
        return Ok(growth.map(|h| Value::Histogram(Arc::new(histograms::scaled(&h, by)))));
    }
    if w.extent.is_some() {
        return Ok(extended(w, counter, per_second).map(Value::Float));
    }
    let known_start = |first_start: i64, first: i64| {
        (counter && first_start != 0 && first_start > w.start && first_start < first).then_some(first_start)
    };
    if w.floats.len() > 1
        || (w.floats.len() == 1 && known_start(w.floats.start(0), w.floats.times[0]).is_some())
    {
        let s = &w.floats;
        let mut growth = s.values[s.len() - 1] - s.values[0];
        if counter {
            for i in 0..s.len() - 1 {
                if s.values[i + 1] < s.values[i] || restarted(s, i) {
                    growth += s.values[i];
                }
            }
            overlap_warning(s, notes);
        }
        let from = known_start(s.start(0), s.times[0]);
        if from.is_some() {
            growth += s.values[0];
        }
        let zero = (counter && growth > 0.0 && s.values[0] >= 0.0).then(|| s.values[0] / growth);
        let by = factor(w, s.times, from, zero, per_second);
        return Ok(Some(Value::Float(growth * by)));
    }
    if w.histograms.len() > 1
        || (w.histograms.len() == 1 && known_start(w.histograms.start(0), w.histograms.times[0]).is_some())
    {
        let s = &w.histograms;
        let from = known_start(s.start(0), s.times[0]);
        let Some(growth) = histograms::growth(s, counter, from.is_some(), notes) else { return Ok(None) };
        if counter {
            overlap_warning(s, notes);
        }
        let first = s.values[0].count;
        let zero = (counter && growth.count > 0.0 && first >= 0.0).then(|| first / growth.count);
        let by = factor(w, s.times, from, zero, per_second);
        return Ok(Some(Value::Histogram(Arc::new(histograms::scaled(&growth, by)))));
    }
    Ok(None)
}

/// What to multiply the growth between first and last sample with. `from`: when the counter is known to have
/// been zero; `zero`: which part of the growth the first value is.
#[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^53 samples")]
fn factor(w: &Window<'_>, times: &[i64], from: Option<i64>, zero: Option<f64>, per_second: bool) -> f64 {
    let (first, last) = (times[0], times[times.len() - 1]);
    let begin = from.unwrap_or(first);
    let sampled = seconds(last - begin);
    // How far apart samples are, only samples can tell; a single one does not reach beyond itself.
    let average = seconds(last - first) / times.len().saturating_sub(1).max(1) as f64;
    let threshold = average * 1.1;
    let mut to_start = if from.is_some() { 0.0 } else { seconds(begin - w.start) };
    if to_start >= threshold {
        to_start = average / 2.0;
    }
    if let (Some(part), None) = (zero, from) {
        to_start = to_start.min(sampled * part);
    }
    let mut to_end = seconds(w.end - last);
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let factor = (sampled + to_start + to_end) / sampled;
    if per_second { factor / seconds(w.end - w.start) } else { factor }
}

/// The samples at or around the edges of an extended window: the last one up to its start, or the first of all;
/// and the last one, which for smoothing is the first from its end on. `None` if they say nothing about it.
fn edges(w: &Window<'_>, times: &[i64]) -> Option<(usize, usize)> {
    let smoothed = w.extent == Some(Extent::Smoothed);
    let end = times.len().checked_sub(1)?;
    let first = times[..end].partition_point(|t| *t <= w.start).saturating_sub(1);
    let last = if smoothed { times[..end].partition_point(|t| *t < w.end) } else { end };
    (times[last] > w.start && !(smoothed && times[first] > w.end)).then_some((first, last))
}

/// [`extended`] for histograms: the growth within the window.
fn extended_histograms(w: &Window<'_>, notes: &mut Notes<'_>, counter: bool) -> Option<Histogram> {
    let (times, values) = (w.histograms.times, w.histograms.values);
    let smoothed = w.extent == Some(Extent::Smoothed);
    let (first, last) = edges(w, times)?;
    let used = &values[first..=last];
    let gauges = |h: &Arc<Histogram>| h.reset == CounterReset::Gauge;
    if counter && used.iter().any(gauges) {
        histograms::warn_not_counter(notes.first, notes);
    }
    let all_gauges = gauges(&values[first]) && gauges(&values[last]);
    if !counter && !all_gauges {
        histograms::warn_not_gauge(notes.first, notes);
    }
    if used.iter().any(|h| h.uses_custom_buckets() != values[last].uses_custom_buckets()) {
        let name = notes.name().to_owned();
        histograms::warn_mixed_schemas(&name, notes.first, notes.annotations);
        return None;
    }
    let mut between = |a: usize, at: i64| {
        let fraction = seconds(at - times[a]) / seconds(times[a + 1] - times[a]);
        histograms::between(&values[a], &values[a + 1], fraction, counter, notes)
    };
    // An interpolated left edge already lies after a reset that falls between its samples.
    let left_between = smoothed && times[first] < w.start;
    let left = if left_between { between(first, w.start)? } else { (*values[first]).clone() };
    let right = if smoothed && last > 0 && times[last] > w.end {
        between(last - 1, w.end)?
    } else {
        (*values[last]).clone()
    };
    let mut result = histograms::difference(&right, &left, notes.first, notes)?;
    for k in first..last {
        if counter && !(k == first && left_between) && histograms::is_reset(&values[k + 1], &values[k]) {
            result = crate::histogram::add(&result, &values[k]).ok()?.0;
        }
    }
    result.reset = CounterReset::Gauge;
    Some(result)
}

/// `anchored` and `smoothed`: no extrapolation; the edges' values are looked up or interpolated.
fn extended(w: &Window<'_>, counter: bool, per_second: bool) -> Option<f64> {
    let (times, values) = (w.floats.times, w.floats.values);
    let smoothed = w.extent == Some(Extent::Smoothed);
    let (mut first, last) = edges(w, times)?;
    let between = |a: usize, b: usize, at: i64| {
        let y0 = if counter && values[b] < values[a] { 0.0 } else { values[a] };
        y0 + (values[b] - y0) * seconds(at - times[a]) / seconds(times[b] - times[a])
    };
    let left =
        if smoothed && times[first] < w.start { between(first, first + 1, w.start) } else { values[first] };
    let right = if smoothed && last > 0 && times[last] > w.end {
        between(last - 1, last, w.end)
    } else {
        values[last]
    };
    let mut result = right - left;
    if counter {
        if times[first] <= w.start {
            first += 1;
        }
        let end = if times[last] >= w.end { last } else { last + 1 };
        let mut previous = left;
        for v in values.get(first..end).unwrap_or(&[]).iter().chain([&right]) {
            if *v < previous {
                result += previous;
            }
            previous = *v;
        }
    }
    Some(if per_second { result / seconds(w.end - w.start) } else { result })
}

pub(crate) fn irate(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    last_two(w, notes, true)
}

pub(crate) fn idelta(w: &Window<'_>, _: &[f64], notes: &mut Notes<'_>) -> Given {
    last_two(w, notes, false)
}

/// One sample of either kind.
struct Point<'a> {
    time: i64,
    start: i64,
    value: Either<'a>,
}

enum Either<'a> {
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

/// All samples of a window by time.
fn in_order<'a>(w: &Window<'a>) -> impl DoubleEndedIterator<Item = Point<'a>> {
    let (floats, histograms) = (w.floats, w.histograms);
    let mut all: Vec<Point<'a>> = Vec::with_capacity(floats.len() + histograms.len());
    let mut h = 0;
    for f in 0..=floats.len() {
        let until = floats.times.get(f).copied().unwrap_or(i64::MAX);
        while h < histograms.len() && (histograms.times[h] < until || f == floats.len()) {
            let value = Either::Histogram(&histograms.values[h]);
            all.push(Point { time: histograms.times[h], start: histograms.start(h), value });
            h += 1;
        }
        if f < floats.len() {
            all.push(Point {
                time: floats.times[f],
                start: floats.start(f),
                value: Either::Float(floats.values[f]),
            });
        }
    }
    all.into_iter()
}

fn restarted_between(a: &Point<'_>, b: &Point<'_>) -> bool {
    if b.start == 0 || b.start >= b.time || b.start < a.time {
        return false;
    }
    b.start > a.time || (a.start != 0 && a.start < a.time)
}

fn last_two(w: &Window<'_>, notes: &mut Notes<'_>, counter: bool) -> Given {
    let two = |w: &Window<'_>| w.floats.len() + w.histograms.len() >= 2;
    if !two(w) {
        return Ok(None);
    }
    // Only the ends matter: keep at most two of each kind.
    let tail = Window { floats: tail(w.floats), histograms: tail(w.histograms), ..*w };
    let mut points = in_order(&tail).rev();
    let (Some(b), Some(a)) = (points.next(), points.next()) else { return Ok(None) };
    let interval = seconds(b.time - a.time);
    if interval == 0.0 {
        return Ok(None);
    }
    match (&a.value, &b.value) {
        (Either::Float(x), Either::Float(y)) => {
            let reset = counter && (y < x || restarted_between(&a, &b));
            let difference = if reset { *y } else { y - x };
            Ok(Some(Value::Float(if counter { difference / interval } else { difference })))
        }
        (Either::Histogram(x), Either::Histogram(y)) => {
            let gauges = [x, y].map(|h| h.reset == CounterReset::Gauge);
            if counter && gauges.contains(&true) {
                histograms::warn_not_counter(notes.all, notes);
            }
            if !counter && gauges.contains(&false) {
                histograms::warn_not_gauge(notes.all, notes);
            }
            let reset = counter && (restarted_between(&a, &b) || histograms::is_reset(y, x));
            let difference = if reset {
                (***y).clone()
            } else {
                match histograms::difference(y, x, notes.all, notes) {
                    Some(d) => d,
                    None => return Ok(None),
                }
            };
            let by = if counter { 1.0 / interval } else { 1.0 };
            let mut result = histograms::scaled(&difference, by);
            result.reset = CounterReset::Gauge;
            Ok(Some(Value::Histogram(Arc::new(result))))
        }
        _ => {
            let message =
                format!("encountered a mix of histograms and floats for metric name {:?}", notes.name());
            notes.annotations.warn(notes.all, message);
            Ok(None)
        }
    }
}

fn tail<'a, T>(s: Slice<'a, T>) -> Slice<'a, T> {
    let from = s.len().saturating_sub(2);
    Slice { times: &s.times[from..], values: &s.values[from..], starts: s.starts.get(from..).unwrap_or(&[]) }
}

/// How often `differs` holds between a sample and the one before it.
fn count_pairs(w: &Window<'_>, differs: impl Fn(&Point<'_>, &Point<'_>) -> bool) -> Given {
    let mut points: Vec<Point<'_>> = in_order(w).collect();
    if w.extent == Some(Extent::Anchored) {
        if points.last().is_none_or(|p| p.time <= w.start) {
            return Ok(None);
        }
        let anchor = points.partition_point(|p| p.time <= w.start).saturating_sub(1);
        points.drain(..anchor);
    }
    let mut previous: Option<Point<'_>> = None;
    let mut n = 0u32;
    for point in points {
        if let Some(previous) = &previous {
            n += u32::from(differs(previous, &point));
        }
        previous = Some(point);
    }
    Ok(previous.map(|_| Value::Float(f64::from(n))))
}

pub(crate) fn changes(w: &Window<'_>, _: &[f64], _: &mut Notes<'_>) -> Given {
    count_pairs(w, |a, b| match (&a.value, &b.value) {
        (Either::Float(a), Either::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
        (Either::Histogram(a), Either::Histogram(b)) => !histograms::equal(a, b),
        _ => true,
    })
}

pub(crate) fn resets(w: &Window<'_>, _: &[f64], _: &mut Notes<'_>) -> Given {
    count_pairs(w, |a, b| match (&a.value, &b.value) {
        _ if restarted_between(a, b) => true,
        (Either::Float(a), Either::Float(b)) => b < a,
        (Either::Histogram(a), Either::Histogram(b)) => histograms::is_reset(b, a),
        _ => true,
    })
}

//! Floats as decimals: a number that somebody printed with few digits is an integer over a power of ten.
//!
//! `v == m / 10^e` in every bit, or there is no decimal: what comes back is what went in. Integers have `e == 0`.

/// The largest exponent. Numbers with more digits behind the point keep their bits.
pub(crate) const MAX_EXPONENT: u8 = 12;

const POWERS: [f64; 13] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];

/// Integers below are exact in a float.
const LIMIT: f64 = 9_007_199_254_740_992.0;

/// The integer that `v` is over `10^e`, or `None`; -0.0, infinities and NaNs are none.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "within the range where it is exact, and checked by the way back"
)]
pub(crate) fn scaled(v: f64, e: u8) -> Option<i64> {
    if e == 0 {
        let m = v as i64;
        return ((m as f64).to_bits() == v.to_bits() && v.abs() < LIMIT).then_some(m);
    }
    let power = POWERS[usize::from(e)];
    let wide = v * power;
    if wide.is_nan() || wide.abs() >= LIMIT {
        return None;
    }
    let m = (wide + 0.5f64.copysign(wide)) as i64;
    ((m as f64 / power).to_bits() == v.to_bits()).then_some(m)
}

/// The number that [`scaled`] took apart. `e` is at most [`MAX_EXPONENT`].
#[inline]
pub(crate) fn number(m: i64, e: u8) -> f64 {
    if e == 0 { m as f64 } else { m as f64 / POWERS[usize::from(e)] }
}

/// The smallest exponent from `from` on under which `v` is an integer, and that integer.
pub(crate) fn find(v: f64, from: u8) -> Option<(i64, u8)> {
    (from..=MAX_EXPONENT).find_map(|e| scaled(v, e).map(|m| (m, e)))
}

#[cfg(test)]
mod tests;

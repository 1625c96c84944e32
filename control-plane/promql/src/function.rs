//! The functions of PromQL: names, argument types, result types.
//!
//! The table is that of Prometheus 3.14's function reference; what they compute is in `engine`.

use crate::ast::ValueType;
use ValueType::{Matrix, Scalar, String as Text, Vector};

/// A function as the type checker sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: &'static str,
    pub args: &'static [ValueType],
    /// 0: exactly `args`. n > 0: the last of `args` may be absent, or stand up to n times. -1: any number of times.
    pub variadic: i8,
    pub returns: ValueType,
    pub experimental: bool,
}

const fn f(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, variadic: 0, returns, experimental: false }
}

const fn variadic(name: &'static str, args: &'static [ValueType], variadic: i8) -> Function {
    Function { name, args, variadic, returns: Vector, experimental: false }
}

const fn experimental(of: Function) -> Function {
    Function { experimental: true, ..of }
}

/// All functions, sorted by name.
pub const FUNCTIONS: &[Function] = &[
    f("abs", &[Vector], Vector),
    f("absent", &[Vector], Vector),
    f("absent_over_time", &[Matrix], Vector),
    f("acos", &[Vector], Vector),
    f("acosh", &[Vector], Vector),
    f("asin", &[Vector], Vector),
    f("asinh", &[Vector], Vector),
    f("atan", &[Vector], Vector),
    f("atanh", &[Vector], Vector),
    f("avg_over_time", &[Matrix], Vector),
    f("ceil", &[Vector], Vector),
    f("changes", &[Matrix], Vector),
    f("clamp", &[Vector, Scalar, Scalar], Vector),
    f("clamp_max", &[Vector, Scalar], Vector),
    f("clamp_min", &[Vector, Scalar], Vector),
    f("cos", &[Vector], Vector),
    f("cosh", &[Vector], Vector),
    f("count_over_time", &[Matrix], Vector),
    variadic("day_of_month", &[Vector], 1),
    variadic("day_of_week", &[Vector], 1),
    variadic("day_of_year", &[Vector], 1),
    variadic("days_in_month", &[Vector], 1),
    f("deg", &[Vector], Vector),
    f("delta", &[Matrix], Vector),
    f("deriv", &[Matrix], Vector),
    experimental(f("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector)),
    experimental(f("end", &[], Scalar)),
    f("exp", &[Vector], Vector),
    f("first_over_time", &[Matrix], Vector),
    f("floor", &[Vector], Vector),
    f("histogram_avg", &[Vector], Vector),
    f("histogram_count", &[Vector], Vector),
    f("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    f("histogram_quantile", &[Scalar, Vector], Vector),
    experimental(variadic("histogram_quantiles", &[Vector, Text, Scalar, Scalar], 9)),
    f("histogram_stddev", &[Vector], Vector),
    f("histogram_stdvar", &[Vector], Vector),
    f("histogram_sum", &[Vector], Vector),
    variadic("hour", &[Vector], 1),
    f("idelta", &[Matrix], Vector),
    f("increase", &[Matrix], Vector),
    experimental(variadic("info", &[Vector, Vector], 1)),
    f("irate", &[Matrix], Vector),
    variadic("label_join", &[Vector, Text, Text, Text], -1),
    f("label_replace", &[Vector, Text, Text, Text, Text], Vector),
    f("last_over_time", &[Matrix], Vector),
    f("ln", &[Vector], Vector),
    f("log10", &[Vector], Vector),
    f("log2", &[Vector], Vector),
    experimental(f("mad_over_time", &[Matrix], Vector)),
    experimental(f("max_of", &[Scalar, Scalar], Scalar)),
    f("max_over_time", &[Matrix], Vector),
    experimental(f("min_of", &[Scalar, Scalar], Scalar)),
    f("min_over_time", &[Matrix], Vector),
    variadic("minute", &[Vector], 1),
    variadic("month", &[Vector], 1),
    f("pi", &[], Scalar),
    f("predict_linear", &[Matrix, Scalar], Vector),
    f("present_over_time", &[Matrix], Vector),
    f("quantile_over_time", &[Scalar, Matrix], Vector),
    f("rad", &[Vector], Vector),
    experimental(f("range", &[], Scalar)),
    f("rate", &[Matrix], Vector),
    f("resets", &[Matrix], Vector),
    variadic("round", &[Vector, Scalar], 1),
    f("scalar", &[Vector], Scalar),
    f("sgn", &[Vector], Vector),
    f("sin", &[Vector], Vector),
    f("sinh", &[Vector], Vector),
    f("sort", &[Vector], Vector),
    experimental(variadic("sort_by_label", &[Vector, Text], -1)),
    experimental(variadic("sort_by_label_desc", &[Vector, Text], -1)),
    f("sort_desc", &[Vector], Vector),
    f("sqrt", &[Vector], Vector),
    experimental(f("start", &[], Scalar)),
    f("start_timestamp", &[Vector], Vector),
    f("stddev_over_time", &[Matrix], Vector),
    f("stdvar_over_time", &[Matrix], Vector),
    experimental(f("step", &[], Scalar)),
    f("sum_over_time", &[Matrix], Vector),
    f("tan", &[Vector], Vector),
    f("tanh", &[Vector], Vector),
    f("time", &[], Scalar),
    f("timestamp", &[Vector], Vector),
    experimental(f("ts_of_first_over_time", &[Matrix], Vector)),
    experimental(f("ts_of_last_over_time", &[Matrix], Vector)),
    experimental(f("ts_of_max_over_time", &[Matrix], Vector)),
    experimental(f("ts_of_min_over_time", &[Matrix], Vector)),
    f("vector", &[Scalar], Vector),
    variadic("year", &[Vector], 1),
];

/// The function of that name, which is case-sensitive except for the four words that are keywords elsewhere.
pub fn by_name(name: &str) -> Option<&'static Function> {
    let lower = name.to_ascii_lowercase();
    let name = if ["start", "end", "step", "range"].contains(&&*lower) { &*lower } else { name };
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
}

/// The name closest to a misspelt one, if any is close.
pub(crate) fn closest<'a>(name: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + name.chars().count() / 4;
    among.map(|n| (distance(name, n), n)).filter(|(d, _)| *d <= limit).min_by_key(|(d, _)| *d).map(|(_, n)| n)
}

/// Edit distance (insert, delete, replace, swap of neighbours).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

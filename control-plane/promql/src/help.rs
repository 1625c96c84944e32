//! What functions and operators do, in a sentence each, for people who write queries.

use crate::{
    ast::{
        Aggregate, AggregateOp, Binary, BinaryOp, Cardinality, Expr, ExprKind, Selector, Subquery, ValueType,
    },
    function::Function,
};
use model::{Matcher, labels::METRIC_NAME};

/// What a function does. In the order of the names, as `function::FUNCTIONS` is.
const FUNCTIONS: &[(&str, &str)] = &[
    ("abs", "the absolute value of each sample"),
    ("absent", "1 when nothing is selected, else nothing"),
    ("absent_over_time", "1 when the range has no sample at all, else nothing"),
    ("acos", "the arc cosine, in radians"),
    ("acosh", "the inverse hyperbolic cosine"),
    ("asin", "the arc sine, in radians"),
    ("asinh", "the inverse hyperbolic sine"),
    ("atan", "the arc tangent, in radians"),
    ("atanh", "the inverse hyperbolic tangent"),
    ("avg_over_time", "the mean of the samples in the range"),
    ("ceil", "rounds up to a whole number"),
    ("changes", "how often the value changed in the range"),
    ("clamp", "keeps values between a smallest and a largest one"),
    ("clamp_max", "lowers values to a largest one"),
    ("clamp_min", "raises values to a smallest one"),
    ("cos", "the cosine of an angle in radians"),
    ("cosh", "the hyperbolic cosine"),
    ("count_over_time", "the number of samples in the range"),
    ("day_of_month", "the day of the month, 1 to 31, of a time in UTC"),
    ("day_of_week", "the day of the week, 0 (Sunday) to 6, of a time in UTC"),
    ("day_of_year", "the day of the year, 1 to 366, of a time in UTC"),
    ("days_in_month", "how many days the month of a time has"),
    ("deg", "radians as degrees"),
    ("delta", "how much a gauge moved over the range"),
    ("deriv", "how fast a gauge moves, per second, by linear regression"),
    ("double_exponential_smoothing", "a gauge smoothed with its trend"),
    ("end", "the end of the query, in seconds since 1970"),
    ("exp", "e to the power of each sample"),
    ("first_over_time", "the oldest sample of the range"),
    ("floor", "rounds down to a whole number"),
    ("histogram_avg", "the mean of the observations of a native histogram"),
    ("histogram_count", "the number of observations of a native histogram"),
    ("histogram_fraction", "the share of observations between two values"),
    ("histogram_quantile", "the value below which that share of the observations lies"),
    ("histogram_quantiles", "several quantiles at once, each with its label"),
    ("histogram_stddev", "the standard deviation of the observations of a native histogram"),
    ("histogram_stdvar", "the variance of the observations of a native histogram"),
    ("histogram_sum", "the sum of the observations of a native histogram"),
    ("hour", "the hour, 0 to 23, of a time in UTC"),
    ("idelta", "the difference of the last two samples of the range"),
    ("increase", "how much a counter grew over the range; restarts are made up for"),
    ("info", "adds labels of an info metric to each series"),
    ("irate", "how fast a counter grows, per second, by its last two samples"),
    ("label_join", "writes the values of some labels into another one"),
    ("label_replace", "writes a label from what a regular expression finds in another one"),
    ("last_over_time", "the newest sample of the range"),
    ("ln", "the natural logarithm"),
    ("log10", "the decimal logarithm"),
    ("log2", "the binary logarithm"),
    ("mad_over_time", "the median distance from the median in the range"),
    ("max_of", "the larger of two numbers"),
    ("max_over_time", "the largest sample of the range"),
    ("min_of", "the smaller of two numbers"),
    ("min_over_time", "the smallest sample of the range"),
    ("minute", "the minute, 0 to 59, of a time in UTC"),
    ("month", "the month, 1 to 12, of a time in UTC"),
    ("pi", "the number pi"),
    ("predict_linear", "where a gauge will be so many seconds from now, by linear regression"),
    ("present_over_time", "1 for each series that has a sample in the range"),
    ("quantile_over_time", "the value below which that share of the samples of the range lies"),
    ("rad", "degrees as radians"),
    ("range", "how long the query's time range is, in seconds"),
    ("rate", "how fast a counter grows, per second, over the range; restarts are made up for"),
    ("resets", "how often a counter began anew in the range"),
    ("round", "rounds to the nearest whole number, or multiple of another one"),
    ("scalar", "the only series' value as a number; NaN if there is not exactly one"),
    ("sgn", "1 for positive samples, -1 for negative ones, else 0"),
    ("sin", "the sine of an angle in radians"),
    ("sinh", "the hyperbolic sine"),
    ("sort", "sorts by value, smallest first"),
    ("sort_by_label", "sorts by the values of labels, in natural order"),
    ("sort_by_label_desc", "sorts by the values of labels, in reverse natural order"),
    ("sort_desc", "sorts by value, largest first"),
    ("sqrt", "the square root"),
    ("start", "the start of the query, in seconds since 1970"),
    ("start_timestamp", "when a counter began to count, in seconds since 1970"),
    ("stddev_over_time", "the standard deviation of the samples in the range"),
    ("stdvar_over_time", "the variance of the samples in the range"),
    ("step", "the query's step, in seconds"),
    ("sum_over_time", "the sum of the samples in the range"),
    ("tan", "the tangent of an angle in radians"),
    ("tanh", "the hyperbolic tangent"),
    ("time", "the time of evaluation, in seconds since 1970"),
    ("timestamp", "the time of each sample, in seconds since 1970"),
    ("ts_of_first_over_time", "when the oldest sample of the range was taken"),
    ("ts_of_last_over_time", "when the newest sample of the range was taken"),
    ("ts_of_max_over_time", "when the largest sample of the range was last taken"),
    ("ts_of_min_over_time", "when the smallest sample of the range was last taken"),
    ("vector", "a number as a series without labels"),
    ("year", "the year of a time in UTC"),
];

/// What the function of that name does; empty if there is none.
pub fn function(name: &str) -> &'static str {
    FUNCTIONS.binary_search_by(|(n, _)| n.cmp(&name)).map_or("", |i| FUNCTIONS[i].1)
}

/// How a function is called: `clamp(instant vector, scalar, scalar)`.
pub fn signature(f: &Function) -> String {
    let types: Vec<&str> = f.args.iter().map(|t| t.as_str()).collect();
    let args = match (f.variadic, types.split_last()) {
        (0, _) | (_, None) => types.join(", "),
        (_, Some((last, []))) => format!("[{last}]"),
        (_, Some((last, first))) => format!("{}, [{last}]", first.join(", ")),
    };
    let more = if f.variadic == 0 || f.variadic == 1 { "" } else { "..." };
    format!("{}({args}{more})", f.name)
}

/// What an aggregation does.
pub fn aggregation(op: AggregateOp) -> &'static str {
    match op {
        AggregateOp::Sum => "adds the values up",
        AggregateOp::Avg => "takes the mean of the values",
        AggregateOp::Count => "counts the series",
        AggregateOp::Min => "takes the smallest value",
        AggregateOp::Max => "takes the largest value",
        AggregateOp::Group => "gives 1 for each group",
        AggregateOp::Stddev => "takes the standard deviation of the values",
        AggregateOp::Stdvar => "takes the variance of the values",
        AggregateOp::Topk => "keeps the series with the largest values",
        AggregateOp::Bottomk => "keeps the series with the smallest values",
        AggregateOp::CountValues => "counts how often each value occurs",
        AggregateOp::Quantile => "takes the value below which that share of the values lies",
        AggregateOp::Limitk => "keeps so many series, any of them",
        AggregateOp::LimitRatio => "keeps that share of the series, chosen by their labels",
    }
}

fn operator(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "adds both sides",
        BinaryOp::Sub => "takes the right side from the left one",
        BinaryOp::Mul => "multiplies both sides",
        BinaryOp::Div => "divides the left side by the right one",
        BinaryOp::Mod => "takes the remainder of dividing the left side by the right one",
        BinaryOp::Pow => "raises the left side to the power of the right one",
        BinaryOp::Atan2 => "takes the angle of both sides",
        BinaryOp::Eq => "keeps what is equal",
        BinaryOp::Ne => "keeps what is not equal",
        BinaryOp::Lt => "keeps what is less than the right side",
        BinaryOp::Le => "keeps what is at most the right side",
        BinaryOp::Gt => "keeps what is greater than the right side",
        BinaryOp::Ge => "keeps what is at least the right side",
        BinaryOp::TrimUpper => "cuts histograms off above the right side",
        BinaryOp::TrimLower => "cuts histograms off below the right side",
        BinaryOp::And => "keeps series of the left side that have a partner on the right one",
        BinaryOp::Or => "takes the left side, and what the right one has beyond it",
        BinaryOp::Unless => "keeps series of the left side that have no partner on the right one",
    }
}

/// What one node of an expression does, in a sentence without its end.
pub fn node(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Number(_) => "a number".to_owned(),
        ExprKind::String(_) => "a text".to_owned(),
        ExprKind::Paren(inner) => node(inner),
        ExprKind::Unary { negative: true, .. } => "changes the sign".to_owned(),
        ExprKind::Unary { .. } => "changes nothing".to_owned(),
        ExprKind::Selector(s) => selector(s),
        ExprKind::Subquery(s) => subquery(s),
        ExprKind::Call(c) => match function(c.function.name) {
            "" => format!("calls {}", c.function.name),
            does => format!("gives {does}"),
        },
        ExprKind::Aggregate(a) => aggregate(a),
        ExprKind::Binary(b) => binary(b),
    }
}

fn selector(s: &Selector) -> String {
    let conditions = s.matchers.iter().filter(|m| &*m.name != METRIC_NAME || s.name.is_none());
    let conditions: Vec<String> = conditions.map(Matcher::to_string).collect();
    let of = match (&s.name, conditions.is_empty()) {
        (Some(name), true) => format!("each series of {name}"),
        (Some(name), false) => format!("each series of {name} with {}", conditions.join(", ")),
        (None, _) => format!("each series with {}", conditions.join(", ")),
    };
    let mut out = match &s.range {
        Some(range) => format!("takes all samples of the last {range} of {of}"),
        None => format!("takes the newest sample of {of}"),
    };
    if let Some(offset) = &s.offset {
        out.push_str(&format!(", {offset} earlier"));
    }
    if s.at.is_some() {
        out.push_str(", at one fixed time");
    }
    out
}

fn subquery(s: &Subquery) -> String {
    let step = s.step.as_ref().map_or_else(|| "the usual step".to_owned(), ToString::to_string);
    format!("evaluates what is inside over the last {}, every {step}", s.range)
}

fn aggregate(a: &Aggregate) -> String {
    let names = a.grouping.join(", ");
    let groups = match (a.without, a.grouping.is_empty()) {
        (false, true) => ", over all series".to_owned(),
        (false, false) => format!(", one group for each {names}"),
        (true, true) => ", one group for each set of labels".to_owned(),
        (true, false) => format!(", one group for each set of labels but {names}"),
    };
    format!("{}{groups}", aggregation(a.op))
}

fn binary(b: &Binary) -> String {
    let mut out = if b.return_bool {
        format!("gives 1 where the left side is {} the right one, else 0", b.op.as_str())
    } else {
        operator(b.op).to_owned()
    };
    let vector = |e: &Expr| e.value_type() == ValueType::Vector;
    if vector(&b.lhs) && vector(&b.rhs) {
        let labels = b.matching.labels.join(", ");
        out.push_str(&match (b.matching.on, labels.is_empty()) {
            (true, true) => "; every series is a partner of every other".to_owned(),
            (true, false) => format!("; partners have the same {labels}"),
            (false, true) => "; partners have the same labels".to_owned(),
            (false, false) => format!("; partners have the same labels but {labels}"),
        });
        match b.matching.cardinality {
            Cardinality::OneToOne => {}
            Cardinality::ManyToOne => out.push_str(", many on the left for one on the right"),
            Cardinality::OneToMany => out.push_str(", many on the right for one on the left"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{function, parse};

    #[test]
    fn every_function_and_nothing_else_is_explained() {
        let known: Vec<&str> = function::FUNCTIONS.iter().map(|f| f.name).collect();
        let explained: Vec<&str> = FUNCTIONS.iter().map(|(n, _)| *n).collect();
        assert_eq!(known, explained);
    }

    #[test]
    fn a_signature_shows_what_may_be_left_out() {
        for (name, expect) in [
            ("rate", "rate(range vector)"),
            ("clamp", "clamp(instant vector, scalar, scalar)"),
            ("round", "round(instant vector, [scalar])"),
            ("hour", "hour([instant vector])"),
            ("label_join", "label_join(instant vector, string, string, [string]...)"),
            ("time", "time()"),
        ] {
            assert_eq!(signature(function::by_name(name).expect("known")), expect);
        }
    }

    #[test]
    fn a_node_is_told_in_words() {
        for (query, expect) in [
            ("up", "takes the newest sample of each series of up"),
            (
                "up{job=\"a\"}[5m] offset 1h",
                "takes all samples of the last 5m of each series of up with job=\"a\", 1h earlier",
            ),
            ("sum by (job) (up)", "adds the values up, one group for each job"),
            (
                "a / on (x) group_left b",
                "divides the left side by the right one; partners have the same x, many on the left for one on the right",
            ),
            ("up == bool 1", "gives 1 where the left side is == the right one, else 0"),
            (
                "rate(a[5m])",
                "gives how fast a counter grows, per second, over the range; restarts are made up for",
            ),
        ] {
            assert_eq!(node(&parse(query).expect("parses")), expect);
        }
    }
}

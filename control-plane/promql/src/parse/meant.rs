//! What somebody probably meant who wrote what cannot be read. Each answer continues a message, or is empty.

use super::lex::Kind;
use crate::{
    ast::{AggregateOp, Expr, ExprKind, ValueType},
    function,
};

/// Words that stand between expressions.
const KEYWORDS: [&str; 16] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "and",
    "or",
    "unless",
    "atan2",
    "offset",
    "anchored",
    "smoothed",
    "fill_left",
    "fill_right",
];

/// What other systems call units.
const UNITS: [(&str, &str); 14] = [
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("hr", "h"),
    ("hour", "h"),
    ("hours", "h"),
    ("day", "d"),
    ("days", "d"),
    ("weeks", "w"),
];

fn question(meant: impl std::fmt::Debug) -> String {
    format!(", did you mean {meant:?}?")
}

/// Instead of an unknown function.
pub(super) fn function(name: &str) -> String {
    let names = function::FUNCTIONS.iter().map(|f| f.name).chain(AggregateOp::ALL.iter().map(|(n, _)| *n));
    let lower = name.to_ascii_lowercase();
    function::closest(&lower, names).map(question).unwrap_or_default()
}

/// Instead of a token that cannot stand where it does.
pub(super) fn instead(kind: Kind, text: &str, wanted: &str) -> String {
    match kind {
        Kind::Word if wanted.starts_with("an operator") => {
            let lower = text.to_ascii_lowercase();
            match &*lower {
                "by" | "without" => {
                    format!(
                        ": it goes with an aggregation, and has its labels in parentheses, like sum {lower} (job) (up)"
                    )
                }
                "on" | "ignoring" | "group_left" | "group_right" | "bool" => {
                    ": it stands right after an operator, like a / on (job) b".to_owned()
                }
                // At the right word in the wrong place there is nothing to correct.
                word if KEYWORDS.contains(&word) => String::new(),
                word => function::closest(word, KEYWORDS.into_iter()).map(question).unwrap_or_default(),
            }
        }
        Kind::Word if wanted == "string" => {
            format!(": values of labels stand in quotes, {:?}", crate::error::shortened(text))
        }
        Kind::Number if wanted == "string" => format!(": values of labels stand in quotes, \"{text}\""),
        Kind::Equal if wanted == "label matching operator" => question("="),
        Kind::Assign if wanted.starts_with("an operator") => question("=="),
        Kind::MatchRegex | Kind::NotRegex if wanted.starts_with("an operator") => {
            ": labels are matched in braces, like up{job=~\"api.*\"}".to_owned()
        }
        Kind::RightParen if wanted == "an operator or the end" => ": it closes nothing".to_owned(),
        Kind::LeftParen if wanted == "an operator or the end" => {
            ": an operator, or the name of a function before it, is missing".to_owned()
        }
        _ => String::new(),
    }
}

/// Instead of a character that begins nothing.
pub(super) fn character(rest: &str) -> String {
    match rest.get(..2) {
        Some("&&") => question("and"),
        Some("||") => question("or"),
        _ if rest.starts_with('!') => question("unless"),
        _ if rest.starts_with(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) => {
            ": write plain quotes, \"...\"".to_owned()
        }
        _ => String::new(),
    }
}

/// Instead of a duration with the unit of another language.
pub(super) fn unit(literal: &str) -> String {
    let digits = literal.bytes().take_while(u8::is_ascii_digit).count();
    let Some((number, unit)) = literal.split_at_checked(digits) else { return String::new() };
    let lower = unit.to_ascii_lowercase();
    let known = UNITS.iter().find(|(n, _)| *n == lower).map(|(_, unit)| *unit);
    let upper = ["ms", "s", "m", "h", "d", "w", "y"].into_iter().find(|u| *u == lower);
    let meant = known.or(upper).map(|unit| format!("{number}{unit}"));
    meant.filter(|meant| meant != literal).map(question).unwrap_or_default()
}

/// Instead of what looks like a duration, and is none.
pub(super) fn duration(literal: &str) -> String {
    let units = literal.trim_start_matches(|c: char| c.is_ascii_digit());
    if matches!(units, "ms" | "s" | "m" | "h" | "d" | "w" | "y") {
        return ": the longest one has 292 years".to_owned();
    }
    format!("{}: write units from large to small, each once, like 1d12h30m", unit(literal))
}

/// What is missing at an argument of another type.
pub(super) fn argument(input: &str, function: &str, wanted: ValueType, arg: &Expr) -> String {
    let text = input.get(arg.span.start..arg.span.end).unwrap_or("");
    if text.len() > 60 {
        return String::new();
    }
    match (wanted, arg.value_type(), &arg.unparen().kind) {
        (ValueType::Matrix, ValueType::Vector, ExprKind::Selector(_)) => {
            format!(": {function} needs a range, {text}[5m]")
        }
        (ValueType::Matrix, ValueType::Vector, _) => {
            format!(": {function} needs a range; of an expression that is a subquery, {text}[5m:1m]")
        }
        (ValueType::Vector, ValueType::Matrix, ExprKind::Selector(_)) => {
            format!(
                ": {function} takes no range; leave the brackets away, or put a function like rate() around {text}"
            )
        }
        (ValueType::Vector, ValueType::Scalar, _) => format!(": write vector({text})"),
        (ValueType::Scalar, ValueType::Vector, _) => format!(": write scalar({text})"),
        _ => String::new(),
    }
}

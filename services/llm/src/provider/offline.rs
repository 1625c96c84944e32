//! The offline tutor: deterministic, without a network, and honest about both.
//!
//! It knows a fixed set of common mistakes in nine languages ([`rules`]), corrects those, says that it is
//! offline, and asks a question to go on. It understands nothing else, and does not pretend to.

mod phrases;
mod rules;

use super::Raw;
use crate::{ChatRequest, Correction, Mode, Role, Usage};
use phrases::Phrases;
use rules::Rule;

/// The name under which its use is reserved and priced.
pub const MODEL: &str = "tutor-1";

/// The languages it knows mistakes of.
pub const LANGUAGES: [&str; 9] = ["en", "fr", "es", "it", "de", "pt", "zh", "ja", "ru"];

/// Roughly four bytes a token, as in alphabetic text; never zero for what is not empty.
fn tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(4)
}

pub(super) fn answer(request: &ChatRequest) -> Raw {
    let said = request.messages.iter().rev().find(|m| m.role == Role::User);
    let said = said.map_or("", |m| m.content.as_str());
    let language = match request.language.as_deref() {
        Some(code) => known(code).unwrap_or("en"),
        None => guess(said),
    };
    let corrections = match request.mode {
        Mode::Tutor => correct(language, said),
        Mode::Partner => Vec::new(),
    };
    let turn = request.messages.iter().filter(|m| m.role == Role::User).count();
    let mut content = reply(phrases::of(language), request.mode, said, &corrections, turn);
    let mut finish_reason = "stop";
    let most = usize::try_from(request.max_tokens).unwrap_or(usize::MAX).saturating_mul(4);
    if content.len() > most {
        let cut = (0..=most).rev().find(|i| content.is_char_boundary(*i)).unwrap_or(0);
        content.truncate(cut);
        finish_reason = "length";
    }
    let usage = Usage {
        input_tokens: tokens(request.messages.iter().map(|m| m.content.len()).sum()),
        output_tokens: tokens(content.len()),
        ..Usage::default()
    };
    Raw {
        content,
        model: MODEL.to_owned(),
        finish_reason: finish_reason.to_owned(),
        usage: Some(usage),
        corrections,
    }
}

fn known(code: &str) -> Option<&'static str> {
    let short = code.split(['-', '_']).next().unwrap_or(code).to_lowercase();
    LANGUAGES.into_iter().find(|l| *l == short)
}

/// The language with the most mistakes that it knows; by script, else English, when there is none.
fn guess(text: &str) -> &'static str {
    let by_mistakes = LANGUAGES.iter().map(|l| (correct(l, text).len(), *l)).filter(|(n, _)| *n > 0);
    if let Some((_, language)) = by_mistakes.max_by_key(|(n, _)| *n) {
        return language;
    }
    let has = |low: char, high: char| text.chars().any(|c| (low..=high).contains(&c));
    if has('\u{3040}', '\u{30ff}') {
        "ja"
    } else if has('\u{4e00}', '\u{9fff}') {
        "zh"
    } else if has('\u{400}', '\u{4ff}') {
        "ru"
    } else {
        "en"
    }
}

fn reply(phrases: &Phrases, mode: Mode, said: &str, corrections: &[Correction], turn: usize) -> String {
    let mut text = format!("{}\n\n", phrases.offline);
    if mode == Mode::Tutor && !said.trim().is_empty() {
        if corrections.is_empty() {
            text.push_str(phrases.nothing_found);
        } else {
            text.push_str(phrases.corrected);
            for c in corrections {
                text.push_str(&format!("\n- {} \u{2192} {}: {}", c.original, c.corrected, c.explanation));
            }
        }
        text.push_str("\n\n");
    }
    let question = phrases.questions.get(turn % phrases.questions.len());
    text.push_str(question.copied().unwrap_or_default());
    text
}

/// The mistakes in a text, in their order, none inside another.
fn correct(language: &str, text: &str) -> Vec<Correction> {
    let words = words(text);
    let mut found: Vec<(usize, usize, Correction)> = Vec::new();
    for rule in rules::of(language) {
        if rule.wrong.is_ascii() || !rules::without_spaces(language) {
            matches_words(rule, text, &words, &mut found);
        } else {
            matches_text(rule, text, &mut found);
        }
    }
    // Where two overlap, the one that begins first and is longer explains more.
    found.sort_by_key(|(start, end, _)| (*start, usize::MAX - *end));
    let mut kept: Vec<(usize, usize, Correction)> = Vec::new();
    for item in found {
        if kept.last().is_none_or(|last| last.1 <= item.0) {
            kept.push(item);
        }
    }
    kept.into_iter().take(MOST_CORRECTIONS).map(|(_, _, c)| c).collect()
}

/// More than these at once teach nobody.
const MOST_CORRECTIONS: usize = 10;

/// A word and where it stands.
struct Word<'t> {
    start: usize,
    end: usize,
    text: &'t str,
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    let inside = |c: char| c.is_alphanumeric() || c == '\'' || c == '\u{2019}';
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (inside(c), start) {
            (true, None) => start = Some(at),
            (false, Some(begin)) => {
                words.push(Word { start: begin, end: at, text: text.get(begin..at).unwrap_or_default() });
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// `#` in a rule stands for a number, which its correction repeats.
fn matches_words(rule: &Rule, text: &str, words: &[Word<'_>], found: &mut Vec<(usize, usize, Correction)>) {
    let pattern: Vec<&str> = rule.wrong.split(' ').collect();
    for window in words.windows(pattern.len()) {
        let mut number = "";
        let fits = window.iter().zip(&pattern).all(|(word, wanted)| {
            if *wanted == "#" {
                number = word.text;
                return word.text.chars().all(|c| c.is_ascii_digit());
            }
            let plain = word.text.replace('\u{2019}', "'");
            if rule.exact_case { plain == **wanted } else { plain.to_lowercase() == **wanted }
        });
        let (Some(first), Some(last)) = (window.first(), window.last()) else { continue };
        if fits {
            let original = text.get(first.start..last.end).unwrap_or_default();
            found.push((first.start, last.end, correction(rule, original, number)));
        }
    }
}

/// For scripts that put no spaces between words.
fn matches_text(rule: &Rule, text: &str, found: &mut Vec<(usize, usize, Correction)>) {
    for (start, original) in text.match_indices(rule.wrong) {
        found.push((start, start + original.len(), correction(rule, original, "")));
    }
}

fn correction(rule: &Rule, original: &str, number: &str) -> Correction {
    let right = rule.right.replace('#', number);
    let begins_large = original.chars().next().is_some_and(char::is_uppercase);
    let corrected = match right.chars().next() {
        Some(c) if begins_large => c.to_uppercase().chain(right.chars().skip(1)).collect(),
        _ => right,
    };
    Correction { original: original.to_owned(), corrected, explanation: rule.why.to_owned() }
}

#[cfg(test)]
mod tests;

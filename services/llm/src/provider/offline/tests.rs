use super::*;
use crate::Message;

fn ask(text: &str, language: Option<&str>, mode: Mode, max_tokens: u32) -> Raw {
    answer(&ChatRequest {
        messages: vec![Message { role: Role::User, content: text.to_owned() }],
        temperature: 0.7,
        max_tokens,
        language: language.map(str::to_owned),
        mode,
    })
}

#[test]
fn known_mistakes_are_corrected_in_every_language() {
    let check = |language: &str, said: &str, expect: &[&str]| {
        let raw = ask(said, Some(language), Mode::Tutor, 1000);
        let corrected: Vec<&str> = raw.corrections.iter().map(|c| c.corrected.as_str()).collect();
        assert_eq!(corrected, expect, "{said}");
    };
    check("en", "He go to school and i am learning english.", &["He goes", "I", "English"]);
    check("en", "I have 25 years, and it is more better now", &["I am 25 years old", "better"]);
    check("en", "He goes home. I speak English.", &[]);
    check("en", "She don\u{2019}t know", &["She doesn't"]);
    check("fr", "Je suis 20 ans et je va \u{e0} le cin\u{e9}ma", &["J'ai 20 ans", "je vais", "au"]);
    check("es", "Tengo una problema con el mano", &["un problema", "la mano"]);
    check("it", "Ieri ho andato a il mare", &["sono andato", "al"]);
    check("de", "Ich habe gegangen mit mein Freund", &["Ich bin gegangen", "mit meinem Freund"]);
    check("pt", "Eu tem uma problema", &["Eu tenho", "um problema"]);
    check("zh", "我有二个朋友", &["两个"]);
    check("ja", "昨日食べるました", &["食べました"]);
    check("ru", "Это более лучше", &["лучше"]);
}

#[test]
fn it_says_that_it_is_offline_and_gives_the_same_answer_twice() {
    for language in LANGUAGES {
        let first = ask("...", Some(language), Mode::Tutor, 1000);
        assert!(first.content.starts_with(phrases::of(language).offline), "{language}");
        assert_eq!(first.content, ask("...", Some(language), Mode::Tutor, 1000).content);
    }
}

#[test]
fn a_partner_lets_mistakes_pass() {
    let raw = ask("He go to school", Some("en"), Mode::Partner, 1000);
    assert!(raw.corrections.is_empty() && !raw.content.contains("He goes"));
}

#[test]
fn the_language_is_guessed_when_it_is_not_given() {
    assert_eq!(guess("Je va bien"), "fr");
    assert_eq!(guess("こんにちは"), "ja");
    assert_eq!(guess("привет"), "ru");
    assert_eq!(guess("hello"), "en");
}

#[test]
fn no_answer_is_longer_than_was_reserved() {
    for most in [1, 5, 20] {
        for language in LANGUAGES {
            let raw = ask("He go", Some(language), Mode::Tutor, most);
            let usage = raw.usage.expect("usage");
            assert!(usage.output_tokens <= u64::from(most), "{language} {most}");
            assert_eq!(raw.finish_reason, "length");
        }
    }
}

#[test]
fn every_rule_changes_what_it_corrects() {
    for language in LANGUAGES {
        assert!(rules::of(language).len() >= 8, "{language}");
        for rule in rules::of(language) {
            assert_ne!(rule.wrong, rule.right, "{language}");
            assert!(!rule.why.is_empty());
            let once = correct(language, &rule.wrong.replace('#', "7"));
            assert!(
                once.iter().any(|c| c.corrected.contains(&rule.right.replace('#', "7"))
                    || c.corrected.to_lowercase() == rule.right.to_lowercase()),
                "{language}: {} gives {once:?}",
                rule.wrong
            );
        }
    }
}

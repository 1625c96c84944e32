//! Tokens become money exactly.

use super::*;

#[test]
fn a_call_costs_what_the_list_says() {
    let table = PriceTable::default();
    let price = table.price("openai", "gpt-4o-mini-2024-07-18").expect("listed");
    let usage =
        Usage { input_tokens: 1000, cached_input_tokens: 200, output_tokens: 100, ..Usage::default() };
    // 1000 * 0.15 + 200 * 0.075 + 100 * 0.60 = 225 USD per million
    assert_eq!(price.cost(&usage).map(|c| c.to_string()).as_deref(), Some("0.000225"));
    assert_eq!(table.price("openai", "gpt-99"), None);
    assert_eq!(table.price("offline", "tutor-1"), Some(Price::FREE));
}

#[test]
fn the_worst_case_covers_every_way_to_use_the_tokens() {
    let price = PriceTable::default().price("anthropic", "claude-sonnet-4-5").expect("listed");
    let hold = price.worst_case(1000, 500).expect("fits");
    for (input, cached, write, output, reasoning) in
        [(1000, 0, 0, 500, 0), (0, 1000, 0, 0, 500), (0, 0, 1000, 250, 250), (333, 333, 334, 1, 499)]
    {
        let usage = Usage {
            input_tokens: input,
            cached_input_tokens: cached,
            cache_write_tokens: write,
            output_tokens: output,
            reasoning_tokens: reasoning,
        };
        assert!(price.cost(&usage).expect("fits") <= hold, "{usage:?}");
    }
}

#[test]
fn dates_are_recognised_and_nothing_else() {
    for (name, expect) in [
        ("gpt-4o-2024-05-13", Some("gpt-4o")),
        ("claude-haiku-4-5-20251001", Some("claude-haiku-4-5")),
        ("gpt-4", None),
        ("gpt-4-0613", None),
    ] {
        assert_eq!(undated(name), expect, "{name}");
    }
}

use super::*;

const DEFAULTS: Defaults = Defaults { max_tokens: 2000, temperature: 0.7 };

fn ask(json: serde_json::Value) -> Result<Ask, String> {
    let body: ChatBody = serde_json::from_value(json).map_err(|e| e.to_string())?;
    body.into_ask(DEFAULTS)
}

#[test]
fn both_bodies_become_one_question() {
    let one =
        ask(serde_json::json!({"message": "Hallo", "language": "de", "level": "beginner"})).expect("valid");
    assert_eq!((one.language, one.level, one.request.max_tokens), ("de", "beginner", 1000));
    assert_eq!(one.request.messages[0].role, Role::System);
    assert!(one.request.messages[0].content.contains("German"));
    let two = ask(serde_json::json!({
        "messages": [{"role": "user", "content": "Hi"}], "systemPrompt": "Be brief.",
        "temperature": 0, "maxTokens": 10,
    }))
    .expect("valid");
    let contents: Vec<_> = two.request.messages.iter().map(|m| m.content.as_str()).collect();
    assert_eq!(contents, ["Be brief.", "Hi"]);
    assert_eq!((two.language, two.request.max_tokens), ("other", 10));
}

#[test]
fn what_is_wrong_is_named() {
    let check = |json: serde_json::Value, part: &str| {
        let error = ask(json).expect_err(part);
        assert!(error.contains(part), "{error}");
    };
    check(serde_json::json!({}), "message");
    check(serde_json::json!({"message": "a", "messages": []}), "either");
    check(serde_json::json!({"message": "  "}), "no message");
    check(serde_json::json!({"messages": [{"role": "assistant", "content": "x"}]}), "no message of the user");
    check(serde_json::json!({"message": "a".repeat(4001)}), "4000 characters");
    check(serde_json::json!({"message": "a", "temperature": 3}), "temperature");
    check(serde_json::json!({"message": "a", "maxTokens": 0}), "maxTokens");
    check(serde_json::json!({"message": "a", "maxTokens": 2001}), "1 to 2000");
    check(serde_json::json!({"message": "a", "mode": "shout"}), "unknown variant");
    check(serde_json::json!({"message": "a", "surprise": 1}), "unknown field");
    let long: Vec<_> =
        (0..6).map(|_| serde_json::json!({"role": "user", "content": "a".repeat(3900)})).collect();
    check(serde_json::json!({"messages": long}), "20000");
}

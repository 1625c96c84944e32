//! The client against a budget authority and a provider, both as real HTTP servers on loopback.

mod authority;

use authority::{Authority, Step};
use kit::{clock::Clock, secret::Secret, tasks::Tasks};
use llm::{Account, ChatRequest, Client, LlmConfig, LlmError, Message, Mode, ProviderConfig, Role};
use prometheus::Registry;
use std::time::Duration;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_partial_json, header, method, path},
};

struct Scene {
    client: Client,
    registry: Registry,
    tasks: Tasks,
}

fn scene(provider: ProviderConfig, authority: Option<String>) -> Scene {
    let tasks = Tasks::new(Clock::system());
    let registry = Registry::new();
    let config = LlmConfig {
        provider,
        authority,
        token: Some(Secret::new("t")),
        patience: Duration::from_secs(2),
        most_calls: 2,
    };
    let client = Client::new(config, "ai", &registry, &tasks).expect("client");
    Scene { client, registry, tasks }
}

fn question(text: &str) -> ChatRequest {
    ChatRequest {
        messages: vec![Message { role: Role::User, content: text.to_owned() }],
        temperature: 0.7,
        max_tokens: 500,
        language: Some("en".to_owned()),
        mode: Mode::Tutor,
    }
}

fn ada() -> Account {
    Account { user: Some("ada".to_owned()), plan: None }
}

async fn openai(template: ResponseTemplate) -> (MockServer, ProviderConfig) {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .and(header("authorization", "Bearer sk-secret"))
        .and(body_partial_json(serde_json::json!({"max_completion_tokens": 500})))
        .respond_with(template)
        .mount(&server)
        .await;
    let config = ProviderConfig::OpenAi {
        key: Secret::new("sk-secret"),
        organisation: None,
        base: format!("{}/v1", server.uri()),
        model: "gpt-4o-mini".to_owned(),
    };
    (server, config)
}

fn completion() -> serde_json::Value {
    serde_json::json!({
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 42, "completion_tokens": 9, "total_tokens": 51,
            "prompt_tokens_details": {"cached_tokens": 10},
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
    })
}

#[tokio::test]
async fn a_call_is_reserved_started_and_settled_in_this_order() {
    let authority = Authority::start().await;
    let scene = scene(ProviderConfig::Offline, Some(authority.base()));
    let answer = scene.client.chat(question("He go home"), ada()).await.expect("answer");
    assert_eq!(answer.corrections[0].corrected, "He goes");
    assert_eq!(answer.cost_usd.as_deref(), Some("0.000123"));
    let steps = authority.steps();
    let [Step::Reserve(asked), Step::Start(_), Step::Settle(_, usage)] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!((asked["provider"].as_str(), asked["model"].as_str()), (Some("offline"), Some("tutor-1")));
    assert_eq!((asked["user"].as_str(), asked["service"].as_str()), (Some("ada"), Some("ai")));
    assert_eq!(asked["max_output_tokens"], 500);
    assert!(asked["input_tokens"].as_u64() >= usage["input_tokens"].as_u64());
    let text = kit::metrics::render(&scene.registry).expect("metrics");
    for part in [
        "gen_ai_client_token_usage_sum{gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"offline\"",
        "gen_ai_client_operation_duration_seconds_count{error_type=\"\"",
        "service=\"ai\"",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(scene.tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn openais_usage_is_settled_in_disjoint_parts() {
    let authority = Authority::start().await;
    let (server, config) = openai(ResponseTemplate::new(200).set_body_json(completion())).await;
    let scene = scene(config, Some(authority.base()));
    let answer = scene.client.chat(question("Hello"), ada()).await.expect("answer");
    assert_eq!((answer.content.as_str(), answer.model.as_str()), ("Hello!", "gpt-4o-mini-2024-07-18"));
    let steps = authority.steps();
    let (Step::Reserve(asked), Step::Settle(_, usage)) = (&steps[0], &steps[2]) else { panic!("{steps:?}") };
    assert_eq!(
        *usage,
        serde_json::json!({
            "input_tokens": 32, "cached_input_tokens": 10, "cache_write_tokens": 0,
            "output_tokens": 5, "reasoning_tokens": 4,
        })
    );
    let sent = server.received_requests().await.expect("requests");
    assert_eq!(asked["input_tokens"].as_u64(), Some(sent[0].body.len() as u64), "bounded by what was sent");
}

#[tokio::test]
async fn a_full_budget_refuses_before_anything_is_sent() {
    let authority = Authority::start().await;
    authority.refuse_budget();
    let (server, config) = openai(ResponseTemplate::new(200).set_body_json(completion())).await;
    let scene = scene(config, Some(authority.base()));
    let error = scene.client.chat(question("Hello"), ada()).await.expect_err("refused");
    let LlmError::BudgetExceeded { budget, retry_after_seconds, .. } = error else { panic!("{error}") };
    assert_eq!((budget.as_str(), retry_after_seconds), ("platform", 3600));
    assert_eq!(server.received_requests().await.expect("requests").len(), 0);
}

#[tokio::test]
async fn without_the_authority_nothing_is_spent() {
    for authority in [None, Some("http://127.0.0.1:1".to_owned())] {
        let (server, config) = openai(ResponseTemplate::new(200).set_body_json(completion())).await;
        let scene = scene(config, authority);
        let error = scene.client.chat(question("Hello"), ada()).await.expect_err("refused");
        assert!(matches!(error, LlmError::AuthorityAway(_)), "{error}");
        assert_eq!(server.received_requests().await.expect("requests").len(), 0);
        assert!(scene.client.authority_healthy().await.is_err());
    }
}

#[tokio::test]
async fn a_lost_reply_to_a_reservation_is_asked_again_with_the_same_attempt() {
    let authority = Authority::start().await;
    authority.fail_next(1);
    let scene = scene(ProviderConfig::Offline, Some(authority.base()));
    scene.client.chat(question("Hello"), ada()).await.expect("answer");
    let attempts: Vec<_> = authority
        .steps()
        .into_iter()
        .filter_map(|s| if let Step::Reserve(asked) = s { Some(asked["attempt_id"].clone()) } else { None })
        .collect();
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0], attempts[1]);
}

#[tokio::test]
async fn a_call_that_certainly_cost_nothing_is_settled_at_zero() {
    let authority = Authority::start().await;
    let (_server, config) = openai(ResponseTemplate::new(429)).await;
    let scene = scene(config, Some(authority.base()));
    let error = scene.client.chat(question("Hello"), ada()).await.expect_err("refused");
    assert!(matches!(error, LlmError::Provider { .. }), "{error}");
    let Some(Step::Settle(_, usage)) = authority.steps().last().cloned() else { panic!("not settled") };
    assert_eq!((usage["input_tokens"].as_u64(), usage["output_tokens"].as_u64()), (Some(0), Some(0)));
}

#[tokio::test]
async fn a_call_that_may_have_cost_something_is_left_unconfirmed() {
    let no_usage = serde_json::json!({"choices": [{"message": {"content": "x"}}]});
    for template in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(200).set_body_json(no_usage),
        ResponseTemplate::new(200).set_body_json(completion()).set_delay(Duration::from_secs(4)),
    ] {
        let authority = Authority::start().await;
        let (_server, config) = openai(template).await;
        let scene = scene(config, Some(authority.base()));
        scene.client.chat(question("Hello"), ada()).await.expect_err("no answer");
        assert!(matches!(authority.steps().last(), Some(Step::Start(_))), "{:?}", authority.steps());
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_leave_the_call_unsettled() {
    let authority = Authority::start().await;
    let slow = ResponseTemplate::new(200).set_body_json(completion()).set_delay(Duration::from_millis(300));
    let (_server, config) = openai(slow).await;
    let scene = scene(config, Some(authority.base()));
    let gone = tokio::time::timeout(Duration::from_millis(100), scene.client.chat(question("Hello"), ada()));
    assert!(gone.await.is_err(), "the caller stops waiting");
    assert!(scene.tasks.stop(Duration::from_secs(5)).await, "the attempt ends");
    assert!(matches!(authority.steps().last(), Some(Step::Settle(..))), "{:?}", authority.steps());
}

#[tokio::test]
async fn a_settlement_that_fails_is_made_later() {
    let authority = Authority::start().await;
    let scene = scene(ProviderConfig::Offline, Some(authority.base()));
    authority.fail_settlements(3);
    let answer = scene.client.chat(question("Hello"), ada()).await.expect("answer");
    assert_eq!(answer.cost_usd, None, "what it cost is not known yet");
    let settled = async {
        while authority.settled() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), settled).await.expect("settled in the background");
}

#[tokio::test]
async fn calls_beyond_the_bound_are_refused_at_once() {
    let authority = Authority::start().await;
    let slow = ResponseTemplate::new(200).set_body_json(completion()).set_delay(Duration::from_millis(500));
    let (_server, config) = openai(slow).await;
    let scene = scene(config, Some(authority.base()));
    let (a, b, c) = tokio::join!(
        scene.client.chat(question("1"), ada()),
        scene.client.chat(question("2"), ada()),
        scene.client.chat(question("3"), ada()),
    );
    assert!(a.is_ok() && b.is_ok());
    assert!(matches!(c, Err(LlmError::Busy)));
}

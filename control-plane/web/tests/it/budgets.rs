//! The budget's protocol, as a service speaks it.

use crate::plane::{Answer, NOW, Running, Setup};
use serde_json::{Value, json};

const RESERVATIONS: &str = "/api/vigie/v1/ai/reservations";

fn attempt(n: u32) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// A call that costs at most 0.005 USD: half of the budget.
fn request(n: u32) -> Value {
    json!({
        "attempt_id": attempt(n), "service": "ai", "provider": "offline", "model": "tutor",
        "user": "u1", "input_tokens": 1000, "max_output_tokens": 2000,
    })
}

fn of(answer: &Answer, name: &str) -> String {
    answer.json()[name].as_str().unwrap_or_else(|| panic!("{name}: {}", answer.text)).to_owned()
}

/// Status and code of an error in the one shape that errors have.
fn refused(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    assert!(body["message"].as_str().is_some_and(|m| !m.is_empty()), "{} {body}", answer.status);
    assert_eq!(body["request_id"], answer.header("x-request-id"), "{body}");
    (answer.status, of(answer, "code"))
}

async fn reserve(vigie: &Running, n: u32) -> String {
    let answer = vigie.send("POST", RESERVATIONS, &request(n)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    of(&answer, "id")
}

async fn step(vigie: &Running, method: &str, id: &str, what: &str, body: Value) -> Answer {
    vigie.send(method, &format!("{RESERVATIONS}/{id}{what}"), &body).await
}

async fn balance(vigie: &Running) -> [String; 4] {
    let all = vigie.get("/api/vigie/v1/budgets").await.json();
    let budget = &all["budgets"][0];
    assert_eq!(budget["budget"], "platform");
    ["spent_usd", "reserved_usd", "committed_usd", "limit_usd"]
        .map(|name| budget[name].as_str().expect("a text").to_owned())
}

fn usd(amounts: [&str; 4]) -> [String; 4] {
    amounts.map(str::to_owned)
}

#[tokio::test]
async fn a_call_is_reserved_started_streamed_and_settled() {
    let vigie = Setup::default().start().await;
    let answer = vigie.send("POST", RESERVATIONS, &request(1)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let body = answer.json();
    let names: Vec<&str> = body.as_object().expect("object").keys().map(String::as_str).collect();
    assert_eq!(names, ["expires_at", "id", "reserved_usd"]);
    assert_eq!(body["reserved_usd"], "0.005");
    assert!(of(&answer, "expires_at").as_str() > "2023-11-14T22:13:20", "{body}");
    let id = of(&answer, "id");

    let again = vigie.send("POST", RESERVATIONS, &request(1)).await;
    assert_eq!((again.status, again.json()), (201, body), "a lost answer is given again");
    assert_eq!(balance(&vigie).await, usd(["0.00", "0.005", "0.005", "0.01"]));
    let mut other = request(1);
    other["input_tokens"] = json!(7);
    assert_eq!(refused(&vigie.send("POST", RESERVATIONS, &other).await), (409, "conflict".to_owned()));

    let early = json!({"input_tokens": 1, "output_tokens": 1});
    assert_eq!(step(&vigie, "POST", &id, "/settle", early.clone()).await.status, 409, "not started yet");
    for _ in 0..2 {
        assert_eq!(step(&vigie, "POST", &id, "/start", json!({})).await.status, 200, "start is repeatable");
    }
    let streamed = step(&vigie, "PATCH", &id, "", json!({"input_tokens": 1000, "output_tokens": 500})).await;
    assert_eq!((streamed.status, of(&streamed, "spent_usd").as_str()), (200, "0.002"));
    assert_eq!(balance(&vigie).await, usd(["0.002", "0.003", "0.005", "0.01"]), "the sum does not change");

    let usage = json!({"input_tokens": 800, "cached_input_tokens": 200, "output_tokens": 900, "reasoning_tokens": 100});
    for _ in 0..2 {
        let settled = step(&vigie, "POST", &id, "/settle", usage.clone()).await;
        assert_eq!((settled.status, of(&settled, "cost_usd").as_str()), (200, "0.003"));
    }
    assert_eq!(refused(&step(&vigie, "POST", &id, "/settle", early).await), (409, "conflict".to_owned()));
    assert_eq!(refused(&step(&vigie, "DELETE", &id, "", json!({})).await), (409, "conflict".to_owned()));
    assert_eq!(balance(&vigie).await, usd(["0.003", "0.00", "0.003", "0.01"]));
}

#[tokio::test]
async fn what_would_pass_the_budget_is_refused_until_it_resets() {
    let vigie = Setup::default().start().await;
    let first = reserve(&vigie, 1).await;
    reserve(&vigie, 2).await;
    let answer = vigie.send("POST", RESERVATIONS, &request(3)).await;
    assert_eq!(refused(&answer), (429, "budget_exceeded".to_owned()));
    let body = answer.json();
    assert_eq!(
        (&body["budget"], &body["resets_at"]),
        (&json!("platform"), &json!("2023-11-15T00:00:00.000Z"))
    );
    let midnight = 1_700_006_400_000_i64;
    let wait: i64 = answer.header("retry-after").parse().expect("seconds");
    let left = (midnight - NOW) / 1000;
    assert!((left - 60..=left + 1).contains(&wait), "{wait} of {left}");

    let cancelled = step(&vigie, "DELETE", &first, "", json!({})).await;
    assert_eq!((cancelled.status, cancelled.text.as_str()), (204, ""));
    assert_eq!(step(&vigie, "DELETE", &first, "", json!({})).await.status, 204, "cancelling is repeatable");
    assert_eq!(
        step(&vigie, "POST", &first, "/start", json!({})).await.status,
        409,
        "it cannot start any more"
    );
    let again = vigie.send("POST", RESERVATIONS, &request(3)).await;
    assert_eq!(again.status, 429, "an attempt has one answer; a retry is a new attempt");
    reserve(&vigie, 4).await;
}

#[tokio::test]
async fn usage_above_the_hold_is_recorded_in_full() {
    let vigie = Setup::default().start().await;
    let id = reserve(&vigie, 1).await;
    step(&vigie, "POST", &id, "/start", json!({})).await;
    let settled =
        step(&vigie, "POST", &id, "/settle", json!({"input_tokens": 1000, "output_tokens": 20000})).await;
    assert_eq!((settled.status, of(&settled, "cost_usd").as_str()), (200, "0.041"));
    assert_eq!(balance(&vigie).await[0], "0.041");
    assert_eq!(vigie.send("POST", RESERVATIONS, &request(2)).await.status, 429);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let vigie = Setup::default().start().await;
    let changed = |name: &str, value: Value| {
        let mut body = request(1);
        if value.is_null() {
            body.as_object_mut().expect("object").remove(name);
        } else {
            body[name] = value;
        }
        body
    };
    for (body, status, code) in [
        (changed("provider", json!("openai")), 422, "unpriced_model"),
        (changed("provider", json!("nobody")), 422, "unpriced_model"),
        (changed("attempt_id", json!("first")), 400, "bad_request"),
        (changed("attempt_id", Value::Null), 400, "bad_request"),
        (changed("service", json!("")), 400, "bad_request"),
        (changed("user", json!("u".repeat(300))), 400, "bad_request"),
        (changed("input_tokens", json!(-1)), 400, "bad_request"),
        (changed("input_tokens", json!(1.5)), 400, "bad_request"),
        (changed("input_tokens", json!(u64::MAX)), 400, "bad_request"),
        (changed("max_output_tokens", json!("many")), 400, "bad_request"),
        (changed("surprise", json!(1)), 400, "bad_request"),
        (json!([]), 400, "bad_request"),
    ] {
        let answer = vigie.send("POST", RESERVATIONS, &body).await;
        assert_eq!(refused(&answer), (status, code.to_owned()), "{body}: {}", answer.text);
    }
    let raw = |kind: &'static str, body: &'static str| {
        Answer::of(vigie.request("POST", RESERVATIONS).header("content-type", kind).body(body))
    };
    assert_eq!(refused(&raw("application/json", "{\"attempt_id\": ").await), (400, "bad_request".to_owned()));
    assert_eq!(refused(&raw("text/plain", "{}").await), (415, "unsupported_media_type".to_owned()));
    assert_eq!(balance(&vigie).await, usd(["0.00", "0.00", "0.00", "0.01"]), "nothing was held");

    let usage = json!({"input_tokens": 1, "output_tokens": 1});
    for (method, what, body) in [
        ("POST", "/start", json!({})),
        ("PATCH", "", usage.clone()),
        ("POST", "/settle", usage.clone()),
        ("DELETE", "", json!({})),
    ] {
        for id in ["nosuch", "%00%ff", "..%2f..", "'; DROP TABLE holds; --"] {
            let answer = step(&vigie, method, id, what, body.clone()).await;
            let (status, _) = refused(&answer);
            let expected = if id == "%00%ff" { 400 } else { 404 };
            assert_eq!(status, expected, "{method} {id}{what}: {}", answer.text);
        }
    }
    let id = reserve(&vigie, 1).await;
    step(&vigie, "POST", &id, "/start", json!({})).await;
    for usage in [
        json!({}),
        json!({"input_tokens": 1}),
        json!({"input_tokens": -1, "output_tokens": 0}),
        json!({"input_tokens": 1, "output_tokens": 1, "cost": 0}),
    ] {
        assert_eq!(step(&vigie, "POST", &id, "/settle", usage.clone()).await.status, 400, "{usage}");
        assert_eq!(step(&vigie, "PATCH", &id, "", usage.clone()).await.status, 400, "{usage}");
    }
    let huge = json!({"input_tokens": u64::MAX, "output_tokens": 0});
    assert_eq!(step(&vigie, "POST", &id, "/settle", huge).await.status, 400);
}

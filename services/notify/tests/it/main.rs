//! The service as its callers meet it: with a small SMTP server beside it, and without.

use kit::{
    clock::Clock,
    program::{Deps, Running},
    settings::Settings,
    tasks::Tasks,
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};

async fn notify(pairs: &[(&str, &str)]) -> Running {
    let settings = pairs.iter().fold(Settings::from_pairs([("PORT", "0")]), |s, (k, v)| s.with(*k, *v));
    let config = notify::Config::from_settings(&settings).expect("settings");
    let bind = notify::PROGRAM.bind(&config.place).await.expect("bind");
    notify::start(config, Deps { tasks: Tasks::new(Clock::system()), bind }).await.expect("start")
}

async fn call(running: &Running, path: &str, body: Option<Value>) -> (u16, Value) {
    let http = kit::client::build(Duration::from_secs(20)).expect("client");
    let url = format!("{}{path}", running.base());
    let request = match body {
        Some(body) => http.post(url).json(&body),
        None => http.get(url),
    };
    let answer = request.send().await.expect("answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

const WELCOME: &str = "/api/v1/notifications/welcome-email";

fn ada() -> Value {
    json!({"email": "ada@example.org", "firstName": "Ada", "lastName": "<L>", "provider": "email", "language": "en"})
}

/// Takes mail as RFC 5321 asks, and keeps what it was told.
async fn relay(tasks: &Tasks) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&heard);
    tasks.clone().spawn("relay", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let mut input = BufReader::new(read).lines();
            let mut data = false;
            write.write_all(b"220 relay\r\n").await.expect("write");
            while let Ok(Some(line)) = input.next_line().await {
                lines.lock().expect("lines").push(line.clone());
                let reply = match (data, line.get(..4).unwrap_or(&line)) {
                    (true, ".") => {
                        data = false;
                        "250 taken\r\n"
                    }
                    (true, _) => continue,
                    (_, "DATA") => {
                        data = true;
                        "354 go on\r\n"
                    }
                    (_, "QUIT") => "221 bye\r\n",
                    _ => "250 relay\r\n",
                };
                if write.write_all(reply.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    });
    (address, heard)
}

#[tokio::test]
async fn a_welcome_goes_through_the_relay() {
    let tasks = Tasks::new(Clock::system());
    let (address, heard) = relay(&tasks).await;
    let running = notify(&[("SMTP_SMARTHOST", &address), ("FROM_EMAIL", "penpal@example.org")]).await;
    let (status, body) = call(&running, WELCOME, Some(ada())).await;
    assert_eq!((status, &body["delivered"]), (200, &json!(true)), "{body}");
    let text = heard.lock().expect("lines").join("\n");
    for part in [
        "MAIL FROM:<penpal@example.org>",
        "RCPT TO:<ada@example.org>",
        "Subject: Welcome to Penpal AI",
        "&lt;L&gt;",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(
        call(&running, "/metrics", None)
            .await
            .1
            .as_str()
            .is_some_and(|m| { m.contains("penpal_mails_total{result=\"sent\",template=\"welcome\"} 1") })
    );
}

#[tokio::test]
async fn without_a_relay_mail_is_kept_and_the_answer_says_so() {
    let running = notify(&[]).await;
    let (status, body) = call(&running, WELCOME, Some(ada())).await;
    assert_eq!((status, &body["delivered"]), (200, &json!(false)));
    let (_, kept) = call(&running, "/api/v1/notifications/captured", None).await;
    assert_eq!(kept[0]["subject"], "Welcome to Penpal AI");
    assert_eq!(call(&running, "/api/v1/health", None).await.0, 200);
    assert_eq!(call(&running, "/api/v1/notifications/health", None).await.1["email_service"], "disconnected");
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_relay_that_is_away_is_an_error_and_health_says_it() {
    let running = notify(&[("SMTP_SMARTHOST", "127.0.0.1:1")]).await;
    let (status, body) = call(&running, WELCOME, Some(ada())).await;
    assert_eq!((status, &body["code"]), (502, &json!("relay_failed")));
    assert_eq!(call(&running, "/api/v1/health", None).await.0, 503);
}

#[tokio::test]
async fn callers_present_the_token_and_say_what_is_meant() {
    let running = notify(&[("SERVICE_AUTH_TOKEN", "t")]).await;
    assert_eq!(call(&running, WELCOME, Some(ada())).await.0, 401);
    assert_eq!(call(&running, "/api/v1/notifications/captured", None).await.0, 401);
    let running = notify(&[]).await;
    for (field, value) in [("email", "nobody"), ("provider", "carrier pigeon"), ("firstName", " ")] {
        let mut body = ada();
        body[field] = json!(value);
        assert_eq!(call(&running, WELCOME, Some(body)).await.0, 400, "{field}");
    }
}

#[test]
fn bad_settings_are_reported_all_at_once() {
    let settings = Settings::from_pairs([("SMTP_SMARTHOST", "nowhere"), ("FROM_EMAIL", "x"), ("PORT", "x")]);
    assert_eq!(notify::Config::from_settings(&settings).expect_err("problems").len(), 3);
}

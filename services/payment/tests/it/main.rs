//! The service as its callers meet it.

use kit::{clock::Clock, program::Deps, settings::Settings, tasks::Tasks};
use std::time::Duration;

#[tokio::test]
async fn plans_are_public_and_health_tells_that_db_is_missing() {
    let settings =
        Settings::from_pairs([("PORT", "0"), ("TRIAL_PERIOD_DAYS", "14"), ("SERVICE_AUTH_TOKEN", "t")]);
    let config = payment::Config::from_settings(&settings).expect("settings");
    let bind = payment::PROGRAM.bind(&config.place).await.expect("bind");
    let deps = Deps { tasks: Tasks::new(Clock::system()), bind };
    let running = payment::start(config, deps).await.expect("start");
    let http = kit::client::build(Duration::from_secs(5)).expect("client");
    let get = async |path: &str| {
        let answer = http.get(format!("{}{path}", running.base())).send().await.expect("answer");
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.expect("json"))
    };
    let (status, info) = get("/api/v1/info").await;
    assert_eq!((status, &info["trialDays"], &info["plans"][1]["saves"]), (200, &14.into(), &4000.into()));
    let (status, health) = get("/api/v1/health").await;
    assert_eq!(
        (status, health["dependencies"][0]["error"].as_str()),
        (503, Some("DB_SERVICE_URL is not set"))
    );
    assert_eq!(get("/api/v1/subscriptions").await.0, 404, "nothing pretends");
    assert!(running.stop().await);
}

#[test]
fn a_trial_has_a_bound() {
    let settings = Settings::from_pairs([("TRIAL_PERIOD_DAYS", "4000")]);
    assert_eq!(payment::Config::from_settings(&settings).expect_err("refused").len(), 1);
}

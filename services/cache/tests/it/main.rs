//! One behaviour suite for every implementation of [`Cache`]: the embedded twin always; Redis where `REDIS_URL`
//! is set, which `PARTS_REQUIRED=1` demands.

use cache::{Cache, CacheError, Embedded, RateLimit, Redis, RedisConfig};
use kit::clock::Clock;
use std::{sync::Arc, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);

/// Every implementation that this machine has, each with keys of its own.
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a test asks for its parts, and says so")]
fn caches() -> Vec<Arc<dyn Cache>> {
    let mut all: Vec<Arc<dyn Cache>> = vec![Arc::new(Embedded::new(Clock::system()))];
    match std::env::var("REDIS_URL") {
        Ok(url) => {
            let config = RedisConfig::from_url(&url).expect("REDIS_URL is redis://host:port");
            let prefix = format!("test-{}", uuid::Uuid::new_v4());
            all.push(Arc::new(Redis::new(config, &prefix).expect("an address")));
        }
        Err(_) => {
            let required = std::env::var("PARTS_REQUIRED").is_ok_and(|v| v == "1");
            assert!(!required, "REDIS_URL is required and not set");
            println!("skipped on Redis: REDIS_URL is not set");
        }
    }
    all
}

#[tokio::test]
async fn a_value_is_there_until_it_is_deleted() {
    for c in caches() {
        assert_eq!(c.get("a").await.expect("an answer"), None);
        c.set("a", b"one\0two", MINUTE).await.expect("an answer");
        c.set("a", b"two", MINUTE).await.expect("an answer");
        assert_eq!(c.get("a").await.expect("an answer").as_deref(), Some(&b"two"[..]), "{}", c.kind());
        assert!(c.delete("a").await.expect("an answer"));
        assert!(!c.delete("a").await.expect("an answer"));
        assert_eq!(c.get("a").await.expect("an answer"), None);
    }
}

#[tokio::test]
async fn a_value_ends_with_its_time_to_live() {
    for c in caches() {
        c.set("short", b"x", Duration::from_millis(40)).await.expect("an answer");
        c.set("long", b"x", MINUTE).await.expect("an answer");
        let gone = async {
            while c.get("short").await.expect("an answer").is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone).await.expect("it ends");
        assert!(c.get("long").await.expect("an answer").is_some(), "{}", c.kind());
        assert!(c.set_if_absent("short", b"y", MINUTE).await.expect("an answer"));
    }
}

#[tokio::test]
async fn of_many_writers_one_is_first_and_of_many_takers_one_gets_it() {
    for c in caches() {
        let writers = (0..20).map(|i| {
            let c = Arc::clone(&c);
            async move { c.set_if_absent("lock", format!("{i}").as_bytes(), MINUTE).await.expect("set") }
        });
        let won = futures_util::future::join_all(writers).await;
        assert_eq!(won.iter().filter(|w| **w).count(), 1, "{}", c.kind());
        let takers = (0..20).map(|_| {
            let c = Arc::clone(&c);
            async move { c.take("lock").await.expect("take") }
        });
        let got = futures_util::future::join_all(takers).await;
        assert_eq!(got.iter().filter(|g| g.is_some()).count(), 1, "{}", c.kind());
    }
}

#[tokio::test]
async fn a_counter_counts_every_increment_and_keeps_its_first_window() {
    for c in caches() {
        let adders = (0..50).map(|_| {
            let c = Arc::clone(&c);
            async move { c.increment("n", 2, MINUTE).await.expect("increment") }
        });
        let counts = futures_util::future::join_all(adders).await;
        assert_eq!(counts.iter().map(|n| n.value).max(), Some(100), "{}", c.kind());
        let later = c.increment("n", -100, MINUTE * 60).await.expect("an answer");
        assert_eq!(later.value, 0);
        assert!(later.resets_in <= MINUTE, "{}: {later:?}", c.kind());
        assert_eq!(c.get("n").await.expect("an answer").as_deref(), Some(&b"0"[..]));
        c.set("text", b"abc", MINUTE).await.expect("an answer");
        let refused = c.increment("text", 1, MINUTE).await;
        assert!(matches!(refused, Err(CacheError::NotANumber(_))), "{}: {refused:?}", c.kind());
    }
}

#[tokio::test]
async fn a_value_that_is_too_large_is_refused() {
    for c in caches() {
        let value = vec![0; cache::MAX_VALUE_BYTES + 1];
        assert!(matches!(c.set("a", &value, MINUTE).await, Err(CacheError::TooLarge { .. })));
        c.ping().await.expect("an answer");
    }
}

#[tokio::test]
async fn a_rate_limit_refuses_what_is_over_it_for_each_caller() {
    for c in caches() {
        let limit = RateLimit::new(Arc::clone(&c), "chat", 3, MINUTE);
        let mut allowed = Vec::new();
        for _ in 0..5 {
            allowed.push(limit.check("ada").await.expect("an answer").allowed);
        }
        assert_eq!(allowed, [true, true, true, false, false], "{}", c.kind());
        let other = limit.check("bob").await.expect("an answer");
        assert_eq!((other.allowed, other.remaining), (true, 2));
    }
}

#[tokio::test]
async fn a_redis_that_is_away_is_an_error_and_no_hang() {
    let config = RedisConfig::from_url("redis://127.0.0.1:1").expect("address");
    let redis = Redis::new(config, "x").expect("lazy");
    let answer = tokio::time::timeout(Duration::from_secs(10), redis.ping()).await.expect("an answer");
    assert!(matches!(answer, Err(CacheError::Away(_))));
}

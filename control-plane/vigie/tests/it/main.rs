//! Vigie as people run it: real binaries in processes of their own, and the rules that the house itself keeps.
//!
//! The services' binaries are looked for beside `vigie`'s own: `cargo build --workspace --bins` makes them. Real
//! parts come from the environment, which `ops/test` sets: `MAILDEV`, `ROTEL_AGENT`, `PROMETHEUS`,
//! `VICTORIA_METRICS`. What is missing is said aloud and skipped, and fails where `PARTS_REQUIRED=1`.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "tests ask for their parts, and tell")]

mod blocks;
mod end_to_end;
mod house;
mod http_api;
mod life;
mod platform;
mod process;
mod receiver;
mod remote_write;
mod routes;
mod shipped;
mod stores;

use std::{future::Future, time::Duration};

/// Asks again until it is so. The error says what is there instead.
///
/// # Panics
/// When it is not so within `limit`; the message holds the last error.
async fn until<T, F>(what: &str, limit: Duration, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let mut last = String::new();
    let asking = async {
        loop {
            match ask().await {
                Ok(value) => return value,
                Err(e) => last = e,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    match tokio::time::timeout(limit, asking).await {
        Ok(value) => value,
        Err(_) => panic!("waited {} s in vain: {what}; instead: {last}", limit.as_secs()),
    }
}

/// The value of a variable, or `None` after saying that the test `what` is skipped.
fn part(name: &str, what: &str) -> Option<String> {
    let value = std::env::var(name).ok().filter(|v| std::path::Path::new(v).is_file());
    if value.is_none() {
        let required = std::env::var("PARTS_REQUIRED").is_ok_and(|v| v == "1");
        assert!(!required, "{name} names no file, and PARTS_REQUIRED=1");
        println!("skipped: {what}: {name} names no file; ops/test sets it");
    }
    value
}

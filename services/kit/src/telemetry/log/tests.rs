//! Lines have the four fields first, each key once, and whatever spans and events add.

use super::*;
use tracing_subscriber::layer::SubscriberExt;

fn lines(work: impl FnOnce()) -> Vec<String> {
    let buffer = Arc::new(Mutex::new(Vec::new()));
    let layer = JsonLog::new("penpal".into(), Output::Buffer(Arc::clone(&buffer)));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    let text = String::from_utf8(buffer.lock().unwrap().clone()).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// The keys of a line in their order, as they stand in the text.
fn keys(line: &str) -> Vec<String> {
    let parsed: Map<String, Value> = serde_json::from_str(line).expect("JSON");
    let mut keys: Vec<(usize, String)> = parsed
        .keys()
        .map(|k| {
            let wanted = format!("\"{k}\":");
            assert_eq!(line.matches(&wanted).count(), 1, "{k} in {line}");
            (line.find(&wanted).expect("there"), k.clone())
        })
        .collect();
    keys.sort();
    keys.into_iter().map(|(_, k)| k).collect()
}

#[test]
fn the_four_come_first_and_no_key_comes_twice() {
    let lines = lines(|| {
        tracing::info!(service = "auth", address = "x", "listening");
        let span = tracing::info_span!(
            "request",
            service = "ai",
            request_id = "r1",
            trace_id = tracing::field::Empty
        );
        span.record("trace_id", "t1");
        span.in_scope(|| tracing::warn!(userId = 7, ip = "10.0.0.1", "say \"hi\"\n{{"));
        tracing::error!("alone");
    });
    assert_eq!(keys(&lines[0]), ["timestamp", "level", "service", "message", "address"]);
    for (line, service, level) in [(0, "auth", "info"), (1, "ai", "warn"), (2, "penpal", "error")] {
        let value: Value = serde_json::from_str(&lines[line]).expect("JSON");
        assert_eq!((value["service"].as_str(), value["level"].as_str()), (Some(service), Some(level)));
        assert_eq!(keys(&lines[line])[..4], ["timestamp", "level", "service", "message"]);
    }
    let value: Value = serde_json::from_str(&lines[1]).expect("JSON");
    assert_eq!(value["message"], "say \"hi\"\n{");
    assert_eq!(
        (&value["trace_id"], &value["userId"], &value["ip"]),
        (&"t1".into(), &7.into(), &"10.0.0.1".into())
    );
}

//! Passing samples on, from a real store over HTTP into another one.

use super::*;
use crate::{
    Metadata, MetricType,
    config::File,
    remote_write::{Protocol, Receiver, ReceiverConfig, negotiate},
    testing::Store,
};
use ::http::{HeaderMap, StatusCode};
use axum::{Router, body::Bytes, extract::State, response::IntoResponse};
use model::{
    Append, Batch, Entry, Histogram, NoExemplars, SampleColumns, Select, SelectRequest, Span, Value,
    stale_nan,
};
use std::{future::Future, sync::Arc};
use tokio::sync::Semaphore;

/// How the far end answers next.
#[derive(Debug, Clone, Default)]
struct Mood {
    /// Answered in place of taking it.
    refuse: Option<(StatusCode, Option<&'static str>)>,
    /// Takes it, and then says nothing.
    mute: bool,
    /// Knows version 1 alone.
    old: bool,
}

/// The far end: a receiver of ours over a store of its own.
#[derive(Debug, Clone)]
struct Far {
    url: String,
    store: Arc<Store>,
    receiver: Receiver,
    mood: Arc<Mutex<Mood>>,
    /// Bodies as they came, with their headers.
    seen: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    /// How many may be answered.
    free: Arc<Semaphore>,
}

async fn answer(State(far): State<Far>, headers: HeaderMap, body: Bytes) -> axum::response::Response {
    far.seen.lock().expect("a lock").push((headers.clone(), body.clone()));
    far.free.acquire().await.expect("open").forget();
    let mood = far.mood.lock().expect("a lock").clone();
    if let Some((status, after)) = mood.refuse {
        let after = after.map(|after| [("retry-after", after)]);
        return (
            status,
            after.into_iter().flatten().fold(HeaderMap::new(), |mut h, (k, v)| {
                h.insert(k, v.parse().expect("a value"));
                h
            }),
            "not now\nor never",
        )
            .into_response();
    }
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let protocol = negotiate(text("content-type"), text("content-encoding")).expect("a protocol");
    if protocol == Protocol::V2 && mood.old {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let mut inbox = far.receiver.inbox();
    inbox.add(&body).expect("room");
    let outcome = far.receiver.write(protocol, inbox).await;
    if mood.mute {
        std::future::pending::<()>().await;
    }
    if let Some(refusal) = outcome.refusal {
        return (StatusCode::BAD_REQUEST, format!("{refusal:?}")).into_response();
    }
    let written = [("x-prometheus-remote-write-samples-written", outcome.written.samples.to_string())];
    match protocol {
        Protocol::V1 => StatusCode::NO_CONTENT.into_response(),
        Protocol::V2 => (StatusCode::NO_CONTENT, written).into_response(),
    }
}

impl Far {
    async fn start() -> Far {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/write", listener.local_addr().expect("an address"));
        let store = Arc::new(Store::new());
        let receiver = Receiver::new(store.append(), Arc::new(NoExemplars), ReceiverConfig::default());
        let far = Far {
            url,
            store,
            receiver,
            mood: Arc::default(),
            seen: Arc::default(),
            free: Arc::new(Semaphore::new(100_000)),
        };
        let router = Router::new().fallback(answer).with_state(far.clone());
        #[expect(clippy::disallowed_methods, reason = "a server of a test, which ends with its runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        far
    }

    fn mood(&self, mood: Mood) {
        *self.mood.lock().expect("a lock") = mood;
    }

    fn requests(&self) -> usize {
        self.seen.lock().expect("a lock").len()
    }
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asking).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}

fn config(text: &str) -> SendConfig {
    SendConfig::parse(File { name: "remote_write.yaml", text }, false, &|_| None).expect("a configuration")
}

/// A receiver with short times, and more fields.
fn endpoint(far: &Far, queue: &str, more: &str) -> String {
    format!(
        "- {{name: far, url: '{}', queue_config: {{batch_send_deadline: 20ms, min_backoff: 10ms, max_backoff: 50ms{queue}}}{more}}}",
        far.url
    )
}

fn list(endpoint: &str) -> SendConfig {
    config(&format!("remote_write:\n{endpoint}\n"))
}

/// Senders over a store, and the group that they run in.
fn senders(near: &Store, config: SendConfig) -> (Senders, Tasks) {
    let tasks = Tasks::new(Clock::system());
    let families = || {
        let about = Metadata { kind: MetricType::Counter, help: "How many.".to_owned(), unit: String::new() };
        Families::from([("a".to_owned(), about)])
    };
    (Senders::start(Arc::new(near.db.tail()), tasks.group(), families, config), tasks)
}

fn figure(senders: &Senders, name: &str) -> f64 {
    let wanted = |labels: &Labels| labels.metric_name() == format!("vigie_remote_write_{name}");
    senders.read(0).into_iter().filter(|(l, _)| wanted(l)).map(|(_, v)| v).sum()
}

/// Waits until the loop has found out where to begin.
async fn begun(near: &Store) {
    until("the loop begins", async || (!near.db.tail().kept().is_empty()).then_some(())).await;
}

fn put(near: &Store, name: &str, at: i64, v: f64) {
    let series = near.db.resolve(&Labels::from_pairs([("__name__", name)])).expect("resolves");
    let mut batch = Batch::at(at);
    batch.push(series, v);
    assert_eq!(near.db.append(&batch).expect("appends").accepted, 1);
    near.db.sync().expect("syncs");
}

fn histogram(custom: bool) -> Histogram {
    Histogram {
        schema: if custom { -53 } else { 1 },
        zero_threshold: if custom { 0.0 } else { 0.001 },
        zero_count: if custom { 0.0 } else { 1.0 },
        count: if custom { 3.5 } else { 8.5 },
        sum: 12.25,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive: vec![1.5, 2.0],
        negative_spans: if custom { vec![] } else { vec![Span { offset: -2, length: 1 }] },
        negative: if custom { vec![] } else { vec![4.0] },
        custom_bounds: custom.then(|| Arc::from([0.5, 1.0])),
        ..Histogram::default()
    }
}

/// Every sample of a store with everything that is known about it.
fn everything(store: &Store) -> Vec<(Labels, SampleColumns)> {
    let request = SelectRequest::new(&[], i64::MIN, i64::MAX);
    let mut stream = store.db.select(&request).expect("selects");
    let (mut columns, mut out) = (SampleColumns::default(), Vec::new());
    while let Some((_, labels)) = stream.next(&mut columns).expect("reads") {
        out.push((labels, columns.clone()));
    }
    out
}

#[tokio::test]
async fn everything_arrives_as_it_is_in_both_versions() {
    for (message, histograms) in [
        ("", false),
        (", send_native_histograms: true", true),
        (", protobuf_message: io.prometheus.write.v2.Request", true),
    ] {
        let (near, far) = (Store::new(), Far::start().await);
        let rules = ", write_relabel_configs: [{source_labels: [__name__], regex: 'not_.*', action: drop}]";
        let labels = "global: {external_labels: {region: eu, __name: x}}".replace(", __name: x", "");
        let file = format!("{labels}\nremote_write:\n{}\n", endpoint(&far, "", &format!("{message}{rules}")));
        let (senders, tasks) = senders(&near, config(&file));
        begun(&near).await;
        for at in 1..=3 {
            put(&near, "a", at * 1000, f64::from(u8::try_from(at).expect("small")));
            put(&near, "not_this", at * 1000, 1.0);
        }
        put(&near, "a", 4000, stale_nan());
        let own = Labels::from_pairs([("__name__", "h"), ("region", "of its own")]);
        let series = near.db.resolve(&own).expect("resolves");
        let value = |custom| Value::Histogram(Arc::new(histogram(custom)));
        let entries = vec![
            Entry { series, at: None, start: Some(500), value: value(false) },
            Entry { series, at: Some(9000), start: None, value: value(true) },
        ];
        near.db.append(&Batch { entries, ..Batch::at(8000) }).expect("appends");
        let start = near.db.resolve(&Labels::from_pairs([("__name__", "s")])).expect("resolves");
        let entries = vec![Entry { series: start, at: None, start: Some(500), value: Value::Float(5.0) }];
        near.db.append(&Batch { entries, ..Batch::at(8000) }).expect("appends");
        near.db.sync().expect("syncs");
        let expect = if histograms { 7 } else { 5 };
        let sent = async || (figure(&senders, "sent_samples_total") >= f64::from(expect)).then_some(());
        until("all is sent", sent).await;
        let v2 = message.contains("v2");
        let mut want: Vec<(Labels, SampleColumns)> = everything(&near)
            .into_iter()
            .filter(|(l, _)| l.metric_name() != "not_this" && (histograms || l.metric_name() != "h"))
            .map(|(l, mut columns)| {
                if !v2 {
                    columns.starts.clear();
                }
                (if l.get("region").is_none() { l.with("region", "eu") } else { l }, columns)
            })
            .collect();
        want.sort_by(|a, b| a.0.cmp(&b.0));
        // A NaN equals none: their bits are compared.
        let shown = |all: Vec<(Labels, SampleColumns)>| {
            let bits = |c: &SampleColumns| c.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            all.iter()
                .map(|(l, c)| format!("{l} {:?} {:?} {:?} {:?}", c.times, bits(c), c.histograms, c.starts))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(everything(&far.store)), shown(want), "{message}");
        let told = async || far.receiver.families().get("a").map(|m| m.help.clone());
        assert_eq!(until("families are told", told).await, "How many.", "{message}");
        let (headers, _) = far.seen.lock().expect("a lock")[0].clone();
        assert_eq!(headers["x-prometheus-remote-write-version"], if v2 { "2.0.0" } else { "0.1.0" });
        assert!(headers["user-agent"].to_str().expect("text").starts_with("vigie/"));
        assert_eq!(figure(&senders, "failed_samples_total"), 0.0);
        assert_eq!(figure(&senders, "dropped_samples_total"), if histograms { 0.0 } else { 2.0 });
        assert!(tasks.stop(Duration::from_secs(5)).await);
    }
}

#[tokio::test]
async fn a_receiver_that_is_away_is_waited_for_and_one_that_refuses_is_not() {
    for (status, retry, waits) in [
        (StatusCode::SERVICE_UNAVAILABLE, "", true),
        (StatusCode::INTERNAL_SERVER_ERROR, "", true),
        (StatusCode::TOO_MANY_REQUESTS, ", retry_on_http_429: true", true),
        (StatusCode::TOO_MANY_REQUESTS, "", false),
        (StatusCode::BAD_REQUEST, "", false),
        (StatusCode::FOUND, "", false),
    ] {
        let (near, far) = (Store::new(), Far::start().await);
        far.mood(Mood { refuse: Some((status, None)), ..Mood::default() });
        let (senders, tasks) = senders(&near, list(&endpoint(&far, retry, "")));
        begun(&near).await;
        put(&near, "a", 1000, 1.0);
        put(&near, "a", 2000, 2.0);
        if waits {
            until("it was tried again", async || (far.requests() > 3).then_some(())).await;
            assert!(figure(&senders, "retried_samples_total") >= 3.0, "{status}");
            assert!(figure(&senders, "pending_samples") > 0.0);
        } else {
            let failed = async || (figure(&senders, "failed_samples_total") >= 2.0).then_some(());
            until("it was given up", failed).await;
        }
        far.mood(Mood::default());
        put(&near, "a", 3000, 3.0);
        let expect = if waits { "a{}: 1@1000 2@2000 3@3000" } else { "a{}: 3@3000" };
        until("what is left arrives", async || (far.store.shown() == [expect]).then_some(())).await;
        assert!(tasks.stop(Duration::from_secs(5)).await);
    }
}

#[tokio::test]
async fn the_receiver_says_how_long_to_wait() {
    let (near, far) = (Store::new(), Far::start().await);
    far.mood(Mood { refuse: Some((StatusCode::SERVICE_UNAVAILABLE, Some("2"))), ..Mood::default() });
    let (_senders, tasks) = senders(&near, list(&endpoint(&far, "", "")));
    begun(&near).await;
    let clock = Clock::system();
    put(&near, "a", 1000, 1.0);
    until("it is tried", async || (far.requests() == 1).then_some(())).await;
    let first = clock.elapsed();
    far.mood(Mood::default());
    until("it arrives", async || (far.store.shown() == ["a{}: 1@1000"]).then_some(())).await;
    let waited = clock.elapsed() - first;
    assert!(waited > Duration::from_millis(1500), "{waited:?}");
    assert!(tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_nobody_up() {
    let (near, held) = (Store::new(), Far::start().await);
    held.free.forget_permits(100_000);
    let (senders, tasks) = senders(&near, list(&endpoint(&held, ", capacity: 10, max_shards: 1", "")));
    begun(&near).await;
    put(&near, "a", 1000, 0.0);
    until("it hangs", async || (held.requests() == 1).then_some(())).await;
    for at in 2..=2000 {
        put(&near, "a", at * 1000, 0.0);
    }
    assert_eq!(held.requests(), 1);
    assert!(figure(&senders, "pending_samples") <= 20.0, "what waits is in the log");
    held.free.add_permits(100_000);
    until("all arrives", async || (held.store.db.stats().samples_appended_total == 2000).then_some(())).await;
    assert!(tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn whoever_is_stopped_midway_goes_on_with_the_same_requests() {
    let (near, far) = (Store::new(), Far::start().await);
    let settings = endpoint(&far, ", max_samples_per_send: 7, max_shards: 3", "");
    let (first, tasks) = senders(&near, list(&settings));
    begun(&near).await;
    // The receiver takes what comes, but its answers are lost.
    far.mood(Mood { mute: true, ..Mood::default() });
    for at in 1..=20 {
        for name in ["a", "b", "c", "d", "e"] {
            put(&near, name, at * 1000, 0.0);
        }
    }
    until("it hangs", async || (far.requests() >= 1).then_some(())).await;
    assert!(tasks.stop(Duration::from_secs(5)).await);
    drop(first);
    let lost: Vec<Bytes> = far.seen.lock().expect("a lock").drain(..).map(|(_, body)| body).collect();
    let kept = near.db.tail().kept();
    assert!(kept.values().all(|k| k.under_way.is_some()), "{kept:?}");
    for name in ["a", "b"] {
        put(&near, name, 21_000, 0.0);
    }
    far.mood(Mood::default());
    let (_second, tasks) = senders(&near, list(&settings));
    let all = async || {
        let (mut theirs, mut ours) = (far.store.shown(), near.shown());
        theirs.sort();
        ours.sort();
        (theirs == ours).then_some(())
    };
    until("all arrives", all).await;
    let again: Vec<Bytes> = far.seen.lock().expect("a lock").iter().map(|(_, body)| body.clone()).collect();
    for body in lost {
        assert!(again.contains(&body), "what may have arrived comes again as it was");
    }
    assert!(tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn what_left_the_memory_long_ago_arrives_with_its_labels() {
    let (near, far) = (Store::new(), Far::start().await);
    far.mood(Mood { refuse: Some((StatusCode::SERVICE_UNAVAILABLE, None)), ..Mood::default() });
    let (first, tasks) = senders(&near, list(&endpoint(&far, "", "")));
    begun(&near).await;
    let hour = 3_600_000;
    for round in 1..=12 {
        put(&near, "a", round * hour, 0.0);
        put(&near, &format!("only{round}"), round * hour, 0.0);
        let (db, now) = (near.db.clone(), (round + 1) * hour - 1);
        let done = tokio::task::spawn_blocking(move || db.maintain(now)).await.expect("runs");
        done.expect("maintains");
    }
    assert!(near.db.stats().series < 8, "{} series", near.db.stats().series);
    assert!(tasks.stop(Duration::from_secs(5)).await);
    drop(first);
    far.mood(Mood::default());
    let (senders, tasks) = senders(&near, list(&endpoint(&far, "", "")));
    let all = async || {
        let (mut theirs, mut ours) = (far.store.shown(), near.shown());
        theirs.sort();
        ours.sort();
        (ours.len() == 13 && theirs == ours).then_some(())
    };
    until("all arrives", all).await;
    assert_eq!(figure(&senders, "dropped_samples_total"), 0.0);
    assert!(tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_reload_goes_on_where_it_was_and_forgets_who_is_gone() {
    let (near, far) = (Store::new(), Far::start().await);
    let (senders, tasks) = senders(&near, list(&endpoint(&far, "", "")));
    begun(&near).await;
    put(&near, "a", 1000, 1.0);
    until("it arrives", async || (far.store.shown() == ["a{}: 1@1000"]).then_some(())).await;
    senders.reload(list(&endpoint(&far, ", max_samples_per_send: 5", "")));
    put(&near, "a", 2000, 2.0);
    until("it arrives", async || (far.store.shown() == ["a{}: 1@1000 2@2000"]).then_some(())).await;
    senders.reload(SendConfig::default());
    until("it is forgotten", async || near.db.tail().kept().is_empty().then_some(())).await;
    put(&near, "a", 3000, 3.0);
    // Who comes anew gets what comes from then on.
    senders.reload(list(&endpoint(&far, "", "")));
    begun(&near).await;
    put(&near, "a", 4000, 4.0);
    until("it arrives", async || (far.store.shown() == ["a{}: 1@1000 2@2000 4@4000"]).then_some(())).await;
    assert!(tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_receiver_that_does_not_know_version_2_gets_version_1() {
    let (near, far) = (Store::new(), Far::start().await);
    far.mood(Mood { old: true, ..Mood::default() });
    let v2 = ", protobuf_message: io.prometheus.write.v2.Request";
    let (senders, tasks) = senders(&near, list(&endpoint(&far, "", v2)));
    begun(&near).await;
    put(&near, "a", 1000, 1.0);
    until("it arrives", async || (far.store.shown() == ["a{}: 1@1000"]).then_some(())).await;
    put(&near, "a", 2000, 2.0);
    until("it arrives", async || (far.store.shown() == ["a{}: 1@1000 2@2000"]).then_some(())).await;
    let newer = |headers: &HeaderMap| headers["x-prometheus-remote-write-version"] == "2.0.0";
    assert_eq!(far.seen.lock().expect("a lock").iter().filter(|(h, _)| newer(h)).count(), 1, "asked once");
    assert_eq!(figure(&senders, "failed_samples_total"), 0.0);
    assert!(tasks.stop(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn samples_that_are_too_old_are_passed_over() {
    let (near, far) = (Store::new(), Far::start().await);
    let (senders, tasks) = senders(&near, list(&endpoint(&far, ", sample_age_limit: 1h", "")));
    begun(&near).await;
    let now = Clock::system().now_ms();
    put(&near, "a", now - 7_200_000, 1.0);
    put(&near, "a", now - 1000, 2.0);
    let want = format!("a{{}}: 2@{}", now - 1000);
    until("the new one arrives", async || (far.store.shown() == [want.as_str()]).then_some(())).await;
    // It is counted once the round is done, which is after the receiver has its part.
    until("it is counted", async || (figure(&senders, "dropped_samples_total") == 1.0).then_some(())).await;
    assert!(tasks.stop(Duration::from_secs(5)).await);
}

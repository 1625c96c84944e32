//! Queries that take long, that nobody waits for, that break, and that make no sense.

use crate::plane::{NOW_S, Running, Setup, encoded};
use model::{
    CancelReason, Labels, SampleColumns, Select, SelectError, SelectRequest, SeriesRef, SeriesStream,
};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Mutex, Semaphore, mpsc},
};

/// A store whose reads last until they are let go or stopped.
#[derive(Debug)]
struct Held {
    /// One permit for each read that began.
    entered: Semaphore,
    free: AtomicBool,
    /// Why reads were stopped.
    stopped: mpsc::Sender<CancelReason>,
    told: Mutex<mpsc::Receiver<CancelReason>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Held {
    fn new() -> Arc<Self> {
        let (stopped, told) = mpsc::channel(100);
        Arc::new(Held {
            entered: Semaphore::new(0),
            free: AtomicBool::new(false),
            stopped,
            told: Mutex::new(told),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    fn hold(&self, request: &SelectRequest<'_>) -> Result<(), SelectError> {
        if request.limits.memory_only {
            return Err(SelectError::Limit { what: "reads that wait", limit: 0 });
        }
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.entered.add_permits(1);
        while !self.free.load(Ordering::SeqCst) && request.cancel.reason().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
        if let Some(reason) = request.cancel.reason() {
            self.stopped.try_send(reason).expect("room");
        }
        request.cancel.check()
    }

    /// Until that many more reads have begun.
    async fn entered(&self, count: u32) {
        self.entered.acquire_many(count).await.expect("open").forget();
    }

    async fn stopped(&self) -> CancelReason {
        let mut told = self.told.lock().await;
        tokio::time::timeout(Duration::from_secs(10), told.recv()).await.expect("in time").expect("a reason")
    }
}

#[derive(Debug)]
struct Nothing;

impl SeriesStream for Nothing {
    fn next(&mut self, _: &mut SampleColumns) -> Result<Option<(SeriesRef, Labels)>, SelectError> {
        Ok(None)
    }
}

impl Select for Held {
    fn select<'a>(&'a self, request: &SelectRequest<'_>) -> Result<Box<dyn SeriesStream + 'a>, SelectError> {
        self.hold(request).map(|()| Box::new(Nothing) as Box<dyn SeriesStream>)
    }
    fn series(&self, request: &SelectRequest<'_>) -> Result<Vec<Labels>, SelectError> {
        self.hold(request).map(|()| Vec::new())
    }
    fn label_names(&self, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
        self.hold(request).map(|()| Vec::new())
    }
    fn label_values(&self, _: &str, request: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
        self.hold(request).map(|()| Vec::new())
    }
}

/// Every address that reads the store.
const READS: [&str; 6] = [
    "/api/v1/query?query=up",
    "/api/v1/query_range?query=up&start=0&end=10&step=1",
    "/api/v1/series?match[]=up",
    "/api/v1/labels",
    "/api/v1/label/job/values",
    "/graph?g0.expr=up",
];

async fn held(setup: Setup) -> (Arc<Held>, Running) {
    let store = Held::new();
    let select = Some(Arc::clone(&store) as Arc<dyn Select>);
    (store, Setup { select, ..setup }.start().await)
}

#[tokio::test]
async fn a_query_whose_client_goes_away_is_stopped() {
    let (store, vigie) = held(Setup::default()).await;
    for path in READS {
        tokio::select! {
            answer = vigie.get(path) => panic!("{path}: {answer:?}"),
            () = store.entered(1) => {}
        }
        assert_eq!(store.stopped().await, CancelReason::ClientGone, "{path}");
    }
}

#[tokio::test]
async fn a_query_beyond_its_time_is_stopped_and_says_so() {
    let (store, vigie) = held(Setup { query_timeout: Duration::from_millis(50), ..Setup::default() }).await;
    for path in READS {
        for more in ["", "&timeout=1h", "&timeout=0.02"] {
            let path = if path.contains('?') { format!("{path}{more}") } else { path.to_owned() };
            let answer = vigie.get(&path).await;
            assert_eq!(store.now.load(Ordering::SeqCst), 0, "{path}: nothing runs on");
            // On a busy machine the time may be over before the read begins: then there is none to stop.
            while let Ok(reason) = store.told.lock().await.try_recv() {
                assert_eq!(reason, CancelReason::Deadline, "{path}");
            }
            if path.starts_with("/graph") {
                assert_eq!(answer.status, 200);
                assert!(answer.text.contains("timed out"), "{}", answer.text);
                continue;
            }
            assert_eq!(
                (answer.status, answer.json()["errorType"].as_str()),
                (503, Some("timeout")),
                "{path}"
            );
            let why = answer.text;
            assert!(why.contains("the limit is ") && why.contains("VIGIE_QUERY_TIMEOUT"), "{path}: {why}");
        }
    }
}

#[tokio::test]
async fn more_queries_than_may_run_wait_for_their_turn() {
    let (store, vigie) = held(Setup { queries: 2, ..Setup::default() }).await;
    let ask = || vigie.get("/api/v1/query?query=up");
    let all = async { tokio::join!(ask(), ask(), ask(), ask(), ask()) };
    let (answers, ()) = tokio::join!(all, async {
        store.entered(2).await;
        store.free.store(true, Ordering::SeqCst);
    });
    for answer in [answers.0, answers.1, answers.2, answers.3, answers.4] {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(store.most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn waiting_for_a_turn_counts_towards_the_time() {
    let (store, vigie) = held(Setup { queries: 1, ..Setup::default() }).await;
    let (first, ()) = tokio::join!(vigie.get("/api/v1/query?query=up"), async {
        store.entered(1).await;
        let second = vigie.get("/api/v1/query?query=up&timeout=0.05").await;
        assert_eq!((second.status, second.json()["errorType"].as_str()), (503, Some("timeout")));
        assert!(second.text.contains("timed out in query queue: the limit is 50ms"), "{}", second.text);
        assert!(!store.free.swap(true, Ordering::SeqCst), "while the first still runs");
    });
    assert_eq!(first.status, 200);
    let looked_up = store.entered.available_permits();
    assert_eq!(looked_up, 2, "the first looked up twice why nothing came of it; the second never ran");
}

#[tokio::test]
async fn a_query_that_finds_neither_place_nor_turn_is_told_to_come_again() {
    let setup = Setup { queries: 1, queue: 1, queue_wait: Duration::from_millis(50), ..Setup::default() };
    let (store, vigie) = held(setup).await;
    let (first, ()) = tokio::join!(vigie.get("/api/v1/query?query=up"), async {
        store.entered(1).await;
        for path in READS {
            let (one, other) = tokio::join!(vigie.get(path), vigie.get(path));
            let texts = format!("{} {}", one.text, other.text);
            // Which of the two found the queue full is nobody's business.
            assert!(
                texts.contains("VIGIE_QUERY_QUEUE_WAIT") && texts.contains("VIGIE_QUERY_QUEUE;"),
                "{path}: {texts}"
            );
            for answer in [one, other] {
                if path.starts_with("/graph") {
                    assert_eq!(answer.status, 200, "{path}");
                    continue;
                }
                let kind = answer.json()["errorType"].as_str().map(str::to_owned);
                assert_eq!((answer.status, kind.as_deref()), (503, Some("unavailable")), "{path}");
                assert_eq!(answer.header("retry-after"), "2", "{path}");
            }
        }
        store.free.store(true, Ordering::SeqCst);
    });
    assert_eq!(first.status, 200, "who had a place keeps it: {}", first.text);
    assert_eq!(store.most.load(Ordering::SeqCst), 1);
    assert_eq!(vigie.get("/api/v1/query?query=up").await.status, 200, "and there is one again");
}

#[tokio::test]
async fn rules_are_evaluated_on_time_whatever_users_ask() {
    let rules = "groups: [{name: g, interval: 50ms, rules: [{record: r, expr: sum(up)}]}]";
    let (store, vigie) = held(Setup { rules, queries: 2, queue: 2, ..Setup::default() }).await;
    let evaluated = || async {
        let body = vigie.get("/api/v1/rules").await.json();
        body["data"]["groups"][0]["lastEvaluation"].as_str().expect("a time").to_owned()
    };
    let ask = || vigie.get("/api/v1/query?query=up");
    let all = async { tokio::join!(ask(), ask(), ask(), ask()) };
    let (_, ()) = tokio::join!(all, async {
        store.entered(2).await;
        // Every place is taken and stays taken. The group goes on.
        let mut before = evaluated().await;
        for _ in 0..3 {
            let next = tokio::time::timeout(Duration::from_secs(10), async {
                loop {
                    let now = evaluated().await;
                    if now != before {
                        return now;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
            before = next.await.expect("the group is evaluated");
        }
        assert_eq!(store.now.load(Ordering::SeqCst), 2, "while all places are taken");
        store.free.store(true, Ordering::SeqCst);
    });
}

#[tokio::test]
async fn what_all_queries_hold_together_is_bounded_but_for_rules() {
    let rules = "groups: [{name: g, rules: [{record: r, expr: 'count_over_time(vector(1)[10d:1s])'}]}]";
    let vigie = Setup { rules, query_memory: 4 << 20, ..Setup::default() }.start().await;
    // Some 14 MB, which one query alone may hold.
    let large = encoded(&[("query", "count_over_time(vector(1)[10d:1s])")]);
    for path in ["query?", "query_range?start=0&end=10&step=10&"] {
        let answer = vigie.get(&format!("/api/v1/{path}{large}")).await;
        let body = answer.json();
        assert_eq!((answer.status, body["errorType"].as_str()), (503, Some("unavailable")), "{body}");
        assert_eq!(answer.header("retry-after"), "2");
        let why = body["error"].as_str().expect("a text");
        assert!(why.contains("4194304 bytes (VIGIE_QUERY_MAX_TOTAL_MEMORY)"), "{why}");
    }
    let small = encoded(&[("query", "count_over_time(vector(1)[1d:1m])")]);
    assert_eq!(vigie.get(&format!("/api/v1/query?{small}")).await.status, 200);
    let groups = vigie.get("/api/v1/rules").await.json();
    assert_eq!(groups["data"]["groups"][0]["rules"][0]["health"], "ok", "{groups}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let vigie = Setup { query_timeout: Duration::from_secs(3600), ..Setup::default() }.start().await;
    let address = vigie.base.trim_start_matches("http://");
    for (path, kind) in [("query", "application/x-www-form-urlencoded"), ("read", "application/x-protobuf")] {
        let mut client = tokio::net::TcpStream::connect(address).await.expect("connects");
        let head = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: 100\r\n\r\nq"
        );
        client.write_all(head.as_bytes()).await.expect("sent");
        // Time goes on by itself while nothing else does.
        tokio::time::pause();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.expect("an answer");
        tokio::time::resume();
        assert_eq!(&answer, b"HTTP/1.1 408", "{path}");
    }
}

#[tokio::test]
async fn a_large_answer_that_nobody_takes_is_let_go() {
    let vigie = Setup { storm: 1000, query_memory: 256 << 20, ..Setup::default() }.start().await;
    let (start, end) = ("1700000000", "1700000249.5");
    let params = [("query", "storm"), ("start", start), ("end", end), ("step", "0.5")];
    let path = format!("/api/v1/query_range?{}", encoded(&params));
    let address = vigie.base.trim_start_matches("http://").parse().expect("an address");
    // No more of it is on its way than the kernel holds.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("small");
    let mut client = socket.connect(address).await.expect("connects");
    client
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes())
        .await
        .expect("sent");
    let mut head = [0; 2048];
    let read = client.read(&mut head).await.expect("a head");
    let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length: usize = length.and_then(|n| n.parse().ok()).expect("it says how long it is");
    assert!(length > 8 << 20, "{length} bytes: {head}");
    assert!(vigie.pool.lent() > 6 << 20, "it is counted while it waits: {}", vigie.pool.lent());
    // Time goes on by itself while nothing else does.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(60)).await;
    tokio::time::resume();
    assert_eq!(vigie.pool.lent(), 0, "nobody came for it");
    let mut rest = Vec::new();
    let _end_or_reset = client.read_to_end(&mut rest).await;
    assert!(rest.len() + 2048 < length, "it was not kept: {} of {length}", rest.len());
    // Who takes it gets all of it.
    let whole = vigie.get(&path).await;
    assert_eq!((whole.status, whole.text.len()), (200, length));
    assert_eq!(whole.json()["data"]["result"].as_array().map(Vec::len), Some(1000));
}

/// A store that breaks.
#[derive(Debug)]
struct Broken(&'static str);

impl Broken {
    fn fail<T>(&self) -> Result<T, SelectError> {
        match self.0 {
            "panic" => panic!("on purpose"),
            "disk" => Err(SelectError::Io(std::io::Error::other("sector 7 of /dev/secret"))),
            "limit" => Err(SelectError::Limit { what: "series", limit: 5 }),
            other => Err(SelectError::Corrupt(other.to_owned())),
        }
    }
}

impl Select for Broken {
    fn select<'a>(&'a self, _: &SelectRequest<'_>) -> Result<Box<dyn SeriesStream + 'a>, SelectError> {
        self.fail()
    }
    fn series(&self, _: &SelectRequest<'_>) -> Result<Vec<Labels>, SelectError> {
        self.fail()
    }
    fn label_names(&self, _: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
        self.fail()
    }
    fn label_values(&self, _: &str, _: &SelectRequest<'_>) -> Result<Vec<String>, SelectError> {
        self.fail()
    }
}

#[tokio::test]
async fn a_store_that_breaks_is_an_answer_that_tells_nothing_of_the_inside() {
    for (how, status, kind) in [
        ("panic", 500, "internal"),
        ("disk", 500, "internal"),
        ("bits", 500, "internal"),
        ("limit", 422, "execution"),
    ] {
        let vigie = Setup { select: Some(Arc::new(Broken(how))), ..Setup::default() }.start().await;
        for path in READS {
            let answer = vigie.get(path).await;
            assert!(
                !answer.text.contains("secret") && !answer.text.contains("on purpose"),
                "{path}: {answer:?}"
            );
            if path.starts_with("/graph") {
                assert_eq!(answer.status, 200, "{path} {how}");
                assert!(answer.text.contains("role=\"alert\""), "{}", answer.text);
                continue;
            }
            let body = answer.json();
            assert_eq!(
                (answer.status, body["errorType"].as_str()),
                (status, Some(kind)),
                "{path} {how}: {body}"
            );
        }
    }
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>().prop_map(|v| v.to_string()),
        any::<i64>().prop_map(|v| v.to_string()),
        (0i64..4_000_000_000).prop_map(|v| v.to_string()),
        prop::sample::select(vec![
            NOW_S,
            "0",
            "-0",
            "1e308",
            "-9223372036854775",
            "9223372036854775.807",
            "9223372036854775807",
            "-292273086-05-16T16:47:06Z",
            "292277025-08-18T07:12:54.999999999Z",
            "2023-11-14T22:13:20Z",
            "NaN",
            "inf",
            "",
            "1s",
            "5m",
            "292y",
            "0.001",
            "1e-300",
            "+5",
            "0x10",
        ])
        .prop_map(str::to_owned),
        "[0-9.:TZ+-]{0,24}",
    ]
}

fn query() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "up",
        "latency",
        "odd",
        "{job=~\".+\"}",
        "(",
        ")",
        "[5m]",
        "[9223372036y]",
        "[1ms:1ms]",
        "[5m:]",
        " offset ",
        "-1y",
        "5m",
        "1e308",
        " @ ",
        " start()",
        " end()",
        "-9223372036854775",
        " + ",
        " / on (job) ",
        " and ",
        "sum(",
        "sum by (job) (",
        "rate(",
        "histogram_quantile(0.9, ",
        "topk(1e300, ",
        "label_replace(up, \"a\", \"$1\", \"job\", \"(.*)\")",
        "absent(",
        "timestamp(",
        "time()",
        "vector(",
        "NaN",
        "Inf",
        "\"",
        "'",
        "`",
        "\\",
        "{",
        "}",
        "\u{0}",
        "é",
        "#",
        " bool ",
        "> ",
        "predict_linear(",
        "quantile_over_time(",
        ", ",
        "count_values(\"x\", ",
        "sort_by_label(",
        "1",
    ]);
    prop_oneof![
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat()),
        prop::sample::select(vec![
            "up",
            "up[5m]",
            "up offset -9223372036s",
            "up offset 290y",
            "up @ 9223372036854775",
            "up @ -9223372036854775",
            "sum(rate(requests_total[5m]))",
            "max_over_time(up[290y])",
            "latency",
            "histogram_quantile(0.5, latency)",
            "max_over_time(up[1h:1s])",
            "max_over_time(up[290y:1y])",
            "{__name__=~\".+\"}",
            "time()",
            "vector(1)",
            "\"x\"",
        ])
        .prop_map(str::to_owned),
        ".{0,40}",
        (prop::sample::select(vec!["(", "-", "sum(", "1+", "up[", "{", "up or "]), 1usize..1200)
            .prop_map(|(piece, times)| piece.repeat(times) + "1"),
    ]
}

fn requests() -> impl Strategy<Value = (&'static str, Vec<(&'static str, String)>)> {
    let name = prop::sample::select(vec![
        "time",
        "start",
        "end",
        "step",
        "timeout",
        "limit",
        "lookback_delta",
        "stats",
        "match[]",
    ]);
    let path = prop::sample::select(vec![
        "/api/v1/query",
        "/api/v1/query_range",
        "/api/v1/series",
        "/api/v1/labels",
        "/api/v1/label/job/values",
        "/api/v1/label/U__a_2e_b/values",
        "/api/v1/rules",
        "/api/v1/targets",
    ]);
    let value = prop_oneof![4 => number(), 1 => query()];
    (path, query(), number(), number(), number(), prop::collection::vec((name, value), 0..4)).prop_map(
        |(path, query, start, end, step, mut params)| {
            params.extend([("start", start), ("end", end), ("step", step)]);
            params.extend([("query", query.clone()), ("match[]", query)]);
            (path, params)
        },
    )
}

#[test]
fn whatever_is_asked_the_answer_is_json_and_comes_in_time() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let vigie = runtime.block_on(async {
        Setup { query_timeout: Duration::from_secs(2), ..Setup::default() }.start().await
    });
    let config = Config { cases: 1500, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (good, bad) = (AtomicUsize::new(0), AtomicUsize::new(0));
    runner
        .run(&requests(), |(path, params)| {
            let params: Vec<(&str, &str)> = params.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let post =
                matches!(path, "/api/v1/query" | "/api/v1/query_range" | "/api/v1/series" | "/api/v1/labels");
            let answer = runtime.block_on(async {
                if post {
                    let kind = "application/x-www-form-urlencoded";
                    let request = vigie.request("POST", path).header("content-type", kind);
                    crate::plane::Answer::of(request.body(encoded(&params))).await
                } else {
                    vigie.ask(path, &params).await
                }
            });
            let body = answer.json();
            match answer.status {
                200 => {
                    good.fetch_add(1, Ordering::Relaxed);
                    prop_assert_eq!(&body["status"], "success");
                }
                400 | 422 | 503 => {
                    bad.fetch_add(1, Ordering::Relaxed);
                    prop_assert_eq!(&body["status"], "error");
                    prop_assert!(body["errorType"].is_string() && body["error"].is_string());
                }
                other => prop_assert!(false, "{} {}", other, answer.text),
            }
            Ok(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
    let (good, bad) = (good.into_inner(), bad.into_inner());
    println!("{good} answers, {bad} errors");
    assert!(good > 100 && bad > 100, "the requests are of both kinds: {good} and {bad}");
}

//! A plane built for a test, and a client that asks it.

use alerting::{Alerting, RoutingConfig};
use budget::{Authority, BudgetConfig};
use collect::{
    Families, Metadata, MetricType,
    otlp::{OtlpConfig, OtlpReceiver},
    remote_write::{Receiver, ReceiverConfig},
};
use kit::{
    client,
    clock::Clock,
    http::{Limits, Server, Service, ServiceAuth, bind},
    secret::Secret,
    tasks::Tasks,
};
use model::{Histogram, Labels, Select, Timestamp, Value as Sample, histogram::Span};
use promql::{Engine, EngineConfig, MemoryPool, MemoryStore};
use rules::{Globals, RuleFile, Rules, RulesDeps};
use serde_json::Value;
use state::State;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use web::{
    About, Access, Beat, BeatOutcome, BeatRefusal, Observed, Parts, Plane, ProbeView, Reload, RouteInfo,
    Runtime, TargetView, access::TokensFile,
};

/// Where the clock starts: 2023-11-14T22:13:20Z.
pub(crate) const NOW: Timestamp = 1_700_000_000_000;

/// The same in seconds, as parameters carry it.
pub(crate) const NOW_S: &str = "1700000000";

/// A tokens file with one person of each role.
const TOKENS: &str = "tokens:
  - {name: vera, role: viewer, token: vera-0123456789abcdef}
  - {name: otto, role: operator, token: otto-0123456789abcdef}
  - {name: ada, role: admin, token: ada-00123456789abcdef}
";
pub(crate) const VIEWER: &str = "vera-0123456789abcdef";
pub(crate) const OPERATOR: &str = "otto-0123456789abcdef";
pub(crate) const ADMIN: &str = "ada-00123456789abcdef";
pub(crate) const SERVICE: &str = "service-0123456789abcdef";
/// The token of the heartbeat `backup`.
pub(crate) const BEAT: &str = "backup-0123456789abcdef";

const BUDGETS: &str = "budgets:
  - {name: platform, limit_usd: 0.01, period: day, timezone: UTC, on_exceed: deny}
prices:
  - {provider: offline, model: tutor, input: 1.00, output: 2.00}
";

/// What the collector would show.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) probes: Vec<ProbeView>,
    pub(crate) targets: Vec<TargetView>,
    pub(crate) dropped: Vec<Labels>,
    /// Rule by rule, of the job `api`.
    pub(crate) steps: Vec<collect::RelabelStep>,
    /// What those who called in said.
    pub(crate) beats: Arc<Mutex<Vec<Option<String>>>>,
}

impl Observed for Seen {
    fn own_families(&self) -> Families {
        let about = Metadata { kind: MetricType::Counter, help: "Its own.".to_owned(), unit: String::new() };
        Families::from([("vigie_test_total".to_owned(), about)])
    }
    fn probes(&self) -> Vec<ProbeView> {
        self.probes.clone()
    }
    fn targets(&self) -> Vec<TargetView> {
        self.targets.clone()
    }
    fn dropped(&self) -> Vec<Labels> {
        self.dropped.clone()
    }
    fn scrape_pools(&self) -> Vec<String> {
        self.targets.iter().map(|t| t.pool.clone()).collect()
    }
    fn relabel_steps(&self, scrape_pool: &str, _: &Labels) -> Option<Vec<collect::RelabelStep>> {
        (scrape_pool == "api").then(|| self.steps.clone())
    }
    fn beat(&self, beat: Beat) -> BeatOutcome {
        let outcome = match &*beat.name {
            "backup" if beat.token.matches(BEAT) => Ok(()),
            "lost" if beat.token.matches(BEAT) => {
                Err(BeatRefusal::NotRecorded("the disk is full".to_owned()))
            }
            _ => Err(BeatRefusal::Refused),
        };
        if outcome.is_ok() {
            self.beats.lock().expect("lock").push(beat.failed);
        }
        Box::pin(async move { outcome })
    }
}

/// A process that began at [`NOW`]; its last reload is as good as the test says.
#[derive(Debug)]
struct Process(Arc<Mutex<Result<(), String>>>);

impl About for Process {
    fn runtime(&self) -> Runtime {
        Runtime {
            started: NOW,
            directory: "/".to_owned(),
            hostname: "test".to_owned(),
            parallelism: 2,
            memory_limit: None,
            retention: Duration::from_hours(24),
            retention_bytes: Some(1000),
            reloaded: self.0.lock().expect("lock").is_ok(),
            reload_tried: NOW,
            configured: NOW,
        }
    }
    fn flags(&self) -> std::collections::BTreeMap<String, String> {
        [("query.timeout".to_owned(), "2m".to_owned())].into()
    }
    fn config(&self) -> String {
        "scrape_configs:\n- job_name: api\n".to_owned()
    }
    fn job_config(&self, scrape_pool: &str) -> Option<String> {
        (scrape_pool == "api").then(|| "job_name: api\n".to_owned())
    }
    fn alertmanagers(&self) -> Vec<String> {
        vec!["http://am.test:9093/api/v2/alerts".to_owned()]
    }
    fn external_labels(&self) -> Labels {
        Labels::default()
    }
}

/// How the plane of a test differs from the usual one.
pub(crate) struct Setup {
    pub(crate) rules: &'static str,
    pub(crate) budgets: &'static str,
    pub(crate) seen: Seen,
    /// How many series `storm` has.
    pub(crate) storm: usize,
    /// In place of the store in memory, for queries.
    pub(crate) select: Option<Arc<dyn Select>>,
    pub(crate) tsdb: Option<tsdb::Tsdb>,
    /// In place of the store in memory, for what is written.
    pub(crate) append: Option<Arc<dyn model::Append>>,
    pub(crate) exemplars: Arc<dyn model::ExemplarSelect>,
    /// With tokens access is closed.
    pub(crate) tokens: bool,
    /// Where it is said to listen: that decides whether access may be open.
    pub(crate) listen: &'static str,
    pub(crate) external_url: &'static str,
    pub(crate) queries: usize,
    pub(crate) queue: usize,
    pub(crate) queue_wait: Duration,
    pub(crate) query_timeout: Duration,
    /// Bytes that all queries may hold together.
    pub(crate) query_memory: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            rules: "groups: []",
            budgets: BUDGETS,
            seen: Seen::default(),
            storm: 0,
            select: None,
            tsdb: None,
            append: None,
            exemplars: Arc::new(model::NoExemplars),
            tokens: false,
            listen: "127.0.0.1:3005",
            external_url: "http://vigie.test",
            queries: 4,
            queue: 100,
            queue_wait: Duration::from_secs(10),
            query_timeout: Duration::from_secs(10),
            query_memory: usize::MAX,
        }
    }
}

/// A plane that answers. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    pub(crate) tasks: Tasks,
    pub(crate) ready: Arc<AtomicBool>,
    /// As they are declared, without health and metrics.
    pub(crate) routes: Vec<RouteInfo>,
    /// The memory that queries share.
    pub(crate) pool: Arc<MemoryPool>,
    /// What the next reload answers.
    pub(crate) reload: Arc<Mutex<Result<(), String>>>,
    /// Where the configuration is.
    pub(crate) dir: tempfile::TempDir,
    state: State,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.stopping().cancel();
        self.state.close();
    }
}

/// A sample of the usual series, `{name, pairs...}`.
pub(crate) fn labels(name: &str, pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied().chain([("__name__", name)]))
}

/// A native histogram with three populated buckets.
pub(crate) fn native() -> Histogram {
    Histogram {
        schema: 0,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 4.0,
        sum: 5.5,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive: vec![1.0, 2.0],
        ..Histogram::default()
    }
}

fn fill(store: &MemoryStore) {
    let push = |labels: &Labels, at: Timestamp, v: f64| {
        store.push(labels, at, Sample::Float(v), None).expect("pushed");
    };
    for step in (0..=20).rev() {
        let at = NOW - step * 15_000;
        push(&labels("up", &[("job", "api"), ("instance", "a:1")]), at, 1.0);
        push(&labels("up", &[("job", "db"), ("instance", "b:1")]), at, 0.0);
        #[expect(clippy::cast_precision_loss, reason = "twenty")]
        push(&labels("requests_total", &[("code", "200")]), at, (20 - step) as f64 * 15.0);
    }
    push(&labels("odd", &[("what", "nan")]), NOW, f64::NAN);
    push(&labels("odd", &[("what", "inf")]), NOW, f64::INFINITY);
    push(&labels("odd", &[("what", "minus")]), NOW, f64::NEG_INFINITY);
    push(&labels("named", &[("http.status", "200"), ("way/of", "it")]), NOW, 1.0);
    push(&labels("odd.name", &[("way/of", "it")]), NOW, 1.0);
    push(&labels("hostile", &[("text", "<script>alert(\"1\")</script>\u{7}\n'&")]), NOW, 1.0);
    let latency = labels("latency", &[("job", "api")]);
    store.push(&latency, NOW, Sample::Histogram(Arc::new(native())), None).expect("pushed");
}

impl Setup {
    pub(crate) async fn start(self) -> Running {
        let clock = Clock::simulated(NOW);
        let tasks = Tasks::new(clock.clone());
        let dir = tempfile::tempdir().expect("dir");
        let state = State::open(&dir.path().join("state")).expect("state");
        let store = Arc::new(MemoryStore::new());
        fill(&store);
        crate::console::storm(&store, self.storm);
        let select = self.select.unwrap_or_else(|| Arc::clone(&store) as Arc<dyn Select>);
        let routing = RoutingConfig::nobody();
        let alerting =
            Alerting::new(state.clone(), clock.clone(), routing, self.external_url).expect("alerting");
        let budgets = BudgetConfig::parse("budgets.yaml", self.budgets).expect("budgets");
        let budget = Authority::new(state.clone(), clock.clone(), budgets);
        let engine = Arc::new(Engine::new(EngineConfig { experimental: true, ..EngineConfig::default() }));
        let deps = RulesDeps {
            engine: Arc::clone(&engine),
            select: Arc::clone(&store) as Arc<dyn Select>,
            append: Arc::clone(&store) as Arc<dyn model::Append>,
            sink: Arc::clone(&alerting) as Arc<dyn model::AlertSink>,
            state: state.clone(),
            clock: clock.clone(),
            external_url: self.external_url.to_owned(),
        };
        let file = RuleFile::parse("rules.yaml", self.rules).expect("rules");
        let rules = Rules::start(deps, &[file], Globals::default(), &tasks).await.expect("rules start");
        evaluated(&rules, &clock).await;

        let reload = Arc::new(Mutex::new(Ok(())));
        let outcome = Arc::clone(&reload);
        let pool = Arc::new(MemoryPool::new(self.query_memory));
        let shared = Some(Arc::clone(&pool));
        let asked = Engine::new(EngineConfig { pool: shared, ..engine.config().clone() });
        let write = Receiver::new(
            self.append.unwrap_or_else(|| Arc::clone(&store) as Arc<dyn model::Append>),
            Arc::new(model::NoExemplars),
            ReceiverConfig::default(),
        );
        let plane = Plane::new(Parts {
            engine: Arc::new(asked),
            select,
            tsdb: self.tsdb,
            rules,
            alerting,
            budget,
            observed: Arc::new(self.seen),
            about: Arc::new(Process(Arc::clone(&reload))),
            exemplars: self.exemplars,
            otlp: OtlpReceiver::new(write.clone(), OtlpConfig::default()),
            write,
            state: state.clone(),
            clock: clock.clone(),
            tasks: tasks.clone(),
            reload: Reload(Arc::new(move || {
                let outcome = outcome.lock().expect("lock").clone();
                Box::pin(async move { outcome })
            })),
            version: "1.2.3",
            external_url: self.external_url.to_owned(),
            config_dir: dir.path().to_owned(),
            ready: Arc::default(),
            queries: Arc::new(web::Queries::new(self.queries, self.queue, self.queue_wait)),
            query_timeout: self.query_timeout,
        });
        let ready = Arc::clone(&plane.ready);
        ready.store(true, Ordering::Relaxed);
        let tokens = self.tokens.then(|| TokensFile::parse("tokens.yaml", TOKENS).expect("tokens"));
        let service_token = self.tokens.then(|| Secret::new(SERVICE));
        let listen: SocketAddr = self.listen.parse().expect("address");
        let access = Access::new(listen, tokens, service_token.clone(), true).expect("access");
        let auth = ServiceAuth::new(service_token);
        let service =
            Service::new("vigie", "1.2.3", clock.clone(), auth, Limits::default()).expect("service");
        let routes = web::routes(&plane, access);
        let list = routes.list().to_vec();
        let bound = bind("vigie", "127.0.0.1:0").await.expect("bind");
        let base = format!("http://{}", bound.address);
        let router = service.router(routes.into_router());
        Server::start(&tasks, "vigie", bound, router, Duration::from_secs(1));
        let http = client::build(Duration::from_secs(15)).expect("client");
        Running { base, http, tasks, ready, pool, routes: list, reload, dir, state }
    }
}

/// Waits until every group has been evaluated once.
async fn evaluated(rules: &Rules, clock: &Clock) {
    let begun = clock.elapsed();
    while rules.view().iter().any(|g| g.last_evaluation.is_none()) {
        assert!(clock.elapsed() - begun < Duration::from_secs(10), "the rules are not evaluated");
        clock.sleep(Duration::from_millis(2)).await;
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, text: answer.text().await.expect("its body") }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }
}

/// Parameters, encoded.
pub(crate) fn encoded(params: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()
}

impl Running {
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("method");
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path)).await
    }

    /// `GET path?params`.
    pub(crate) async fn ask(&self, path: &str, params: &[(&str, &str)]) -> Answer {
        self.get(&format!("{path}?{}", encoded(params))).await
    }

    /// Asks by GET and by POST, which must answer the same.
    pub(crate) async fn both(&self, path: &str, params: &[(&str, &str)]) -> Answer {
        let got = self.ask(path, params).await;
        let posted = Answer::of(
            self.request("POST", path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(encoded(params)),
        )
        .await;
        assert_eq!((got.status, &got.text), (posted.status, &posted.text), "{path} {params:?}");
        got
    }

    /// Sends JSON as a service does.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        Answer::of(self.request(method, path).bearer_auth(SERVICE).json(body)).await
    }
}

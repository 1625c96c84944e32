//! Every route says who may call it, and a running Vigie holds to it.

use crate::{
    platform::{PATIENCE, binary},
    process::{Ports, Process},
    until,
};
use alerting::{Alerting, RoutingConfig};
use budget::{Authority, BudgetConfig};
use collect::{
    otlp::{OtlpConfig, OtlpReceiver},
    remote_write::{Receiver, ReceiverConfig},
};
use http::{Method, StatusCode};
use kit::{clock::Clock, tasks::Tasks};
use model::{AlertSink, Append, Labels, NoExemplars, Select};
use promql::{Engine, EngineConfig, MemoryStore};
use rules::{Globals, Rules, RulesDeps};
use state::State;
use std::{path::Path, process::Command, sync::Arc, time::Duration};
use web::{
    About, Access, Beat, BeatOutcome, BeatRefusal, Observed, Parts, Plane, ProbeView, Reload, Role,
    RouteInfo, Runtime, TargetView, access::Need,
};

const TOKENS: &str = "tokens:\n\
    \x20 - {name: viewer, role: viewer, token: viewer-0123456789abcdef}\n\
    \x20 - {name: operator, role: operator, token: operator-0123456789abcdef}\n\
    \x20 - {name: admin, role: admin, token: admin-0123456789abcdef}\n";

const SERVICE: &str = "service-0123456789abcdef";

/// A collector that has nothing to show.
#[derive(Debug)]
struct Nothing;

impl Observed for Nothing {
    fn own_families(&self) -> collect::Families {
        collect::Families::new()
    }
    fn probes(&self) -> Vec<ProbeView> {
        Vec::new()
    }
    fn targets(&self) -> Vec<TargetView> {
        Vec::new()
    }
    fn dropped(&self) -> Vec<Labels> {
        Vec::new()
    }
    fn scrape_pools(&self) -> Vec<String> {
        Vec::new()
    }
    fn relabel_steps(&self, _: &str, _: &Labels) -> Option<Vec<collect::RelabelStep>> {
        None
    }
    fn beat(&self, _: Beat) -> BeatOutcome {
        Box::pin(async { Err(BeatRefusal::Refused) })
    }
}

impl About for Nothing {
    fn runtime(&self) -> Runtime {
        Runtime {
            started: 0,
            directory: String::new(),
            hostname: String::new(),
            parallelism: 1,
            memory_limit: None,
            retention: Duration::ZERO,
            retention_bytes: None,
            reloaded: true,
            reload_tried: 0,
            configured: 0,
        }
    }
    fn flags(&self) -> std::collections::BTreeMap<String, String> {
        std::collections::BTreeMap::new()
    }
    fn config(&self) -> String {
        String::new()
    }
    fn job_config(&self, _: &str) -> Option<String> {
        None
    }
    fn external_labels(&self) -> Labels {
        Labels::default()
    }
    fn alertmanagers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The routes as `web` declares them, and those that Vigie adds of what every service has.
async fn declared(folder: &Path) -> Vec<RouteInfo> {
    let clock = Clock::system();
    let tasks = Tasks::new(clock.clone());
    let state = State::open(&folder.join("state")).expect("state");
    let store = Arc::new(MemoryStore::new());
    let engine = Arc::new(Engine::new(EngineConfig::default()));
    let alerting = Alerting::new(state.clone(), clock.clone(), RoutingConfig::nobody(), "http://localhost")
        .expect("alerting");
    let (select, append, sink): (Arc<dyn Select>, Arc<dyn Append>, Arc<dyn AlertSink>) =
        (Arc::clone(&store) as _, store, Arc::clone(&alerting) as _);
    let deps = RulesDeps {
        engine: Arc::clone(&engine),
        select: Arc::clone(&select),
        append: Arc::clone(&append),
        sink,
        state: state.clone(),
        clock: clock.clone(),
        external_url: String::new(),
    };
    let write = Receiver::new(append, Arc::new(NoExemplars), ReceiverConfig::default());
    let plane = Plane::new(Parts {
        engine,
        select,
        tsdb: None,
        otlp: OtlpReceiver::new(write.clone(), OtlpConfig::default()),
        write,
        rules: Rules::start(deps, &[], Globals::default(), &tasks).await.expect("rules"),
        alerting,
        budget: Authority::new(state.clone(), clock.clone(), BudgetConfig::default()),
        observed: Arc::new(Nothing),
        about: Arc::new(Nothing),
        exemplars: Arc::new(NoExemplars),
        state,
        clock,
        tasks,
        reload: Reload(Arc::new(|| Box::pin(async { Ok(()) }))),
        version: "0",
        external_url: String::new(),
        config_dir: folder.to_owned(),
        ready: Arc::default(),
        queries: Arc::new(web::Queries::new(1, 1, Duration::from_secs(1))),
        query_timeout: Duration::from_secs(1),
    });
    let access = Access::new("127.0.0.1:0".parse().expect("an address"), None, None, false).expect("access");
    let mut routes = web::routes(&plane, access).list().to_vec();
    let mut add = |path, role| routes.push(RouteInfo { method: Method::GET, path, need: Need::Role(role) });
    add("/api/v1/health", Role::Open);
    add("/metrics", Role::Viewer);
    add("/api/v1/metrics", Role::Viewer);
    routes
}

struct Running {
    _vigie: Process,
    base: String,
    http: reqwest::Client,
}

impl Running {
    async fn start(folder: &Path) -> Running {
        let port = Ports::new().free();
        std::fs::write(folder.join("tokens.yaml"), TOKENS).expect("a file");
        let pair = |name: &str, value: String| (name.to_owned(), value);
        let env = [
            pair("VIGIE_TOKENS_FILE", folder.join("tokens.yaml").display().to_string()),
            pair("SERVICE_AUTH_TOKEN", SERVICE.to_owned()),
        ];
        let mut command = Command::new(binary("vigie"));
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
        command.arg("--config-dir").arg(folder).arg("--data-dir").arg(folder.join("data"));
        let vigie = Process::start("vigie", folder, &mut command, &env);
        let http = kit::client::build(Duration::from_secs(10)).expect("a client");
        let running = Running { _vigie: vigie, base: format!("http://127.0.0.1:{port}"), http };
        until("vigie is ready", PATIENCE, || async {
            let status = running.ask(&Method::GET, "/-/ready", None).await?;
            if status == StatusCode::OK { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
        running
    }

    async fn ask(&self, method: &Method, path: &str, token: Option<&str>) -> Result<StatusCode, String> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        request.send().await.map(|a| a.status()).map_err(|e| kit::client::sentence(&e))
    }
}

/// A caller, the token it presents, and whether it may use a route.
type CallerRow = (&'static str, Option<&'static str>, fn(Need) -> bool);

const CALLERS: [CallerRow; 6] = [
    ("nobody", None, |need| need == Need::Role(Role::Open)),
    ("a stranger", Some("a-token-that-nobody-has"), |need| need == Need::Role(Role::Open)),
    ("a service", Some(SERVICE), |need| matches!(need, Need::Service | Need::Push | Need::Role(Role::Open))),
    ("a viewer", Some("viewer-0123456789abcdef"), |need| {
        matches!(need, Need::Role(Role::Open | Role::Viewer))
    }),
    ("an operator", Some("operator-0123456789abcdef"), |need| {
        matches!(need, Need::Push | Need::Role(Role::Open | Role::Viewer | Role::Operator))
    }),
    ("an admin", Some("admin-0123456789abcdef"), |_| true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_lets_in_whom_it_declares_and_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let routes = declared(folder.path()).await;
    assert!(routes.len() > 30, "only {} routes", routes.len());
    let vigie = Running::start(folder.path()).await;
    let mut problems = Vec::new();
    for route in &routes {
        let path = route.path.replace("{id}", "none").replace("{name}", "none");
        assert!(!path.contains('{'), "give {path} values to be asked with");
        for (who, token, may) in CALLERS {
            // A wrong token at the login page is refused by the page itself.
            if route.path == "/login" && route.method == Method::POST {
                continue;
            }
            let status = vigie.ask(&route.method, &path, token).await.expect("an answer");
            let known = who != "nobody"
                && who != "a stranger"
                && (who != "a service" || matches!(route.need, Need::Service | Need::Push));
            let fine = match (may(route.need), known) {
                // None of these tokens is a heartbeat's, and nobody learns which heartbeats there are.
                _ if route.need == Need::OwnToken => status == StatusCode::UNAUTHORIZED,
                (true, _) => status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN,
                (false, false) => status == StatusCode::UNAUTHORIZED,
                (false, true) => status == StatusCode::FORBIDDEN,
            };
            if !fine {
                problems
                    .push(format!("{} {} ({:?}): {who} got {status}", route.method, route.path, route.need));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_something_needs_more_than_a_viewer() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = ["/login", "/logout"];
    // Queries by POST change nothing.
    let queries = [
        "/api/v1/query",
        "/api/v1/query_range",
        "/api/v1/query_exemplars",
        "/api/v1/format_query",
        "/api/v1/parse_query",
        "/api/v1/read",
        "/api/v1/series",
        "/api/v1/labels",
        "/api/vigie/v1/explain",
    ];
    for route in declared(folder.path()).await {
        let reads =
            route.method == Method::GET || open.contains(&route.path) || queries.contains(&route.path);
        let weak = matches!(route.need, Need::Role(Role::Open | Role::Viewer));
        assert!(reads || !weak, "{} {} is open to {:?}", route.method, route.path, route.need);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_is_open_to_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut open: Vec<&str> = declared(folder.path())
        .await
        .iter()
        .filter(|r| r.need == Need::Role(Role::Open))
        .map(|r| r.path)
        .filter(|p| !p.starts_with("/assets/"))
        .collect();
    open.sort_unstable();
    open.dedup();
    assert_eq!(open, ["/-/healthy", "/-/ready", "/api/v1/health", "/login", "/logout", "/status"]);
}

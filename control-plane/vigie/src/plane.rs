//! The running control plane: begun in order, reloaded whole, ended in order.

use crate::{
    ShownConfig, VERSION,
    about::Process,
    loaded::Loaded,
    observed::{Seen, Told},
    options::Options,
    own_series::{OwnSeries, ReloadMark},
};
use alerting::Alerting;
use anyhow::Context;
use arc_swap::ArcSwap;
use budget::Authority;
use collect::{
    CollectDeps, Collector, Health, SelfSource,
    otlp::OtlpReceiver,
    remote_write::{Receiver, ReceiverConfig, Senders},
    tsdb_source,
};
use http::Method;
use kit::{
    clock::Clock,
    http::{Bind, Limits, Server, Service, ServiceAuth, bind},
    problem::Problems,
    program::base_of,
    tasks::{Poke, Schedule, Tasks},
};
use model::{AlertSink, Append, ExemplarSink, Labels, Select};
use promql::{Engine, EngineConfig, MemoryPool};
use rules::{Rules, RulesDeps};
use state::State;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};
use tsdb::{StdDisk, Tsdb, TsdbConfig, exemplars::Exemplars};
use web::{
    Access, Parts, Plane, Queries, Reload, Role, Routes,
    access::{Need, TokensFile},
    grafana::{Dashboard, Grafana, GrafanaConfig},
};

/// How much longer than a query its request may take, so that the answer says what happened.
const GRACE: Duration = Duration::from_secs(5);

/// How long the store may take for what it is told to do.
const STORE_WORK: Duration = Duration::from_mins(30);

/// Scrapes under way at the same time.
const COLLECTING: usize = 1000;

/// How far ahead of the wall a clock mark may be before it is taken for a mistake.
const MARK_MARGIN_MS: i64 = 10 * 60_000;

/// How long a start waits for the targets' first answers before alerts may end.
const SETTLE: Duration = Duration::from_secs(60);

/// How long the parts may take to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// The rooms, as a reload sees them.
#[derive(Debug)]
struct Rooms {
    store: Tsdb,
    collector: Collector,
    senders: Senders,
    otlp: OtlpReceiver,
    exemplars: Exemplars,
    rules: Arc<Rules>,
    alerting: Arc<Alerting>,
    budget: Arc<Authority>,
    dashboards: ArcSwap<Vec<Dashboard>>,
    grafana: Mutex<Option<Poke>>,
    mark: Arc<ReloadMark>,
    /// What is shown of the configuration in force.
    shown: Arc<ArcSwap<ShownConfig>>,
    clock: Clock,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
}

/// A control plane that runs.
#[derive(Debug)]
pub struct Vigie {
    pub address: SocketAddr,
    rooms: Arc<Rooms>,
    options: Arc<Options>,
    web: Tasks,
    ruling: Tasks,
    telling: Tasks,
    sending: Tasks,
    keeping: Tasks,
    store: Tsdb,
    state: State,
    ready: Arc<AtomicBool>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Vigie {
    /// Listens where the options say.
    ///
    /// # Errors
    /// One clear line, for a taken port among others.
    pub async fn listen(options: &Options) -> anyhow::Result<Bind> {
        bind(crate::NAME, &options.listen.to_string()).await
    }

    /// Starts everything: stores, money, messages, rules, collection, web.
    ///
    /// # Errors
    /// Every problem of the configuration; one line for whatever else cannot start.
    pub async fn start(mut options: Options, listening: Bind, tasks: &Tasks) -> anyhow::Result<Vigie> {
        let address = listening.address;
        let access = access(&options, address)?;
        let second = match options.prometheus_port {
            Some(port) => {
                let address = SocketAddr::new(options.listen.ip(), port);
                Some(bind("vigie's Prometheus API", &address.to_string()).await?)
            }
            None => None,
        };
        // Its own probe and the links in its messages need an address.
        let base = base_of(address);
        options.settings = options.settings.with_default("MONITORING_SERVICE_URL", base.clone());
        let external_url = options.external_url.clone().unwrap_or(base);
        let loaded = Loaded::read(&options)?;

        let clock = tasks.clock().clone();
        let started = clock.now_ms();
        let (state, store, clock_behind_ms) = open_stores(&options, &clock).await?;
        store.set_late_window(loaded.out_of_order_window.unwrap_or(options.out_of_order_window));
        let keeping = tasks.group();
        keep_clock_mark(&keeping, &state, &clock);
        maintain(&keeping, &store, &clock, options.memory_limit);

        let budget = Authority::new(state.clone(), clock.clone(), loaded.budgets);
        let telling = tasks.group();
        let alerting = Alerting::new(state.clone(), clock.clone(), loaded.routing, &external_url)?;
        alerting.start(&telling);
        let ruling = tasks.group();
        budget.start(&ruling);
        let engine = Arc::new(Engine::new(options.queries.engine.clone()));
        let (select, append): (Arc<dyn Select>, Arc<dyn Append>) =
            (Arc::new(store.clone()), Arc::new(store.clone()));
        let deps = RulesDeps {
            engine: Arc::clone(&engine),
            select: Arc::clone(&select),
            append: Arc::clone(&append),
            sink: Arc::clone(&alerting) as Arc<dyn AlertSink>,
            state: state.clone(),
            clock: clock.clone(),
            external_url: external_url.clone(),
        };
        let rules = Rules::start(deps, &loaded.rules, loaded.rule_globals.clone(), &ruling).await?;

        let service_auth = ServiceAuth::new(options.service_token.clone());
        let limits = Limits {
            route_timeouts: vec![
                ("/api/v1/query", options.queries.timeout.saturating_add(GRACE)),
                ("/api/v1/query_range", options.queries.timeout.saturating_add(GRACE)),
                ("/api/vigie/v1/explain", options.queries.timeout.saturating_add(GRACE)),
                ("/api/v1/read", options.queries.timeout.saturating_add(GRACE)),
                ("/api/v1/admin/tsdb/delete_series", STORE_WORK),
                ("/api/v1/admin/tsdb/snapshot", STORE_WORK),
                ("/api/vigie/v1/tsdb/flush", STORE_WORK),
            ],
            ..Limits::default()
        };
        let service = Service::new(crate::NAME, VERSION, clock.clone(), service_auth, limits)?;
        let mark = Arc::new(ReloadMark {
            good: AtomicBool::new(true),
            last_good_ms: AtomicI64::new(clock.now_ms()),
            tried_ms: AtomicI64::new(clock.now_ms()),
        });
        let own = OwnSeries {
            budget: Arc::clone(&budget),
            alerting: Arc::clone(&alerting),
            rules: Arc::clone(&rules),
            tasks: tasks.clone(),
            reload: Arc::clone(&mark),
            version: VERSION,
            clock_behind_ms,
        };
        let exemplars = Exemplars::new(loaded.max_exemplars);
        let sink: Arc<dyn ExemplarSink> = Arc::new(exemplars.clone());
        let receiver = Receiver::new(Arc::clone(&append), Arc::clone(&sink), ReceiverConfig::default());
        let otlp = OtlpReceiver::new(receiver.clone(), loaded.otlp);
        let sending = tasks.group();
        let told = Told::new(service.registry().clone());
        let senders = {
            let (told, receiver) = (told.clone(), receiver.clone());
            let families = move || told.families(&receiver);
            Senders::start(Arc::new(store.tail()), sending.clone(), families, loaded.remote_write)
        };
        let sources: Vec<Arc<dyn SelfSource>> = vec![
            Arc::new(service.registry().clone()),
            Arc::new(tsdb_source(store.clone())),
            Arc::new(own),
            Arc::new(receiver.clone()),
            Arc::new(senders.clone()),
        ];
        let collector = Collector::start(
            CollectDeps {
                append,
                exemplars: sink,
                clock: clock.clone(),
                tasks: tasks.group(),
                sources,
                self_labels: Labels::from_pairs([
                    ("job", "vigie".to_owned()),
                    ("instance", address.to_string()),
                ]),
                concurrency: COLLECTING,
                state: Some(state.clone()),
            },
            loaded.collect,
        )?;
        told.by(&collector);
        settle(&ruling, &collector, &rules, &clock);

        warn_of_alertmanagers(&loaded.shown);
        let shown = Arc::new(ArcSwap::from_pointee(loaded.shown));
        let rooms = Arc::new(Rooms {
            store: store.clone(),
            collector: collector.clone(),
            senders,
            otlp: otlp.clone(),
            exemplars: exemplars.clone(),
            rules: Arc::clone(&rules),
            alerting: Arc::clone(&alerting),
            budget: Arc::clone(&budget),
            dashboards: ArcSwap::from_pointee(loaded.dashboards),
            grafana: Mutex::new(None),
            mark: Arc::clone(&mark),
            shown: Arc::clone(&shown),
            clock: clock.clone(),
            reloading: tokio::sync::Mutex::new(()),
        });
        let options = Arc::new(options);
        let prometheus_url = second.as_ref().map_or_else(|| external_url.clone(), |b| base_of(b.address));
        push_dashboards(&telling, &rooms, &options, &prometheus_url)?;

        let health = service.health();
        let (asked, kept) = (state.clone(), store.clone());
        health.depends_on("state", true, move || {
            let state = asked.clone();
            async move {
                let read = tokio::task::spawn_blocking(move || state.mark("clock")).await;
                read.map_err(|e| e.to_string())?.map(|_| ()).map_err(|e| e.to_string())
            }
        });
        health.depends_on("series", true, move || {
            let failures = kept.stats().log_sync_failures_total;
            async move { if failures == 0 { Ok(()) } else { Err("the log cannot be written".to_owned()) } }
        });
        let ready = Arc::new(AtomicBool::new(false));
        let limits = &options.queries;
        let places = Queries::new(limits.concurrency, limits.queue, limits.queue_wait);
        // What users ask is bounded in sum; rules are not among it, and never wait for them.
        let pool = Some(Arc::new(MemoryPool::new(limits.total_bytes)));
        let asked = Engine::new(EngineConfig { pool, ..engine.config().clone() });
        let about = Process {
            started,
            options: Arc::clone(&options),
            engine: engine.config().clone(),
            external_url: external_url.clone(),
            mark,
            config: shown,
        };
        let plane = Plane::new(Parts {
            engine: Arc::new(asked),
            select,
            tsdb: Some(store.clone()),
            rules,
            alerting,
            budget,
            observed: Arc::new(Seen { collector, registry: service.registry().clone() }),
            about: Arc::new(about),
            exemplars: Arc::new(exemplars.clone()),
            write: receiver,
            otlp,
            state: state.clone(),
            clock,
            tasks: tasks.clone(),
            reload: reload_handle(&tasks.group(), &rooms, &options),
            version: VERSION,
            external_url,
            config_dir: options.config_dir.clone().unwrap_or_else(|| ".".into()),
            ready: Arc::clone(&ready),
            queries: Arc::new(places),
            query_timeout: options.queries.timeout,
        });
        let mut routes = web::routes(&plane, access);
        common_routes(&mut routes, &service);
        let router = service.wrap(routes.into_router());
        let web_tasks = tasks.group();
        if let Some(second) = second {
            Server::start(&web_tasks, "vigie prometheus", second, router.clone(), Duration::from_secs(10));
        }
        Server::start(&web_tasks, crate::NAME, listening, router, Duration::from_secs(10));
        ready.store(true, Ordering::Relaxed);
        tracing::info!(%address, files = loaded.files.len(), "Vigie is ready");
        Ok(Vigie {
            address,
            rooms,
            options,
            web: web_tasks,
            ruling,
            telling,
            sending,
            keeping,
            store,
            state,
            ready,
        })
    }

    pub fn base(&self) -> String {
        base_of(self.address)
    }

    /// Reads the configuration again, and takes it over whole or not at all.
    ///
    /// # Errors
    /// Every problem of the files; nothing has changed then.
    pub async fn reload(&self) -> Result<(), String> {
        self.rooms.reload(&self.options).await
    }

    /// Stops in order: the web takes no new work, collection, rules and money, messages, remote write, then the
    /// stores.
    pub async fn stop(&self) {
        self.ready.store(false, Ordering::Relaxed);
        let say = |ended: bool, what: &str| {
            if !ended {
                tracing::warn!("{what} had not ended in time");
            }
        };
        say(self.web.stop(PATIENCE).await, "the web");
        say(self.rooms.collector.stop(PATIENCE).await, "collection");
        say(self.ruling.stop(PATIENCE).await, "rules");
        say(self.telling.stop(PATIENCE).await, "messages");
        say(self.sending.stop(PATIENCE).await, "remote write");
        say(self.keeping.stop(PATIENCE).await, "maintenance");
        let (store, state) = (self.store.clone(), self.state.clone());
        let closed = tokio::task::spawn_blocking(move || {
            let outcome = store.close();
            state.close();
            outcome
        })
        .await;
        if let Ok(Err(e)) = closed {
            tracing::error!(error = %e, "the store could not be closed in order");
        }
    }
}

impl Rooms {
    async fn reload(&self, options: &Options) -> Result<(), String> {
        let _alone = self.reloading.lock().await;
        let outcome = self.reload_alone(options).await;
        self.mark.tried_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        self.mark.good.store(outcome.is_ok(), Ordering::Relaxed);
        match &outcome {
            Ok(()) => {
                self.mark.last_good_ms.store(self.clock.now_ms(), Ordering::Relaxed);
                tracing::info!("the configuration was reloaded");
            }
            Err(e) => {
                tracing::error!(problems = %e, "the configuration was not reloaded; what was in force still is")
            }
        }
        outcome
    }

    async fn reload_alone(&self, options: &Options) -> Result<(), String> {
        let loaded = Loaded::read(options).map_err(|problems: Problems| problems.to_string())?;
        // From here on nothing can fail.
        self.rules.reload(&loaded.rules, loaded.rule_globals).await;
        self.alerting.reload(loaded.routing);
        self.budget.reload(loaded.budgets);
        self.collector.reload(loaded.collect);
        self.senders.reload(loaded.remote_write);
        self.otlp.reload(loaded.otlp);
        self.exemplars.resize(loaded.max_exemplars);
        self.store.set_late_window(loaded.out_of_order_window.unwrap_or(options.out_of_order_window));
        self.dashboards.store(Arc::new(loaded.dashboards));
        warn_of_alertmanagers(&loaded.shown);
        self.shown.store(Arc::new(loaded.shown));
        if let Some(poke) = &*locked(&self.grafana) {
            poke.poke();
        }
        Ok(())
    }
}

/// Somebody who moves over may count on those who got the alerts so far.
fn warn_of_alertmanagers(shown: &ShownConfig) {
    if !shown.alertmanagers.is_empty() {
        tracing::warn!(
            alertmanagers = ?shown.alertmanagers,
            "alerts are not sent to the configured alertmanagers: Vigie delivers them itself, by --alertmanager-config or alerts/routing.yaml"
        );
    }
}

/// A reload that has begun goes on to its end in a task of its own: a client that hangs up drops the future that
/// waits for it, and half a reload would leave no rules running.
fn reload_handle(tasks: &Tasks, rooms: &Arc<Rooms>, options: &Arc<Options>) -> Reload {
    let (tasks, rooms, options) = (tasks.clone(), Arc::clone(rooms), Arc::clone(options));
    Reload(Arc::new(move || {
        let (rooms, options) = (Arc::clone(&rooms), Arc::clone(&options));
        let (tell, told) = tokio::sync::oneshot::channel();
        tasks.spawn("reload", async move {
            // Whoever asked may have gone; the log and a metric say how it went.
            let _gone = tell.send(rooms.reload(&options).await).is_err();
        });
        Box::pin(
            async move { told.await.unwrap_or_else(|_| Err("the reload panicked; the log has it".into())) },
        )
    }))
}

/// What every service answers; here metrics need a role, as everything that is not said to be open.
fn common_routes(routes: &mut Routes, service: &Service) {
    let own = service.clone();
    routes.add(Method::GET, "/api/v1/health", Need::Role(Role::Open), move || {
        let service = own.clone();
        async move { service.answer_health().await }
    });
    for path in ["/metrics", "/api/v1/metrics"] {
        let own = service.clone();
        routes.add(Method::GET, path, Need::Role(Role::Viewer), move || {
            let service = own.clone();
            async move { service.answer_metrics() }
        });
    }
}

fn access(options: &Options, address: SocketAddr) -> anyhow::Result<Access> {
    let tokens = match &options.tokens_file {
        Some(path) => {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("VIGIE_TOKENS_FILE: cannot read {shown}"))?;
            Some(TokensFile::parse(&shown, &text)?)
        }
        None => None,
    };
    Ok(Access::new(address, tokens, options.service_token.clone(), options.insecure)?)
}

/// Opens both stores, on a thread that may block.
async fn open_stores(options: &Options, clock: &Clock) -> anyhow::Result<(State, Tsdb, i64)> {
    let (dir, retention, clock) = (options.data_dir.clone(), options.retention, clock.clone());
    let (max_series, max_block_bytes) = (Some(options.series_limit), options.retention_bytes);
    let late_window = options.out_of_order_window;
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || {
        let _named = span.entered();
        let begun = clock.elapsed();
        let config = TsdbConfig {
            max_series,
            retention,
            late_window,
            max_block_bytes,
            ..TsdbConfig::new(dir.join("series"))
        };
        // The series come first: their directory tells whether another process is here.
        let (store, report) = Tsdb::open(config, Arc::new(StdDisk))?;
        let state = State::open(&dir.join("state"))?;
        let clock_behind_ms = raise_clock(&state, &clock)?;
        for damage in &report.damage {
            tracing::error!(damage = %damage, "a piece of the series store could not be read");
        }
        tracing::info!(
            series = report.series,
            samples = report.samples,
            blocks = report.blocks,
            torn_bytes = report.torn_bytes,
            seconds = (clock.elapsed() - begun).as_secs_f64(),
            "the store is open"
        );
        anyhow::Ok((state, store, clock_behind_ms))
    })
    .await?
}

/// Never answer less than an earlier process did, unless its mark is so far ahead that it must be a mistake.
/// Returns by how many milliseconds the wall is behind a mark that was dropped.
fn raise_clock(state: &State, clock: &Clock) -> anyhow::Result<i64> {
    let Some(mark) = state.mark("clock")?.and_then(|text| text.parse::<i64>().ok()) else { return Ok(0) };
    let behind = mark - clock.wall_ms();
    if behind > MARK_MARGIN_MS {
        tracing::error!(
            mark = %kit::telemetry::rfc3339(mark),
            "the clock is more than ten minutes behind where Vigie last saw it: samples follow the clock, budgets keep their period"
        );
        return Ok(behind);
    }
    clock.raise_to(mark);
    Ok(0)
}

fn keep_clock_mark(tasks: &Tasks, state: &State, clock: &Clock) {
    let (state, clock) = (state.clone(), clock.clone());
    tasks.reconciler("clock mark", Schedule::Every(Duration::from_secs(10)), move || {
        let (state, now) = (state.clone(), clock.now_ms());
        async move {
            state.set_mark("clock", now.to_string()).await?;
            Ok(kit::telemetry::rfc3339(now))
        }
    });
}

fn maintain(tasks: &Tasks, store: &Tsdb, clock: &Clock, memory_limit: Option<u64>) {
    if let Some(limit) = memory_limit {
        let store = store.clone();
        tasks.reconciler("memory", Schedule::Every(Duration::from_secs(1)), move || {
            let store = store.clone();
            async move {
                let held = resident_bytes(&tokio::fs::read_to_string("/proc/self/status").await?);
                let held = held.context("/proc/self/status has no VmRSS")?;
                store.refuse_new_series(held > limit);
                let (held, limit) = (held >> 20, limit >> 20);
                Ok(format!(
                    "{held} MB of {limit} MB{}",
                    if held > limit { ": new series are refused" } else { "" }
                ))
            }
        });
    }
    let (store, clock) = (store.clone(), clock.clone());
    tasks.reconciler("series maintenance", Schedule::Every(Duration::from_secs(5)), move || {
        let (store, now) = (store.clone(), clock.now_ms());
        async move {
            let done = tokio::task::spawn_blocking(move || store.maintain(now)).await??;
            Ok(format!("{done:?}"))
        }
    });
}

/// What `/proc/PID/status` says of the resident set.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// Lets alerts end once every target and probe has been asked since the start.
fn settle(tasks: &Tasks, collector: &Collector, rules: &Arc<Rules>, clock: &Clock) {
    let (collector, rules, clock, begun) =
        (collector.clone(), Arc::clone(rules), clock.clone(), clock.elapsed());
    let stop = tasks.stopping();
    tasks.spawn("settle", async move {
        loop {
            let seen = collector.snapshot();
            let all = seen.targets.iter().all(|t| t.health != Health::Unknown)
                // A heartbeat that never came yet stays unknown, and says so at once.
                && seen.probes.iter().all(|p| p.last_run_ms.is_some());
            if all || clock.elapsed() - begun > SETTLE {
                rules.settle();
                return;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = clock.sleep(Duration::from_millis(250)) => {}
            }
        }
    });
}

fn push_dashboards(
    tasks: &Tasks,
    rooms: &Arc<Rooms>,
    options: &Options,
    prometheus_url: &str,
) -> anyhow::Result<()> {
    let Some(url) = options.grafana_url.clone() else { return Ok(()) };
    let grafana = Arc::new(Grafana::new(GrafanaConfig {
        url,
        token: options.grafana_token.clone(),
        org: options.grafana_org.clone(),
        prometheus_url: prometheus_url.to_owned(),
        prometheus_token: options.grafana_vigie_token.clone(),
    })?);
    let shared = Arc::clone(rooms);
    let poke = tasks.reconciler("grafana push", Schedule::Every(Duration::from_secs(300)), move || {
        let (grafana, rooms) = (Arc::clone(&grafana), Arc::clone(&shared));
        async move {
            let pushed = grafana.push(&rooms.dashboards.load_full()).await?;
            Ok(format!("{pushed} dashboards"))
        }
    });
    *locked(&rooms.grafana) = Some(poke);
    Ok(())
}

#[cfg(test)]
mod tests;

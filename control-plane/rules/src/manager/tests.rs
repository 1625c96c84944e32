//! Groups run on time; alert state outlives the process and reloads.

use super::*;
use model::{SinkError, Value};
use promql::memory::MemoryStore;

#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl AlertSink for Told {
    fn accept(&self, now: Timestamp, alerts: &[Alert]) -> Result<(), SinkError> {
        for alert in alerts {
            let state = if alert.is_resolved_at(now) { "over" } else { "fires" };
            let line = format!("{state} {}", alert.labels);
            let mut told = self.0.lock().unwrap();
            if told.last() != Some(&line) {
                told.push(line);
            }
        }
        Ok(())
    }
}

struct Plane {
    dir: tempfile::TempDir,
    clock: Clock,
    store: Arc<MemoryStore>,
    told: Arc<Told>,
}

const RULES: &str = "groups: [{name: g, interval: 1s, rules: [{alert: Down, expr: up == 0, for: 3s}]}]";

impl Plane {
    fn new() -> Plane {
        let clock = Clock::simulated(1_000_000);
        Plane { dir: tempfile::tempdir().expect("dir"), clock, store: Arc::default(), told: Arc::default() }
    }

    async fn start(&self, text: &str) -> (Arc<Rules>, Tasks, State) {
        self.start_with(text, Arc::clone(&self.told) as Arc<dyn AlertSink>).await
    }

    async fn start_with(&self, text: &str, sink: Arc<dyn AlertSink>) -> (Arc<Rules>, Tasks, State) {
        let state = State::open(self.dir.path()).expect("state");
        let deps = RulesDeps {
            engine: Arc::default(),
            select: Arc::clone(&self.store) as Arc<dyn Select>,
            append: Arc::clone(&self.store) as Arc<dyn Append>,
            sink,
            state: state.clone(),
            clock: self.clock.clone(),
            external_url: "http://v".into(),
        };
        let tasks = Tasks::new(self.clock.clone());
        let rules =
            Rules::start(deps, &[RuleFile::parse("r", text).expect("rules")], Globals::default(), &tasks)
                .await
                .expect("start");
        rules.settle();
        (rules, tasks, state)
    }

    fn up(&self, v: f64) {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "x")]);
        self.store.push(&labels, self.clock.now_ms(), Value::Float(v), None).expect("pushed");
    }

    /// Lets the groups evaluate until one has done so at or after the present time.
    async fn evaluated(&self, rules: &Rules) {
        let now = self.clock.now_ms();
        while rules.view()[0].last_evaluation.is_none_or(|at| at < now) {
            self.clock.sleep(Duration::from_millis(100)).await;
        }
    }

    fn told(&self) -> Vec<String> {
        self.told.0.lock().unwrap().clone()
    }
}

/// A sink whose disk is full.
#[derive(Debug)]
struct Full;

impl AlertSink for Full {
    fn accept(&self, _: Timestamp, _: &[Alert]) -> Result<(), SinkError> {
        Err(SinkError { reason: "the disk is full".into() })
    }
}

async fn stop(tasks: Tasks, state: State) {
    assert!(tasks.stop(Duration::from_secs(5)).await);
    state.close();
}

#[tokio::test(start_paused = true)]
async fn an_alert_fires_survives_a_restart_and_ends_once() {
    let plane = Plane::new();
    let (rules, tasks, state) = plane.start(RULES).await;
    plane.up(0.0);
    for _ in 0..6 {
        plane.evaluated(&rules).await;
        plane.clock.sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(plane.told(), [r#"fires {alertname="Down", job="x"}"#]);
    let since = rules.view()[0].rules[0].alerts[0].active_at;
    stop(tasks, state).await;

    let (rules, tasks, state) = plane.start(RULES).await;
    plane.evaluated(&rules).await;
    assert_eq!(rules.view()[0].rules[0].alerts[0].active_at, since, "its state is what it was");
    plane.up(1.0);
    plane.clock.sleep(Duration::from_secs(2)).await;
    plane.evaluated(&rules).await;
    assert_eq!(plane.told(), [r#"fires {alertname="Down", job="x"}"#, r#"over {alertname="Down", job="x"}"#]);
    stop(tasks, state).await;
}

#[tokio::test(start_paused = true)]
async fn downtime_does_not_count_towards_for() {
    let plane = Plane::new();
    let rules_text = "groups: [{name: g, interval: 1s, rules: [{alert: Down, expr: up == 0, for: 60s}]}]";
    let (rules, tasks, state) = plane.start(rules_text).await;
    plane.up(0.0);
    plane.evaluated(&rules).await;
    stop(tasks, state).await;
    plane.clock.sleep(Duration::from_secs(120)).await;
    plane.up(0.0);
    let (rules, tasks, state) = plane.start(rules_text).await;
    plane.evaluated(&rules).await;
    let alert = &rules.view()[0].rules[0].alerts[0];
    assert_eq!(alert.phase, AlertPhase::Pending, "two minutes of nobody looking are not two minutes of down");
    assert!(plane.clock.now_ms() - alert.active_at < 10_000);
    stop(tasks, state).await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_stays_and_ends_what_goes() {
    let plane = Plane::new();
    let two =
        "groups: [{name: g, interval: 1s, rules: [{alert: A, expr: up == 0}, {alert: B, expr: up == 0}]}]";
    let (rules, tasks, state) = plane.start(two).await;
    plane.up(0.0);
    plane.clock.sleep(Duration::from_secs(1)).await;
    plane.evaluated(&rules).await;
    let since = rules.view()[0].rules[0].alerts[0].active_at;
    plane.clock.sleep(Duration::from_secs(5)).await;
    let one = RuleFile::parse("r", "groups: [{name: g, interval: 1s, rules: [{alert: A, expr: up < 1}]}]")
        .expect("rules");
    rules.reload(&[one], Globals::default()).await;
    plane.evaluated(&rules).await;
    assert_eq!(rules.view()[0].rules[0].alerts[0].active_at, since);
    let told = plane.told();
    assert!(told.contains(&r#"over {alertname="B", job="x"}"#.to_owned()), "{told:?}");
    assert!(!told.contains(&r#"over {alertname="A", job="x"}"#.to_owned()), "{told:?}");
    stop(tasks, state).await;
}

#[tokio::test(start_paused = true)]
async fn external_labels_are_on_what_is_handed_over_and_follow_reloads_and_restarts() {
    let plane = Plane::new();
    let text = "groups: [{name: g, interval: 1s, rules: [{alert: A, expr: up == 0, annotations: {where: '{{ $externalLabels.region }}'}}]}]";
    let (rules, tasks, state) = plane.start(text).await;
    plane.up(0.0);
    plane.clock.sleep(Duration::from_secs(1)).await;
    plane.evaluated(&rules).await;
    let external_labels = Labels::from_pairs([("region", "eu"), ("job", "not this")]);
    let globals = Globals { external_labels, ..Globals::default() };
    rules.reload(&[RuleFile::parse("r", text).expect("rules")], globals).await;
    plane.clock.sleep(Duration::from_secs(1)).await;
    plane.evaluated(&rules).await;
    let alert = rules.view()[0].rules[0].alerts[0].clone();
    assert_eq!(alert.annotations.value("where"), "eu");
    assert_eq!(alert.labels.get("region"), None, "it is the rule's own still");
    stop(tasks, state).await;
    // Another start, without them: whoever was told of the alert under its labels is told its end.
    let (rules, tasks, state) = plane.start(text).await;
    plane.clock.sleep(Duration::from_secs(1)).await;
    plane.evaluated(&rules).await;
    let (plain, labelled) = (r#"{alertname="A", job="x"}"#, r#"{alertname="A", job="x", region="eu"}"#);
    assert_eq!(
        plane.told(),
        [
            format!("fires {plain}"),
            format!("over {plain}"),
            format!("fires {labelled}"),
            format!("over {labelled}"),
            format!("fires {plain}"),
        ]
    );
    stop(tasks, state).await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_on_a_full_disk_leaves_rules_running() {
    let plane = Plane::new();
    let two =
        "groups: [{name: g, interval: 1s, rules: [{alert: A, expr: up == 0}, {alert: B, expr: up == 0}]}]";
    let (rules, tasks, state) = plane.start_with(two, Arc::new(Full)).await;
    plane.up(0.0);
    plane.clock.sleep(Duration::from_secs(1)).await;
    plane.evaluated(&rules).await;
    let one = RuleFile::parse("r", "groups: [{name: g, interval: 1s, rules: [{alert: A, expr: up == 0}]}]")
        .expect("rules");
    rules.reload(&[one], Globals::default()).await;
    plane.clock.sleep(Duration::from_secs(1)).await;
    plane.evaluated(&rules).await;
    assert_eq!(rules.view()[0].rules[0].alerts[0].phase, AlertPhase::Firing);
    assert!(
        state.alerts().expect("read").iter().any(|a| a.rule.contains("/B/")),
        "B is ended by the next start"
    );
    stop(tasks, state).await;
}

#[tokio::test(start_paused = true)]
async fn rules_that_look_the_same_in_two_files_keep_their_alerts_apart() {
    let plane = Plane::new();
    let file = |name: &str, expr: &str| {
        let text = format!("groups: [{{name: g, interval: 1s, rules: [{{alert: Down, expr: '{expr}'}}]}}]");
        RuleFile::parse(name, &text).expect("rules")
    };
    let (rules, tasks, state) = plane.start("groups: []").await;
    let files = [file("a", "label_replace(up, \"file\", \"a\", \"\", \"\") == 0"), file("b", "up == 0")];
    plane.up(0.0);
    for _ in 0..2 {
        rules.reload(&files, Globals::default()).await;
        plane.clock.sleep(Duration::from_secs(1)).await;
        plane.evaluated(&rules).await;
        for (i, group) in rules.view().iter().enumerate() {
            assert_eq!(group.rules[0].alerts.len(), 1, "group {i} has its own alert");
        }
        assert_eq!(state.alerts().expect("read").len(), 2);
    }
    assert!(!plane.told().iter().any(|line| line.starts_with("over")), "{:?}", plane.told());
    stop(tasks, state).await;
}

#[tokio::test(start_paused = true)]
async fn downtime_before_the_last_restart_does_not_count_either() {
    let plane = Plane::new();
    let text = "groups: [{name: g, interval: 1s, rules: [{alert: Down, expr: up == 0, for: 60s}]}]";
    for downtime in [100, 1, 1] {
        plane.up(0.0);
        let (rules, tasks, state) = plane.start(text).await;
        plane.evaluated(&rules).await;
        assert_eq!(rules.view()[0].rules[0].alerts[0].phase, AlertPhase::Pending);
        stop(tasks, state).await;
        plane.clock.sleep(Duration::from_secs(downtime)).await;
    }
}

/// A store that answers only once it is told to stop.
#[derive(Debug)]
struct Stuck(Mutex<Option<tokio::sync::oneshot::Sender<()>>>);

impl Select for Stuck {
    fn select<'a>(
        &'a self,
        request: &SelectRequest<'_>,
    ) -> Result<Box<dyn model::SeriesStream + 'a>, model::SelectError> {
        if let Some(entered) = self.0.lock().unwrap().take() {
            entered.send(()).expect("somebody waits");
        }
        loop {
            request.cancel.check()?;
            std::thread::yield_now();
        }
    }
    fn series(&self, _: &SelectRequest<'_>) -> Result<Vec<Labels>, model::SelectError> {
        Ok(Vec::new())
    }
    fn label_names(&self, _: &SelectRequest<'_>) -> Result<Vec<String>, model::SelectError> {
        Ok(Vec::new())
    }
    fn label_values(&self, _: &str, _: &SelectRequest<'_>) -> Result<Vec<String>, model::SelectError> {
        Ok(Vec::new())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_that_is_stuck_stops_with_its_group() {
    let plane = Plane { clock: Clock::system(), ..Plane::new() };
    let (entered, stuck) = tokio::sync::oneshot::channel();
    let state = State::open(plane.dir.path()).expect("state");
    let deps = RulesDeps {
        engine: Arc::default(),
        select: Arc::new(Stuck(Mutex::new(Some(entered)))),
        append: Arc::clone(&plane.store) as Arc<dyn Append>,
        sink: Arc::clone(&plane.told) as Arc<dyn AlertSink>,
        state: state.clone(),
        clock: plane.clock.clone(),
        external_url: String::new(),
    };
    let tasks = Tasks::new(plane.clock.clone());
    let files = [RuleFile::parse("r", RULES).expect("rules")];
    let rules = Rules::start(deps, &files, Globals::default(), &tasks).await.expect("start");
    stuck.await.expect("it is asked");
    stop(tasks, state).await;
    let error = rules.view()[0].rules[0].last_error.clone().expect("an error");
    assert!(error.contains("canceled"), "{error}");
}

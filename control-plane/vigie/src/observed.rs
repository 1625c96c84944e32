//! The collector as the web shows it.

use crate::own_series::families;
use collect::{BeatError, Collector, Families, Health, RelabelStep, remote_write::Receiver};
use model::Labels;
use prometheus::Registry;
use std::sync::{Arc, OnceLock};
use web::{Beat, BeatOutcome, BeatRefusal, Observed, ProbeView, TargetView};

#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) collector: Collector,
    pub(crate) registry: Registry,
}

/// What is known about families of metrics: by targets, once there is a collector, by those who push, and by Vigie.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    collector: Arc<OnceLock<Collector>>,
    registry: Registry,
}

impl Told {
    pub(crate) fn new(registry: Registry) -> Self {
        Told { collector: Arc::default(), registry }
    }

    pub(crate) fn by(&self, collector: &Collector) {
        // There is one collector for the life of a plane.
        self.collector.get_or_init(|| collector.clone());
    }

    pub(crate) fn families(&self, receiver: &Receiver) -> Families {
        let mut all = families(&self.registry);
        all.extend(receiver.families().iter().map(|(name, about)| (name.clone(), about.clone())));
        for target in self.collector.get().map(Collector::snapshot).unwrap_or_default().targets {
            all.extend(target.families.iter().map(|(name, about)| (name.clone(), about.clone())));
        }
        all
    }
}

fn up(health: Health) -> Option<bool> {
    match health {
        Health::Unknown => None,
        Health::Up => Some(true),
        Health::Down => Some(false),
    }
}

fn text(text: String) -> Option<String> {
    Some(text).filter(|t| !t.is_empty())
}

/// What is said of a target that is up and whose series are not all taken.
fn cut_off(refused: usize) -> Option<String> {
    (refused > 0).then(|| format!("{refused} series are left out: see VIGIE_TARGET_SERIES_LIMIT"))
}

impl Observed for Seen {
    fn own_families(&self) -> Families {
        families(&self.registry)
    }
    fn probes(&self) -> Vec<ProbeView> {
        let view = |p: collect::ProbeStatus| {
            let good = p.results.iter().filter(|good| **good).count();
            #[expect(clippy::cast_precision_loss, reason = "a share of a few thousand results")]
            let uptime = (!p.results.is_empty()).then(|| good as f64 / p.results.len() as f64);
            ProbeView {
                name: p.name,
                service: p.service,
                kind: p.kind,
                target: p.url,
                interval: p.interval,
                up: up(p.health),
                since: p.since_ms,
                uptime,
                // What calls in has none.
                latency: p.last_run_ms.filter(|_| p.kind != "heartbeat").map(|_| p.latency),
                last: p.last_run_ms,
                error: text(p.error),
                depends_on: p.depends_on,
                conditions: p.conditions,
            }
        };
        self.collector.snapshot().probes.into_iter().map(view).collect()
    }

    fn targets(&self) -> Vec<TargetView> {
        let view = |t: collect::TargetStatus| TargetView {
            pool: t.scrape_pool,
            url: t.scrape_url,
            labels: t.labels,
            discovered: t.discovered_labels,
            up: up(t.health),
            last: t.last_scrape_ms,
            duration: std::time::Duration::try_from_secs_f64(t.last_scrape_seconds).unwrap_or_default(),
            error: text(t.last_error).or_else(|| cut_off(t.refused)),
            interval: t.interval,
            timeout: t.timeout,
            families: t.families,
        };
        self.collector.snapshot().targets.into_iter().map(view).collect()
    }

    fn dropped(&self) -> Vec<Labels> {
        self.collector.snapshot().dropped.into_iter().map(|d| d.discovered_labels).collect()
    }

    fn scrape_pools(&self) -> Vec<String> {
        self.collector.snapshot().scrape_pools
    }

    fn relabel_steps(&self, scrape_pool: &str, labels: &Labels) -> Option<Vec<RelabelStep>> {
        self.collector.relabel_steps(scrape_pool, labels)
    }

    fn beat(&self, beat: Beat) -> BeatOutcome {
        let collector = self.collector.clone();
        Box::pin(async move {
            let Beat { name, token, failed } = beat;
            collector.beat(&name, &token, collect::Beat { failed }).await.map_err(|e| match e {
                BeatError::Refused => BeatRefusal::Refused,
                BeatError::NotRecorded(why) => BeatRefusal::NotRecorded(why),
            })
        })
    }
}

//! Looking names up, for all probes together and without a thread for each: a name server that does not answer
//! holds up those who ask it and nobody else.
//!
//! It reads `/etc/hosts` and `/etc/resolv.conf`, and reads them again when they change. Answers are kept for a few
//! seconds only: many probes of one host ask once, and yet each run of a probe sees what a client would.

use hickory_resolver::{
    Resolver as Hickory, TokioResolver,
    config::{LookupIpStrategy, ResolveHosts},
    net::NetError,
    net::runtime::TokioRuntimeProvider,
};
use kit::clock::Clock;
use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// How long an answer is kept at most, and one that there is no such name.
const KEEP: Duration = Duration::from_secs(5);
const KEEP_NEGATIVE: Duration = Duration::from_secs(1);

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// When the files were changed.
type Stamp = [Option<SystemTime>; 2];

struct Current {
    resolver: Option<TokioResolver>,
    stamp: Stamp,
    looked: Duration,
}

pub(super) struct Resolver {
    clock: Clock,
    current: Mutex<Option<Current>>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

fn stamp() -> Stamp {
    FILES.map(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok())
}

fn build() -> Option<TokioResolver> {
    let mut builder = Hickory::builder(TokioRuntimeProvider::default())
        .inspect_err(
            |e| tracing::warn!(error = %e, "/etc/resolv.conf cannot be used: the system looks names up"),
        )
        .ok()?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Always;
    options.positive_max_ttl = Some(KEEP);
    options.negative_max_ttl = Some(KEEP_NEGATIVE);
    options.max_active_requests = 1024;
    builder.build().ok()
}

impl Resolver {
    pub(super) fn new(clock: Clock) -> Resolver {
        Resolver { clock, current: Mutex::default() }
    }

    /// The resolver for the files as they are; `None` where there is nothing to build one from.
    fn current(&self) -> Option<TokioResolver> {
        let now = self.clock.elapsed();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &mut *current
            && now.saturating_sub(current.looked) < LOOK_EVERY
        {
            return current.resolver.clone();
        }
        let stamp = stamp();
        match &mut *current {
            Some(same) if same.stamp == stamp => {
                same.looked = now;
                same.resolver.clone()
            }
            other => other.insert(Current { resolver: build(), stamp, looked: now }).resolver.clone(),
        }
    }

    /// All addresses of a name, those of IPv4 first.
    pub(super) async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let mut all: Vec<IpAddr> = match self.current() {
            Some(resolver) => {
                let found = resolver.lookup_ip(name).await.map_err(|e| sentence(&e))?;
                found.iter().collect()
            }
            None => {
                let found = tokio::net::lookup_host((name, 0)).await.map_err(|e| e.to_string())?;
                found.map(|a| a.ip()).collect()
            }
        };
        all.sort_by_key(IpAddr::is_ipv6);
        all.dedup();
        Ok(all)
    }
}

fn sentence(e: &NetError) -> String {
    if e.is_nx_domain() { "there is no such name".to_owned() } else { e.to_string() }
}

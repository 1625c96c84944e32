//! Probes: asking a service from outside whether it works, under blackbox_exporter's series names.
//!
//! A probe is good when it could be carried out and all its conditions hold. It pages nobody: rules do, over
//! `probe_success`. Every run makes a connection of its own, as a client that comes for the first time does; what
//! can be made once (addresses, headers, TLS, expressions) is made when the file is read.

mod certificate;
mod condition;
pub(crate) mod config;
mod dialogue;
mod dns;
mod found;
mod grpc;
pub(crate) mod heartbeat;
mod http;
mod icmp;
mod net;
mod resolve;
mod tcp;
mod tls;
mod websocket;

pub(crate) use found::Found;

use condition::{Answer, Condition};
use config::{Kind, Probe};
use heartbeat::Heartbeats;
use kit::clock::Clock;
use resolve::Resolver;
use std::sync::atomic::AtomicU64;

/// What a probe needs of the process.
#[derive(Debug)]
pub(crate) struct Prober {
    clock: Clock,
    resolver: Resolver,
    heartbeats: Heartbeats,
    /// Pings so far: a number in each tells its reply.
    pings: AtomicU64,
}

impl Prober {
    pub(crate) fn new(clock: Clock, heartbeats: Heartbeats) -> Prober {
        Prober { resolver: Resolver::new(clock.clone()), clock, heartbeats, pings: AtomicU64::new(0) }
    }

    /// Runs a probe once; never longer than its timeout.
    pub(crate) async fn run(&self, probe: &Probe) -> Found {
        let begun = self.clock.elapsed();
        let mut found = Found::new();
        let outcome = tokio::time::timeout(probe.timeout, self.ask(probe, &mut found)).await;
        let latency = self.clock.elapsed() - begun;
        let error = match outcome {
            Ok(Ok(mut answer)) => {
                answer.latency = latency;
                judge(&probe.conditions, &answer, &mut found)
            }
            Ok(Err(e)) => Some(e),
            Err(_) => Some(format!("no answer within {}", model::duration::format(probe.timeout))),
        };
        found.end(error, latency);
        found
    }

    /// Boxed, so that a probe between its runs holds no memory for them.
    async fn ask(&self, probe: &Probe, found: &mut Found) -> Result<Answer, String> {
        match &probe.kind {
            Kind::Http(http) => Box::pin(http::run(self, http, found)).await,
            Kind::Tcp(tcp) => Box::pin(tcp::run(self, tcp, found)).await,
            Kind::Tls(tls) => Box::pin(tcp::run_tls(self, tls, found)).await,
            Kind::Dns(dns) => Box::pin(dns::run(self, dns, found)).await,
            Kind::Icmp(icmp) => Box::pin(icmp::run(self, icmp, &self.pings, found)).await,
            Kind::Grpc(grpc) => Box::pin(grpc::run(self, grpc, probe.timeout, found)).await,
            Kind::WebSocket(websocket) => Box::pin(websocket::run(self, websocket, found)).await,
            Kind::Heartbeat(beat) => {
                let seen = heartbeat::run(&self.heartbeats, beat, self.clock.now_ms(), found).await;
                seen.map(|()| Answer::default())
            }
            #[cfg(test)]
            Kind::Pretend(takes) => {
                self.clock.sleep(*takes).await;
                Ok(Answer::default())
            }
        }
    }
}

/// All conditions that do not hold, as one sentence.
fn judge(conditions: &[Condition], answer: &Answer, found: &mut Found) -> Option<String> {
    let mut failed: Option<String> = None;
    for condition in conditions {
        let Err(why) = condition.check(answer) else { continue };
        if condition.is_regex() {
            found.set("probe_failed_due_to_regex", 1.0);
        }
        failed = Some(failed.map_or_else(|| why.clone(), |before| format!("{before}; {why}")));
    }
    failed
}

#[cfg(test)]
mod tests;

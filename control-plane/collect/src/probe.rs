//! Probes: asking a service from outside whether it works, under blackbox_exporter's series names.
//!
//! A probe is good when it could be carried out and all its conditions hold. It pages nobody: rules do, over
//! `probe_success`.

mod certificate;
mod condition;
pub(crate) mod config;
mod http;

use crate::recorder::{Reading, reading};
use condition::Answer;
use config::{Kind, Probe};
use kit::clock::Clock;
use model::Labels;
use std::{sync::Arc, time::Duration};

/// What a probe needs of the process.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    clock: Clock,
    tls: Arc<rustls::ClientConfig>,
}

/// A figure without the probe's own labels: name, the label that tells parts apart, value.
type Figure = (&'static str, Option<(&'static str, &'static str)>, f64);

/// What one run of a probe found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Found {
    /// Why it is not good.
    pub(crate) error: Option<String>,
    pub(crate) latency: Duration,
    series: Vec<Figure>,
}

impl Found {
    fn add(&mut self, name: &'static str, value: f64) {
        self.series.push((name, None, value));
    }

    /// The samples that the run gives.
    pub(crate) fn readings(&self, probe: &Probe) -> Vec<Reading> {
        let labels = probe.labels();
        let good = f64::from(u8::from(self.error.is_none()));
        let mut out = vec![
            reading("probe_success", &labels, good),
            reading("probe_duration_seconds", &labels, self.latency.as_secs_f64()),
        ];
        for (name, part, value) in &self.series {
            let labels = part.map_or_else(|| labels.clone(), |(k, v)| labels.with(k, v));
            out.push(reading(name, &labels, *value));
        }
        out
    }
}

impl Prober {
    pub(crate) fn new(clock: Clock) -> Prober {
        kit::client::install_tls();
        let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Prober { clock, tls: Arc::new(tls) }
    }

    /// Runs a probe once; never longer than its timeout.
    pub(crate) async fn run(&self, probe: &Probe) -> Found {
        let begun = self.clock.elapsed();
        let mut found = Found::default();
        let work = async {
            match &probe.kind {
                Kind::Http => http::run(self, probe, &mut found).await,
                Kind::Tcp { address } => self.tcp(address, &mut found).await,
            }
        };
        let outcome = tokio::time::timeout(probe.timeout, work).await;
        found.latency = self.clock.elapsed() - begun;
        found.error = match outcome {
            Ok(Ok(mut answer)) => {
                answer.latency = found.latency;
                let failed: Vec<String> =
                    probe.conditions.iter().filter_map(|c| c.check(&answer).err()).collect();
                (!failed.is_empty()).then(|| failed.join("; "))
            }
            Ok(Err(e)) => Some(e),
            Err(_) => Some(format!("no answer within {}", model::duration::format(probe.timeout))),
        };
        found
    }

    async fn tcp(&self, address: &str, found: &mut Found) -> Result<Answer, String> {
        self.connect(address, found).await.map(|_| Answer::default())
    }

    /// Looks a host and port up and connects to the first address that answers.
    async fn connect(&self, address: &str, found: &mut Found) -> Result<tokio::net::TcpStream, String> {
        let begun = self.clock.elapsed();
        let addresses: Vec<_> = tokio::net::lookup_host(address)
            .await
            .map_err(|e| format!("{address} cannot be looked up: {e}"))?
            .collect();
        let looked_up = self.clock.elapsed();
        found.add("probe_dns_lookup_time_seconds", (looked_up - begun).as_secs_f64());
        let mut last = None;
        for a in &addresses {
            match tokio::net::TcpStream::connect(a).await {
                Ok(stream) => {
                    found.add("probe_ip_protocol", if a.is_ipv4() { 4.0 } else { 6.0 });
                    return Ok(stream);
                }
                Err(e) => last = Some(e),
            }
        }
        Err(match last {
            Some(e) => format!("cannot connect to {address}: {e}"),
            None => format!("{address} has no address"),
        })
    }
}

impl Probe {
    /// What all its series carry.
    pub(crate) fn labels(&self) -> Labels {
        Labels::from_pairs([("probe", &*self.name), ("service", &*self.service), ("target", &*self.url)])
    }
}

#[cfg(test)]
mod tests;

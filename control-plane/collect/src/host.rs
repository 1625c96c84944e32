//! The machine that Vigie runs on, under node_exporter's names, read from `/proc` and `/sys`.
//!
//! What is read where follows node_exporter 1.5 with its default collectors, as far as servers and containers
//! need them; a part that cannot be read is left out and told by `node_scrape_collector_success`. One
//! difference: a root file system of type overlay is shown, since it is a container's only disk.

mod devices;
mod kernel;

use crate::recorder::{Reading, reading};
use model::Labels;

/// Readings as they gather.
#[derive(Debug)]
struct Sink {
    base: Labels,
    out: Vec<Reading>,
}

impl Sink {
    fn add(&mut self, name: &str, value: f64) {
        self.out.push(reading(name, &self.base, value));
    }

    fn add_with(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut builder = self.base.edit();
        for (name, value) in labels {
            builder.set(*name, *value);
        }
        self.out.push(reading(name, &builder.build(), value));
    }
}

/// Why a part could not be read.
type PartError = Box<dyn std::error::Error + Send + Sync>;
type Part = fn(&mut Sink, i64) -> Result<(), PartError>;

/// node_exporter's names of its collectors.
const PARTS: [(&str, Part); 15] = [
    ("cpu", kernel::cpu),
    ("stat", kernel::stat),
    ("meminfo", kernel::memory),
    ("loadavg", kernel::load),
    ("vmstat", kernel::vmstat),
    ("pressure", kernel::pressure),
    ("filefd", kernel::files),
    ("entropy", kernel::entropy),
    ("uname", kernel::uname),
    ("time", kernel::time),
    ("netstat", kernel::netstat),
    ("sockstat", kernel::sockstat),
    ("filesystem", devices::filesystems),
    ("diskstats", devices::disks),
    ("netdev", devices::networks),
];

/// The labels of all host series: `job="node"` and the machine's name as the instance.
pub(crate) fn labels() -> Labels {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Labels::from_pairs([("job", "node".to_owned()), ("instance", name)])
}

/// Reads everything. Blocks: a file system may take its time to answer.
pub(crate) fn read(base: &Labels, now_ms: i64) -> Vec<Reading> {
    let mut sink = Sink { base: base.clone(), out: Vec::new() };
    for (name, part) in PARTS {
        let before = sink.out.len();
        let outcome = part(&mut sink, now_ms);
        if let Err(e) = &outcome {
            tracing::debug!(part = name, error = %e, "a part of the host could not be read");
            sink.out.truncate(before);
        }
        let good = f64::from(u8::from(outcome.is_ok()));
        sink.add_with("node_scrape_collector_success", &[("collector", name)], good);
    }
    sink.out
}

#[cfg(test)]
mod tests;

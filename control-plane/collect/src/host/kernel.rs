//! What the kernel says about itself: processors, memory, load, pressure, sockets.

use super::{PartError, Sink};
use procfs::{Current, CurrentSI};
use std::fs::read_to_string;

type Outcome = Result<(), PartError>;

pub(super) fn cpu(sink: &mut Sink, _: i64) -> Outcome {
    let stats = procfs::KernelStats::current()?;
    let ticks = procfs::ticks_per_second() as f64;
    for (i, t) in stats.cpu_time.iter().enumerate() {
        let cpu = i.to_string();
        let modes = [
            ("user", Some(t.user)),
            ("nice", Some(t.nice)),
            ("system", Some(t.system)),
            ("idle", Some(t.idle)),
            ("iowait", t.iowait),
            ("irq", t.irq),
            ("softirq", t.softirq),
            ("steal", t.steal),
        ];
        for (mode, v) in modes {
            let v = v.unwrap_or(0) as f64 / ticks;
            sink.add_with("node_cpu_seconds_total", &[("cpu", &cpu), ("mode", mode)], v);
        }
        for (mode, v) in [("user", t.guest), ("nice", t.guest_nice)] {
            let v = v.unwrap_or(0) as f64 / ticks;
            sink.add_with("node_cpu_guest_seconds_total", &[("cpu", &cpu), ("mode", mode)], v);
        }
    }
    Ok(())
}

pub(super) fn stat(sink: &mut Sink, _: i64) -> Outcome {
    let stats = procfs::KernelStats::current()?;
    sink.add("node_boot_time_seconds", stats.btime as f64);
    sink.add("node_context_switches_total", stats.ctxt as f64);
    sink.add("node_forks_total", stats.processes as f64);
    sink.add("node_procs_running", f64::from(stats.procs_running.unwrap_or(0)));
    sink.add("node_procs_blocked", f64::from(stats.procs_blocked.unwrap_or(0)));
    // The first number after `intr` is the sum of all.
    let text = read_to_string("/proc/stat")?;
    let interrupts =
        text.lines().find_map(|l| l.strip_prefix("intr ")?.split(' ').next()?.parse::<f64>().ok());
    interrupts.into_iter().for_each(|v| sink.add("node_intr_total", v));
    Ok(())
}

/// `Active(anon):  5 kB` as `node_memory_Active_anon_bytes`.
pub(super) fn memory(sink: &mut Sink, _: i64) -> Outcome {
    for line in read_to_string("/proc/meminfo")?.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else { continue };
        let name = name.trim_end_matches(':').replace('(', "_").replace(')', "");
        let value: f64 = value.parse()?;
        match words.next() {
            Some("kB") => sink.add(&format!("node_memory_{name}_bytes"), value * 1024.0),
            _ => sink.add(&format!("node_memory_{name}"), value),
        }
    }
    Ok(())
}

pub(super) fn load(sink: &mut Sink, _: i64) -> Outcome {
    let text = read_to_string("/proc/loadavg")?;
    for (name, value) in ["node_load1", "node_load5", "node_load15"].iter().zip(text.split(' ')) {
        sink.add(name, value.parse()?);
    }
    Ok(())
}

pub(super) fn vmstat(sink: &mut Sink, _: i64) -> Outcome {
    let all = procfs::vmstat()?;
    let wanted = |name: &str| {
        name.starts_with("oom_kill")
            || name.starts_with("pgpg")
            || name.starts_with("pswp")
            || (name.starts_with("pg") && name.contains("fault"))
    };
    for (name, value) in all.iter().filter(|(name, _)| wanted(name)) {
        sink.add(&format!("node_vmstat_{name}"), *value as f64);
    }
    Ok(())
}

/// Totals are microseconds.
pub(super) fn pressure(sink: &mut Sink, _: i64) -> Outcome {
    let seconds = |us: u64| us as f64 / 1e6;
    sink.add("node_pressure_cpu_waiting_seconds_total", seconds(procfs::CpuPressure::current()?.some.total));
    let io = procfs::IoPressure::current()?;
    sink.add("node_pressure_io_waiting_seconds_total", seconds(io.some.total));
    sink.add("node_pressure_io_stalled_seconds_total", seconds(io.full.total));
    let memory = procfs::MemoryPressure::current()?;
    sink.add("node_pressure_memory_waiting_seconds_total", seconds(memory.some.total));
    sink.add("node_pressure_memory_stalled_seconds_total", seconds(memory.full.total));
    Ok(())
}

pub(super) fn files(sink: &mut Sink, _: i64) -> Outcome {
    let text = read_to_string("/proc/sys/fs/file-nr")?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [allocated, _, maximum] = numbers[..] else { return Err("file-nr has not three numbers".into()) };
    sink.add("node_filefd_allocated", allocated);
    sink.add("node_filefd_maximum", maximum);
    Ok(())
}

pub(super) fn entropy(sink: &mut Sink, _: i64) -> Outcome {
    for (file, name) in
        [("entropy_avail", "node_entropy_available_bits"), ("poolsize", "node_entropy_pool_size_bits")]
    {
        sink.add(name, read_to_string(format!("/proc/sys/kernel/random/{file}"))?.trim().parse()?);
    }
    Ok(())
}

pub(super) fn uname(sink: &mut Sink, _: i64) -> Outcome {
    let u = rustix::system::uname();
    let text = |t: &std::ffi::CStr| t.to_string_lossy().into_owned();
    sink.add_with(
        "node_uname_info",
        &[
            ("sysname", &text(u.sysname())),
            ("release", &text(u.release())),
            ("version", &text(u.version())),
            ("machine", &text(u.machine())),
            ("nodename", &text(u.nodename())),
            ("domainname", &text(u.domainname())),
        ],
        1.0,
    );
    Ok(())
}

pub(super) fn time(sink: &mut Sink, now_ms: i64) -> Outcome {
    sink.add("node_time_seconds", now_ms as f64 / 1000.0);
    Ok(())
}

/// Which of the network's many counters node_exporter shows by default.
fn shows(protocol: &str, name: &str) -> bool {
    let base = protocol.trim_end_matches('6');
    match (protocol, base) {
        _ if name == "InErrors" || name == "InErrs" => true,
        ("Ip", _) => name == "Forwarding",
        ("Ip6" | "IpExt", _) => matches!(name, "InOctets" | "OutOctets"),
        (_, "Icmp") => matches!(name, "InMsgs" | "OutMsgs"),
        ("TcpExt", _) => {
            name.starts_with("Listen")
                || name.starts_with("Syncookies")
                || matches!(name, "TCPSynRetrans" | "TCPTimeouts" | "TCPOFOQueue")
        }
        ("Tcp", _) => matches!(
            name,
            "ActiveOpens" | "InSegs" | "OutSegs" | "OutRsts" | "PassiveOpens" | "RetransSegs" | "CurrEstab"
        ),
        (_, "Udp") => {
            matches!(name, "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors")
        }
        _ => false,
    }
}

pub(super) fn netstat(sink: &mut Sink, _: i64) -> Outcome {
    let mut add = |protocol: &str, name: &str, value: &str| {
        if let Some(v) = value.parse().ok().filter(|_| shows(protocol, name)) {
            sink.add(&format!("node_netstat_{protocol}_{name}"), v);
        }
    };
    // Lines in pairs: names, then values, both behind the protocol.
    for file in ["/proc/net/netstat", "/proc/net/snmp"] {
        let text = read_to_string(file)?;
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks_exact(2) {
            let Some((protocol, names)) = pair[0].split_once(": ") else { continue };
            let Some((_, values)) = pair[1].split_once(": ") else { continue };
            for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
                add(protocol, name, value);
            }
        }
    }
    // One counter a line: `Udp6InDatagrams 5`. Absent without IPv6.
    for line in read_to_string("/proc/net/snmp6").unwrap_or_default().lines() {
        let Some((whole, value)) = line.split_once(char::is_whitespace) else { continue };
        if let Some((protocol, name)) = whole.split_once('6') {
            add(&format!("{protocol}6"), name, value.trim());
        }
    }
    Ok(())
}

pub(super) fn sockstat(sink: &mut Sink, _: i64) -> Outcome {
    let page = procfs::page_size() as f64;
    let files =
        [read_to_string("/proc/net/sockstat")?, read_to_string("/proc/net/sockstat6").unwrap_or_default()];
    for line in files.iter().flat_map(|f| f.lines()) {
        let Some((protocol, rest)) = line.split_once(": ") else { continue };
        let words: Vec<&str> = rest.split_whitespace().collect();
        for pair in words.chunks_exact(2) {
            let value: f64 = pair[1].parse()?;
            sink.add(&format!("node_sockstat_{protocol}_{}", pair[0]), value);
            if pair[0] == "mem" {
                sink.add(&format!("node_sockstat_{protocol}_mem_bytes"), value * page);
            }
        }
    }
    Ok(())
}

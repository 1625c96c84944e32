//! File systems, disks and network interfaces.

use super::{PartError, Sink};
use std::collections::HashSet;

type Outcome = Result<(), PartError>;

/// Types that are no storage.
const VIRTUAL: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

fn is_hidden(mount: &str) -> bool {
    let under =
        |root: &str| mount.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    under("/dev")
        || under("/proc")
        || under("/sys")
        || ["/run/credentials/", "/var/lib/docker/", "/var/lib/containers/storage/"]
            .iter()
            .any(|root| mount.strip_prefix(root).is_some_and(|rest| !rest.is_empty()))
}

pub(super) fn filesystems(sink: &mut Sink, _: i64) -> Outcome {
    let mut seen = HashSet::new();
    for m in procfs::mounts()? {
        let root_overlay = m.fs_vfstype == "overlay" && m.fs_file == "/";
        if is_hidden(&m.fs_file) || (VIRTUAL.contains(&&*m.fs_vfstype) && !root_overlay) {
            continue;
        }
        if !seen.insert((m.fs_spec.clone(), m.fs_file.clone())) {
            continue;
        }
        let labels = [("device", &*m.fs_spec), ("fstype", &*m.fs_vfstype), ("mountpoint", &*m.fs_file)];
        let stat = rustix::fs::statvfs(&*m.fs_file);
        sink.add_with("node_filesystem_device_error", &labels, f64::from(u8::from(stat.is_err())));
        sink.add_with(
            "node_filesystem_readonly",
            &labels,
            f64::from(u8::from(m.fs_mntops.contains_key("ro"))),
        );
        let Ok(stat) = stat else { continue };
        let block = stat.f_frsize as f64;
        for (name, value) in [
            ("node_filesystem_size_bytes", stat.f_blocks as f64 * block),
            ("node_filesystem_free_bytes", stat.f_bfree as f64 * block),
            ("node_filesystem_avail_bytes", stat.f_bavail as f64 * block),
            ("node_filesystem_files", stat.f_files as f64),
            ("node_filesystem_files_free", stat.f_ffree as f64),
        ] {
            sink.add_with(name, &labels, value);
        }
    }
    Ok(())
}

/// Partitions, and devices in memory: what node_exporter leaves out.
fn is_part_of_another(disk: &str) -> bool {
    let stem = disk.trim_end_matches(|c: char| c.is_ascii_digit());
    let numbered = stem.len() < disk.len();
    let letters = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|r| r.len() == 1 && r.bytes().all(|b| b.is_ascii_lowercase()))
    };
    let nvme_part =
        stem.strip_prefix("nvme").and_then(|r| r.strip_suffix('p')).is_some_and(|r| r.contains('n'));
    numbered
        && (matches!(stem, "ram" | "loop" | "fd")
            || letters("hd")
            || letters("sd")
            || letters("vd")
            || letters("xvd")
            || nvme_part)
}

pub(super) fn disks(sink: &mut Sink, _: i64) -> Outcome {
    const SECTOR: f64 = 512.0;
    let seconds = |ms: u64| ms as f64 / 1000.0;
    for d in procfs::diskstats()? {
        if is_part_of_another(&d.name) {
            continue;
        }
        let count = |v: u64| v as f64;
        let figures = [
            ("node_disk_reads_completed_total", Some(count(d.reads))),
            ("node_disk_reads_merged_total", Some(count(d.merged))),
            ("node_disk_read_bytes_total", Some(count(d.sectors_read) * SECTOR)),
            ("node_disk_read_time_seconds_total", Some(seconds(d.time_reading))),
            ("node_disk_writes_completed_total", Some(count(d.writes))),
            ("node_disk_writes_merged_total", Some(count(d.writes_merged))),
            ("node_disk_written_bytes_total", Some(count(d.sectors_written) * SECTOR)),
            ("node_disk_write_time_seconds_total", Some(seconds(d.time_writing))),
            ("node_disk_io_now", Some(count(d.in_progress))),
            ("node_disk_io_time_seconds_total", Some(seconds(d.time_in_progress))),
            ("node_disk_io_time_weighted_seconds_total", Some(seconds(d.weighted_time_in_progress))),
            ("node_disk_discards_completed_total", d.discards.map(count)),
            ("node_disk_discards_merged_total", d.discards_merged.map(count)),
            ("node_disk_discarded_sectors_total", d.sectors_discarded.map(count)),
            ("node_disk_discard_time_seconds_total", d.time_discarding.map(seconds)),
            ("node_disk_flush_requests_total", d.flushes.map(count)),
            ("node_disk_flush_requests_time_seconds_total", d.time_flushing.map(seconds)),
        ];
        for (name, value) in figures {
            if let Some(value) = value {
                sink.add_with(name, &[("device", &d.name)], value);
            }
        }
    }
    Ok(())
}

pub(super) fn networks(sink: &mut Sink, _: i64) -> Outcome {
    for d in procfs::net::dev_status()?.values() {
        for (name, value) in [
            ("receive_bytes", d.recv_bytes),
            ("receive_packets", d.recv_packets),
            ("receive_errs", d.recv_errs),
            ("receive_drop", d.recv_drop),
            ("receive_fifo", d.recv_fifo),
            ("receive_frame", d.recv_frame),
            ("receive_compressed", d.recv_compressed),
            ("receive_multicast", d.recv_multicast),
            ("transmit_bytes", d.sent_bytes),
            ("transmit_packets", d.sent_packets),
            ("transmit_errs", d.sent_errs),
            ("transmit_drop", d.sent_drop),
            ("transmit_fifo", d.sent_fifo),
            ("transmit_colls", d.sent_colls),
            ("transmit_carrier", d.sent_carrier),
            ("transmit_compressed", d.sent_compressed),
        ] {
            sink.add_with(&format!("node_network_{name}_total"), &[("device", &d.name)], value as f64);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_disks_are_told_from_their_parts() {
        for (disk, part) in [
            ("sda", false),
            ("sda1", true),
            ("vda", false),
            ("vda2", true),
            ("nvme0n1", false),
            ("nvme0n1p2", true),
            ("loop7", true),
            ("ram0", true),
            ("dm-0", false),
            ("md127", false),
            ("xvdf1", true),
            ("sdaa1", false),
        ] {
            assert_eq!(is_part_of_another(disk), part, "{disk}");
        }
    }

    #[test]
    fn virtual_places_are_hidden() {
        for (mount, hidden) in [
            ("/", false),
            ("/dev/shm", true),
            ("/device", false),
            ("/var/lib/docker", false),
            ("/var/lib/docker/x", true),
        ] {
            assert_eq!(is_hidden(mount), hidden, "{mount}");
        }
    }
}

#!/usr/bin/env python3
"""W1 scrape ingest: CPU seconds per million samples, RSS, disk bytes per sample, scrape duration.

One process throughout: without targets (idle), then under load, then without targets again. The steady window is made
longer until the process has used `--min-cpu` seconds of CPU, because the kernel counts in ticks of 10 ms."""
import argparse, time
from harness import *

ap = argparse.ArgumentParser()
ap.add_argument("--server", default="prometheus", help="prometheus | victoriametrics | vigie | path of a spec .json")
ap.add_argument("--workload", default="W1", help="key in the results")
ap.add_argument("--targets", type=int, default=50)
ap.add_argument("--series", type=int, default=2000)
ap.add_argument("--interval", type=float, default=5)
ap.add_argument("--duration", type=float, default=190, help="seconds of load, at the end of which memory is taken")
ap.add_argument("--warm", type=float, default=30, help="seconds before the steady window")
ap.add_argument("--disk-at", type=float, default=180, help="seconds of load at which the size on disk is taken")
ap.add_argument("--min-cpu", type=float, default=0, help="seconds of CPU that the steady window shall hold")
ap.add_argument("--max-duration", type=float, default=900, help="but no longer than this")
ap.add_argument("--idle", type=float, default=0, help="seconds without targets, before and after")
ap.add_argument("--gzip", type=int, default=0)
ap.add_argument("--label", default="")
a = ap.parse_args()

exp = Exporters(a.targets, a.series, a.gzip, max_seconds=int(a.max_duration + 2 * a.idle + 600))
srv = Server(a.server, a.workload.lower())
try:
    calib0 = calib()
    config = {"interval": f"{a.interval:g}s", "jobs": []}
    srv.start(config)
    if a.idle:
        pause(5, f"{srv.name}: start")
    idle_before = srv.idle(a.idle, "idle before")
    c0, t0 = srv.cpu(), time.time()
    srv.reload(dict(config, jobs=[exp.job()]))
    pause(a.warm, f"{srv.name}: warm")
    s1, c1, t1, noise, e1 = exp.stats(), srv.cpu(), time.time(), Noise(), exp.p.cpu()
    disk_at = min(a.disk_at, a.duration)
    pause(disk_at - (time.time() - t0), f"{srv.name}: load of {a.targets * a.series} series")
    disk, at_disk = srv.disk(), exp.stats()["samples"]
    pause(a.duration - (time.time() - t0), f"{srv.name}: load")
    rss, hwm = srv.rss(), srv.hwm()
    while srv.cpu() - c1 < a.min_cpu and time.time() - t0 < a.max_duration:
        pause(10, f"{srv.name}: used {srv.cpu() - c1:.2f} of {a.min_cpu:g} CPU s")
    s2, c2, t2, e2 = exp.stats(), srv.cpu(), time.time(), exp.p.cpu()
    nz = noise.end((c2 - c1) + (e2 - e1), t2 - t1)
    srv.reload(config)
    time.sleep(1)
    exp.stop()  # no more samples: the answers below are about a fixed set
    steady, total = s2["samples"] - s1["samples"], s2["samples"]
    tq, want = t2 - 1, a.targets * a.series
    durations = [float(v[1]) for s in srv.query(f'scrape_duration_seconds{{job="bench"}}[{int(t2 - t1)}s]', tq)["result"] for v in s["values"]]
    up, seen = srv.scalar('sum(up{job="bench"})', tq), srv.scalar('count({job="bench",env=~".+"})', tq)
    idle_after = srv.idle(a.idle, "idle after")
    rec = {
        "label": a.label, "targets": a.targets, "series": a.series, "interval_s": a.interval, "gzip": a.gzip, "wall_s": round(t2 - t0, 1),
        "samples_steady": steady, "samples_total": total, "steady_s": round(t2 - t1, 1),
        "cpu_s_steady": round(c2 - c1, 2), "cpu_s_load": round(c2 - c0, 2), "cpu_s_total": round(c2, 2), "cpu_s_before_steady": round(c1, 2),
        "cpu_s_per_Msample_steady": round((c2 - c1) / steady * 1e6, 4), "cpu_s_per_Msample_with_start": round((c2 - c0) / total * 1e6, 4),
        "text_MB_steady": round((s2["bytes"] - s1["bytes"]) / 1e6, 1),
        "rss_MB": round(rss / 1e6, 1), "hwm_MB": round(hwm / 1e6, 1), "rss_bytes_per_series": round(rss / want),
        "disk_at_s": disk_at, "disk_alloc_bytes_per_sample": round(disk[0] / at_disk, 3), "disk_apparent_bytes_per_sample": round(disk[1] / at_disk, 3),
        "disk_parts": disk[2],
        "scrape_duration_ms_p50": round(1e3 * pct(durations, 50), 3), "scrape_duration_ms_p95": round(1e3 * pct(durations, 95), 3), "scrape_n": len(durations),
        "up": up, "series_seen": seen, "series_expected_min": want,
        "exporter_cpu_s": round(e2 - e1, 2), "calib_s": [calib0, calib()], "noise": nz,
    }
    if a.idle:
        rec.update(idle_before_cpu_s_per_s=round(idle_before, 5), idle_after_cpu_s_per_s=round(idle_after, 5),
                   cpu_s_per_Msample_net=round((c2 - c1 - idle_before * (t2 - t1)) / steady * 1e6, 4))
    srv.stop()
    rec["disk_after_stop_bytes_per_sample"] = round(srv.disk()[1] / total, 3)
    save(a.workload, srv.name, rec)
finally:
    exp.stop()
    srv.stop()

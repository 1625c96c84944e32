#!/usr/bin/env python3
"""W5 probes: 500 HTTP targets every 5 s. CPU seconds per 1,000 probes.

A spec with "builtin_probes": true gets c["probes"] = [urls] in its config writer; else blackbox_exporter runs beside it."""
import argparse, time
from harness import *

ap = argparse.ArgumentParser()
ap.add_argument("--server", default="prometheus")
ap.add_argument("--n", type=int, default=500)
ap.add_argument("--interval", type=float, default=5)
ap.add_argument("--warm", type=float, default=20)
ap.add_argument("--window", type=float, default=60)
ap.add_argument("--idle", type=float, default=0, help="seconds without probes, before")
ap.add_argument("--min-cpu", type=float, default=0, help="seconds of CPU that the window shall hold")
ap.add_argument("--max-window", type=float, default=300, help="but no longer than this")
a = ap.parse_args()
port = free_ports(2)
bb_port = port + 1
web = tool(["http", "--port", port], "probe-target.log")
srv = Server(a.server, "w5")
urls = [f"http://127.0.0.1:{port}/health/{i}" for i in range(a.n)]
bb = None
try:
    wait_port(port)
    wh = Http(f"http://127.0.0.1:{port}")
    idle_cfg = {"interval": f"{a.interval:g}s", "jobs": []}
    if srv.spec.get("builtin_probes"):
        idle_cfg["probes"] = []
        cfg = dict(idle_cfg, probes=urls)
    else:
        y = f"{srv.dir}/blackbox.yml"
        put(y, "modules:\n  http_2xx:\n    prober: http\n    timeout: 4s\n    http: {preferred_ip_protocol: ip4}\n")
        bb = Proc(["/usr/bin/prometheus-blackbox-exporter", f"--config.file={y}", f"--web.listen-address=127.0.0.1:{bb_port}"], f"{srv.dir}/blackbox.log")
        wait_port(bb_port)
        cfg = dict(idle_cfg, jobs=[{"name": "probe", "targets": [(u, {}) for u in urls], "extra": {
            "metrics_path": "/probe", "params": "{module: [http_2xx]}",
            "relabel_configs": "[{source_labels: [__address__], target_label: __param_target}, {source_labels: [__param_target], target_label: instance}, "
                               f"{{target_label: __address__, replacement: '127.0.0.1:{bb_port}'}}]"}}])
    srv.start(idle_cfg)

    def both():
        return srv.cpu() + (bb.cpu() if bb else 0)

    idle = None
    if a.idle:
        pause(5, f"{srv.name}: start")
        c, t = both(), time.time()
        pause(a.idle, f"{srv.name}: idle")
        idle = (both() - c) / (time.time() - t)
    srv.reload(cfg)
    pause(a.warm, f"{srv.name}: warm")
    n, h1, s1, b1, t1, w1 = Noise(), wh.json("/stats")["hits"], srv.cpu(), bb.cpu() if bb else 0, time.time(), web.cpu()
    pause(a.window, f"{srv.name}: {a.n} probes every {a.interval:g} s")
    while both() - s1 - b1 < a.min_cpu and time.time() - t1 < a.max_window:
        pause(10, f"{srv.name}: used {both() - s1 - b1:.2f} of {a.min_cpu:g} CPU s")
    h2, s2, b2, t2, w2 = wh.json("/stats")["hits"], srv.cpu(), bb.cpu() if bb else 0, time.time(), web.cpu()
    k = (h2 - h1) / 1000
    d = srv.query("probe_duration_seconds")["result"]
    d = [float(x["value"][1]) * 1e3 for x in d]
    rec = {"targets": a.n, "interval_s": a.interval, "window_s": round(t2 - t1, 1), "probes": h2 - h1, "probes_per_s": round((h2 - h1) / (t2 - t1), 1),
           "cpu_s_window": round(s2 - s1 + b2 - b1, 2), "cpu_s_per_1000_probes": round((s2 - s1 + b2 - b1) / k, 4), "server_cpu_s_per_1000": round((s2 - s1) / k, 4),
           "blackbox_cpu_s_per_1000": round((b2 - b1) / k, 4), "probe_target_cpu_s_per_1000": round((w2 - w1) / k, 4),
           "probe_success_sum": srv.scalar("sum(probe_success)"), "probe_duration_ms_p50": round(pct(d, 50), 3) if d else None,
           "probe_duration_ms_p95": round(pct(d, 95), 3) if d else None,
           "rss_MB": round(srv.rss() / 1e6, 1), "blackbox_rss_MB": round(bb.mem()["VmRSS"] / 1e6, 1) if bb else 0,
           "noise": n.end(s2 - s1 + b2 - b1 + w2 - w1, t2 - t1)}
    if idle is not None:
        rec.update(idle_cpu_s_per_s=round(idle, 5), cpu_s_per_1000_probes_net=round((s2 - s1 + b2 - b1 - idle * (t2 - t1)) / k, 4))
    save("W5", srv.name, rec)
finally:
    srv.stop()
    if bb:
        bb.stop()
    web.stop()

#!/usr/bin/env python3
"""W6 alert latency: from the death of a target's process to the webhook with its alert, end to end.
A spec with "builtin_alerting": true gets c["webhook"], c["group_by"], c["group_wait"], c["group_interval"] in its own config
writer and no Alertmanager is started."""
import argparse, random, time
from harness import *
import alertmanager  # noqa: F401, it adds itself to the servers

ap = argparse.ArgumentParser()
ap.add_argument("--server", default="prometheus")
ap.add_argument("--n", type=int, default=24)
ap.add_argument("--interval", type=float, default=5)
ap.add_argument("--eval", type=float, default=5)
ap.add_argument("--group-wait", default="0s")
ap.add_argument("--seed", type=int, default=7)
a = ap.parse_args()
random.seed(a.seed)
ports = free_ports(2 * a.n + 1)
sink = tool(["sink", "--port", ports + 2 * a.n, "--key", "instance"], "sink.log")
wait_port(ports + 2 * a.n)
sh = Http(f"http://127.0.0.1:{ports + 2 * a.n}")
kids = [tool(["export", "--base-port", ports + i, "--targets", 1, "--series", 50, "--admin-port", ports + a.n + i, "--max-seconds", 600], "w6.log") for i in range(a.n)]
for i in range(a.n):
    wait_port(ports + i)
route = {"webhook": f"http://127.0.0.1:{ports + 2 * a.n}/hook", "group_by": ["alertname", "instance"], "group_wait": a.group_wait, "group_interval": "1s"}
srv, m = Server(a.server, "w6"), None
RULES = "groups:\n- name: up\n  interval: %gs\n  rules:\n  - alert: TargetDown\n    expr: up == 0\n    for: 0s\n    labels: {severity: page}\n    annotations: {summary: '{{ $labels.instance }} is down'}\n" % a.eval
try:
    cfg = {"interval": f"{a.interval:g}s", "eval_interval": f"{a.eval:g}s",
           "jobs": [{"name": "w6", "targets": [(f"127.0.0.1:{ports + i}", {"instance": f"t{i:03d}"}) for i in range(a.n)]}]}
    if srv.spec.get("builtin_alerting"):
        cfg.update(route)
    else:
        m = Server("alertmanager", "w6")
        m.start(route)
        cfg["am_port"] = m.port
    srv.start(cfg, RULES)
    time.sleep(4 * a.interval)
    death = {}
    order = list(range(a.n))
    random.shuffle(order)
    say(f"{srv.name}: {a.n} targets die, about {1.4 * a.n:.0f} s")
    for i in order:
        time.sleep(random.uniform(0.6, 2.2))
        kids[i].p.kill()
        kids[i].p.wait()
        death[f"t{i:03d}"] = time.time()
    time.sleep(2 * (a.interval + a.eval) + 5)
    first = {}
    for t, st, k in sh.json("/events"):
        if st == "firing" and k not in first:
            first[k] = t
    lat = [first[k] - death[k] for k in death if k in first]
    if not lat:
        raise SystemExit(f"{srv.name}: no death of a target came to the webhook; see {srv.dir}/server.log")
    save("W6", srv.name, {"n": a.n, "notified": len(lat), "false_alarms": sum(1 for k in first if k not in death or first[k] < death[k]), "scrape_s": a.interval, "eval_s": a.eval,
                          "group_wait": a.group_wait, "latency_s": {"min": round(min(lat), 3), "p50": round(pct(lat, 50), 3), "mean": round(sum(lat) / len(lat), 3),
                          "p95": round(pct(lat, 95), 3), "max": round(max(lat), 3)}, "all": [round(x, 3) for x in sorted(lat)], "load1": os.getloadavg()[0]})
finally:
    srv.stop()
    if m:
        m.stop()
    for k in kids:
        k.stop()
    sink.stop()

#!/usr/bin/env python3
"""W3 alert rules over live data: CPU seconds per 1,000 rule evaluations, group evaluation duration.
One process: no rules (baseline CPU) -> 1,000 rules -> 5,000 rules, by rewriting the rule file and reloading."""
import argparse, time
from harness import *

ap = argparse.ArgumentParser()
ap.add_argument("--server", default="prometheus")
ap.add_argument("--counts", default="1000,5000")
ap.add_argument("--workload", default="W3", help="key in the results")
ap.add_argument("--groups", type=int, default=50)
ap.add_argument("--interval", type=int, default=15)
ap.add_argument("--targets", type=int, default=50)
ap.add_argument("--series", type=int, default=2000)
ap.add_argument("--warm", type=float, default=75)
ap.add_argument("--window", type=float, default=60)
a = ap.parse_args()

R = ["users", "orders", "payments", "catalog", "search", "sessions"]


def expr(i):
    h = (i * 7) % 35
    H, I, rack = f"/api/v1/{R[h % 6]}/{h:02d}", f"host-{i % a.targets:03d}:9100", f"r{i % 10:02d}"
    return [
        f'sum by (instance) (rate(http_requests_total{{handler="{H}",code=~"5.."}}[1m])) > 1e6',
        f'node_load1{{instance="{I}"}} > {0 if i % 100 == 1 else 1000}',
        f'histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{{handler="{H}",instance="{I}"}}[1m]))) > 60',
        f'avg_over_time(node_memory_MemAvailable_bytes{{instance="{I}"}}[1m]) / node_memory_MemTotal_bytes{{instance="{I}"}} < 0.001',
        f'predict_linear(node_filesystem_free_bytes{{instance="{I}",mountpoint="/"}}[1m], 3600) < -1e15',
        f'absent(up{{instance="{I}"}})',
        f'up{{job="bench",rack="{rack}"}} == 0',
        f'sum by (region) (rate(http_requests_total{{handler="{H}",code="500"}}[1m])) / sum by (region) (rate(http_requests_total{{handler="{H}"}}[1m])) > 0.99',
        f'max by (instance) (queue_depth{{rack="{rack}"}}) > 1e9',
        f'rate(node_network_receive_bytes_total{{instance="{I}",device="eth0"}}[1m]) * on (instance) group_left (version) build_info > 1e15',
    ][i % 10]


def rules(n):
    o = ["groups:"]
    per = n // a.groups
    for g in range(a.groups):
        o.append(f"- name: g{g:03d}\n  interval: {a.interval}s\n  rules:")
        for k in range(per):
            i = g * per + k
            o.append(f"  - alert: Rule{i:05d}\n    expr: '{expr(i)}'\n    for: {'1m' if i % 2 else '0s'}\n    labels: {{severity: {'page' if i % 3 else 'ticket'}}}\n"
                     f"    annotations: {{summary: 'Rule {i} fires on {{{{ $labels.instance }}}}', description: 'value {{{{ $value }}}}'}}")
    return "\n".join(o) + "\n"


exp = Exporters(a.targets, a.series)
srv = Server(a.server, "w3")
try:
    srv.start({"interval": "5s", "jobs": [exp.job()], "eval_interval": f"{a.interval}s", "am_port": 19999}, rules_text="groups: []\n")
    pause(a.warm, f"{srv.name}: warm")

    # the server's own count of evaluations, when it has one: a server that cannot keep up does fewer than asked
    METRIC = {"prometheus": [srv.port, "prometheus_rule_evaluations_total"], "victoriametrics": [srv.port + 1, "vmalert_execution_total"]}
    metric = METRIC.get(srv.name)

    def count(name=None):
        if srv.spec.get("eval_query"):
            return srv.scalar(srv.spec["eval_query"]) or 0.0
        if not metric:
            return float("nan")
        txt = Http(f"http://127.0.0.1:{metric[0]}").get("/metrics")[1].decode()
        return sum(float(l.rsplit(" ", 1)[1]) for l in txt.splitlines() if l.startswith(metric[1]))

    def window(sec):
        n, k, c, t, per = Noise(), count(), srv.cpu(), time.time(), [p.cpu() for p in srv.procs]
        pause(sec, f"{srv.name}: window")
        dc, dt = srv.cpu() - c, time.time() - t
        done.append(count() - k)
        return dc, dt, n.end(dc, dt), [round(p.cpu() - q, 2) for p, q in zip(srv.procs, per)]

    done = []

    base, bt, nz0, _ = window(a.window)
    rec0 = {"baseline_cpu_s_per_s": round(base / bt, 4), "baseline_noise": nz0}
    for n in map(int, a.counts.split(",")):
        put(srv.vars["rules"], rules(n))
        for p in srv.procs:
            p.p.send_signal(signal.SIGHUP)
        pause(2.5 * a.interval, f"{srv.name}: {n} rules")
        dc, dt, nz, per = window(a.window)
        asked = n * dt / a.interval
        evals = done[-1] if done[-1] == done[-1] and done[-1] > 0 else asked
        rec = dict(rec0, rules=n, groups=a.groups, interval_s=a.interval, window_s=round(dt, 1), cpu_s_window=round(dc, 2), cpu_s_by_process=per,
                   evaluations=round(evals), evaluations_asked=round(asked), kept_up_pct=round(100 * evals / asked, 1), cpu_s_per_1000_evals=round((dc - base * dt / bt) / evals * 1000, 4),
                   cpu_s_per_1000_evals_gross=round(dc / evals * 1000, 4), rss_MB=round(srv.rss() / 1e6, 1), noise=nz)
        try:  # Prometheus rules API: evaluationTime per group
            hh = Http(f"http://127.0.0.1:{srv.port + 1}") if srv.name == "victoriametrics" else srv.h
            gs = hh.json("/api/v1/rules")["data"]["groups"]
            et = [g["evaluationTime"] for g in gs if "evaluationTime" in g]
            rl = [r["evaluationTime"] for g in gs for r in g["rules"] if "evaluationTime" in r]
            rec.update(groups_seen=len(gs), rules_seen=sum(len(g["rules"]) for g in gs), unhealthy=sum(r.get("health") != "ok" for g in gs for r in g["rules"]),
                       firing=sum(r.get("state") == "firing" for g in gs for r in g["rules"]))
            if et:
                rec.update(group_eval_ms_p50=round(1e3 * pct(et, 50), 2), group_eval_ms_p95=round(1e3 * pct(et, 95), 2), group_eval_ms_max=round(1e3 * max(et), 2))
            if rl:
                rec.update(rule_eval_us_p50=round(1e6 * pct(rl, 50), 1), rule_eval_us_p95=round(1e6 * pct(rl, 95), 1))
        except Exception as e:
            rec["rules_api_error"] = repr(e)
        save(a.workload, srv.name, rec)
finally:
    srv.stop()
    exp.stop()

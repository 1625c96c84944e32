#!/usr/bin/env python3
"""W2 queries: loads a deterministic data set by remote write, times each query, keeps the JSON answers for w2_diff.py."""
import argparse, gzip, subprocess, time
from harness import *

ap = argparse.ArgumentParser()
ap.add_argument("--server", default="prometheus")
ap.add_argument("--targets", type=int, default=50)
ap.add_argument("--series", type=int, default=2000)
ap.add_argument("--ticks", type=int, default=240)
ap.add_argument("--step-ms", type=int, default=15000)
ap.add_argument("--t0", type=int, default=0, help="unix seconds of the first tick; 0 = the full hour two hours ago")
ap.add_argument("--eval-offset", type=int, default=7, help="seconds of the evaluation times after a sample's time: not 0, so that left-open "
                "(Prometheus 3) and left-closed (Prometheus 2) ranges hold the same samples")
ap.add_argument("--reps", type=int, default=10)
ap.add_argument("--budget", type=float, default=6, help="seconds for the repetitions of one query (3 at least)")
ap.add_argument("--min-cpu", type=float, default=0, help="repeat each query until it used so many seconds of CPU, or --most seconds are over")
ap.add_argument("--most", type=float, default=30)
ap.add_argument("--runs", type=int, default=2, help="passes over the queries; 0: load and sizes only")
ap.add_argument("--out", default=os.path.join(WORK, "w2-answers"))
a = ap.parse_args()


def enough(n, cpu_before, begun):
    """Whether n repetitions of a query, begun then, say what it costs."""
    took = time.time() - begun
    if n < 3 or n < a.reps and took < a.budget:
        return False
    # The CPU is looked at now and then: looking costs as much as a light query.
    return took > a.most or n % 32 == 0 and srv.cpu() - cpu_before >= a.min_cpu or a.min_cpu == 0


t0 = a.t0 or (int(time.time()) // 3600 - 2) * 3600
start, end = t0 + 300 + a.eval_offset, t0 + (a.ticks - 1) * a.step_ms // 1000 + a.eval_offset
srv = Server(a.server, "w2")
qs = json.load(open(os.path.join(HERE, "w2_queries.json")))
try:
    srv.start({"interval": "15s", "jobs": []})
    say(f"{srv.name}: loading {a.targets * a.series * a.ticks / 1e6:.0f} M samples")
    c0 = srv.cpu()
    r = subprocess.run([TOOL, "rwload", "--url", srv.rw_url(), "--targets", str(a.targets), "--series", str(a.series), "--ticks", str(a.ticks),
                        "--step-ms", str(a.step_ms), "--t0-ms", str(t0 * 1000), "--threads", "2"], capture_output=True, text=True, timeout=900)
    load = json.loads(r.stdout)
    if load["error"]:
        raise RuntimeError(load["error"])
    c1 = srv.cpu()
    for p in srv.spec.get("flush", {"victoriametrics": ["/internal/force_flush"]}.get(srv.name, [])):
        srv.h.get(p)
    want = sum(a.ticks - (20 if i == 9 else 10 if i == 11 else 0) for i in range(a.targets))  # up samples; a stale marker is no sample
    for _ in range(60):
        got = srv.scalar("sum(count_over_time(up[2h]))", end)
        if got == want:
            break
        time.sleep(1)
    pause(10, f"{srv.name}: settle")
    c2 = srv.cpu()
    load_rec = {"acked": load["acked"], "seconds": load["seconds"], "samples_per_s": round(load["acked"] / load["seconds"]),
                "cpu_s_load": round(c1 - c0, 2), "cpu_s_per_Msample": round((c1 - c0) / load["acked"] * 1e6, 4),
                "cpu_s_per_Msample_with_10s_settle": round((c2 - c0) / load["acked"] * 1e6, 4),
                "up_samples": got, "up_samples_expected": want, "rss_MB": round(srv.rss() / 1e6, 1)}
    d = srv.disk()
    load_rec["disk_apparent_bytes_per_sample"] = round(d[1] / load["acked"], 3)
    load_rec["disk_alloc_bytes_per_sample"] = round(d[0] / load["acked"], 3)
    load_rec["disk_parts"] = d[2]
    if not a.runs:
        save("W2", srv.name, {"t0": t0, "targets": a.targets, "series": a.series, "ticks": a.ticks, "load": load_rec})
    for run in range(a.runs):
        rec = {"t0": t0, "eval_offset_s": a.eval_offset, "targets": a.targets, "series": a.series, "ticks": a.ticks, "load": load_rec, "queries": {}}
        answers = {}
        say(f"{srv.name}: {len(qs)} queries")
        n0, w0, cc0 = Noise(), time.time(), srv.cpu()
        for name, kind, expr in qs:
            if kind == "instant":
                u = srv.url("/api/v1/query", {"query": expr, "time": end})
            elif kind == "range":
                u = srv.url("/api/v1/query_range", {"query": expr, "start": start, "end": end, "step": 15})
            else:
                u = srv.spec.get("api_prefix", "") + expr.replace("{start}", str(t0)).replace("{end}", str(end))
            lat, ca, tb, err = [], srv.cpu(), time.time(), None
            while not enough(len(lat), ca, tb):
                t = time.perf_counter()
                try:
                    st, body = srv.h.get(u)
                except Exception as e:
                    err = repr(e); break
                lat.append(1e3 * (time.perf_counter() - t))
                if st != 200:
                    err = f"{st} {body[:200]!r}"; break
            cb = srv.cpu()
            q = {"n": len(lat), "cpu_s": round(cb - ca, 2), "p50_ms": pct(lat, 50), "p95_ms": pct(lat, 95), "min_ms": min(lat, default=None), "first_ms": lat[0] if lat else None,
                 "cpu_ms_per_query": round(1e3 * (cb - ca) / max(1, len(lat)), 4)}
            if err:
                q["error"] = err
            else:
                q["bytes"] = len(body)
                answers[name] = json.loads(body)["data"]
            rec["queries"][name] = {k: round(v, 3) if isinstance(v, float) else v for k, v in q.items()}
        ok = [q for q in rec["queries"].values() if "error" not in q]
        rec.update(sum_p50_ms=round(sum(q["p50_ms"] for q in ok), 1), sum_p95_ms=round(sum(q["p95_ms"] for q in ok), 1),
                   sum_min_ms=round(sum(q["min_ms"] for q in ok), 1), sum_cpu_ms_per_pass=round(sum(q["cpu_ms_per_query"] for q in ok), 1),
                   errors=len(qs) - len(ok), cpu_s_total=round(srv.cpu() - cc0, 2), rss_MB=round(srv.rss() / 1e6, 1), hwm_MB=round(srv.hwm() / 1e6, 1),
                   noise=n0.end(srv.cpu() - cc0, time.time() - w0))
        if run == 0:
            os.makedirs(a.out, exist_ok=True)
            with gzip.open(f"{a.out}/{srv.name}.json.gz", "wt") as f:
                json.dump({"t0": t0, "answers": answers}, f)
        save("W2", srv.name, rec)
    # size of the same data as finished blocks
    if srv.name == "prometheus":
        srv.h.req("POST", "/api/v1/admin/tsdb/snapshot")
        s = du(srv.data + "/snapshots")
        save("W2-block-size", srv.name, {"bytes_per_sample": round(s[1] / load["acked"], 3), "bytes": s[1]})
    elif srv.spec.get("compact"):
        status, body = srv.h.req("POST", srv.spec["compact"])
        if status // 100 == 2:
            d = srv.disk()
            save("W2-block-size", srv.name, {"bytes_per_sample": round(d[1] / load["acked"], 3), "bytes": d[1], "parts": d[2]})
        else:
            say(f"{srv.name}: POST {srv.spec['compact']} answered {status}: no size of finished blocks")
    if srv.name == "victoriametrics":
        srv.h.get("/internal/force_merge"); time.sleep(15)
        s = srv.disk()
        save("W2-block-size", srv.name, {"bytes_per_sample": round(s[1] / load["acked"], 3), "bytes": s[1], "parts": s[2]})
finally:
    srv.stop()

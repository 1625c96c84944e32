#!/usr/bin/env python3
"""W4 restart: kill -9 under load, restart.
 a: under scraping: time to ready, time to the first right answer, scrapes lost, gap.
 b: under remote write: samples acknowledged with 2xx and not there after the restart."""
import argparse, re, subprocess, time
from harness import *

ap = argparse.ArgumentParser()
ap.add_argument("--server", default="prometheus")
ap.add_argument("--part", default="ab")
ap.add_argument("--targets", type=int, default=50)
ap.add_argument("--series", type=int, default=2000)
ap.add_argument("--interval", type=float, default=1)
ap.add_argument("--load", type=float, default=75, help="seconds under scraping before the kill")
ap.add_argument("--acked", type=int, default=10_000_000, help="remote-written samples before the kill")
a = ap.parse_args()


def settle(srv, checks, at, want, timeout=40):
    """Polls until all the checks answer as before; returns (seconds, last answers)."""
    t, got = time.time(), None
    while time.time() - t < timeout:
        try:
            got = [srv.scalar(q, at) for q in checks]
            if got == want:
                return time.time(), got
        except Exception:
            pass
        time.sleep(0.05)
    return None, got


def replay(srv):
    s = open(f"{srv.dir}/server.log", errors="replace").read()
    r = re.findall(r"WAL replay completed.*?total_replay_duration=(\S+)", s)
    return r[-1] if r else None


if "a" in a.part:
    exp = Exporters(a.targets, a.series)
    srv = Server(a.server, "w4a")
    try:
        srv.start({"interval": f"{a.interval:g}s", "jobs": [exp.job()]})
        pause(a.load, f"{srv.name}: scrapes, then kill -9")
        at = time.time() - 3 * a.interval
        checks = [f'sum(count_over_time(up{{job="bench"}}[{int(a.load)}s]))', f'sum(count_over_time(http_requests_total{{handler="/api/v1/users/00"}}[{int(a.load)}s]))',
                  'count(http_requests_total)']
        want = [srv.scalar(q, at) for q in checks]
        disk = srv.disk()
        st = exp.stats()
        tk = time.time()
        srv.stop(signal.SIGKILL)
        served = exp.stats()
        c0 = time.time()
        tready = srv.spawn()
        tok, got = settle(srv, checks, at, want)
        cpu = srv.cpu()
        time.sleep(6 * a.interval)
        # what was served before the kill and is not stored
        q = srv.query(f'up{{job="bench"}}[{int(a.load + 200)}s]', time.time())["result"]
        pre = sum(1 for s in q for v in s["values"] if v[0] <= tk)
        gaps = [min((v[0] for v in s["values"] if v[0] > tk), default=float("nan")) - max((v[0] for v in s["values"] if v[0] <= tk), default=float("nan")) for s in q]
        save("W4a", srv.name, {
            "samples_before_kill": st["samples"], "disk_MB": round(disk[1] / 1e6, 1), "restart_to_ready_s": round(tready, 3),
            "restart_to_right_answer_s": round(tok - c0, 3) if tok else None, "answers_before": want, "answers_after": got,
            "cpu_s_of_restart": round(cpu, 2), "scrapes_served_before_kill": served["scrapes"], "scrapes_stored": pre,
            "scrapes_lost_of_in_flight_or_unsynced": served["scrapes"] - pre, "gap_s_p50": round(pct(gaps, 50), 3), "gap_s_max": round(max(gaps), 3),
            "wal_replay": replay(srv), "load1": os.getloadavg()[0]})
    finally:
        srv.stop()
        exp.stop()

if "b" in a.part:
    srv = Server(a.server, "w4b")
    t0 = (int(time.time()) // 3600 - 2) * 3600
    try:
        srv.start({"interval": "15s", "jobs": []})
        say(f"{srv.name}: {a.acked / 1e6:g} M samples by remote write, then kill -9")
        prog = f"{srv.dir}/progress.json"
        p = subprocess.Popen([TOOL, "rwload", "--url", srv.rw_url(), "--targets", str(a.targets), "--series", str(a.series), "--ticks", "240", "--batch", "5",
                              "--t0-ms", str(t0 * 1000), "--progress", prog, "--max-seconds", "300"], stdout=subprocess.PIPE, text=True)
        end = time.time() + 300
        while time.time() < end:
            try:
                if json.load(open(prog))["acked"] >= a.acked:
                    break
            except (OSError, ValueError):
                pass
            time.sleep(0.05)
        srv.stop(signal.SIGKILL)
        out = json.loads(p.communicate(timeout=60)[0])
        disk = srv.disk()
        c0 = time.time()
        tready = srv.spawn()
        first = None
        while first is None and time.time() - c0 < 40:
            try:
                first = time.time() if srv.scalar("count(up)", t0 + 60) == a.targets else None
            except Exception:
                pass
            time.sleep(0.05)
        time.sleep(2)
        # one metric at a time: a count over everything at once would pass query limits (and lose the names)
        n, at = 0, t0 + 3600
        names = srv.h.json(srv.spec.get("api_prefix", "") + f"/api/v1/label/__name__/values?start={t0}&end={at}")["data"]
        for name in names:
            n += srv.scalar(f'sum(count_over_time({name}{{job="bench"}}[2h]))', at) or 0
        save("W4b", srv.name, {"acked": out["acked"], "rw_error": out["error"], "found": int(n), "acked_lost": max(0, out["acked"] - int(n)),
                               "disk_MB": round(disk[1] / 1e6, 1), "restart_to_ready_s": round(tready, 3), "restart_to_right_answer_s": round(first - c0, 3) if first else None,
                               "cpu_s_of_restart": round(srv.cpu(), 2), "wal_replay": replay(srv), "rss_MB": round(srv.rss() / 1e6, 1), "load1": os.getloadavg()[0]})
    finally:
        srv.stop()

#!/usr/bin/env python3
"""W7 Alertmanager throughput: POST /api/v2/alerts with distinct alerts in batches; CPU, RSS, time until all are at the webhook,
then the same alerts again (as Prometheus re-sends them): CPU per re-sent 10k."""
import argparse, time
from harness import *
import alertmanager  # noqa: F401, it adds itself to the servers

ap = argparse.ArgumentParser()
ap.add_argument("--server", default="alertmanager")
ap.add_argument("--alerts", type=int, default=10000)
ap.add_argument("--batch", type=int, default=500)
ap.add_argument("--group", default="alertname", help="alertname (100 groups) | each (a group per alert)")
ap.add_argument("--group-wait", default="1s")
ap.add_argument("--resend", type=int, default=5)
a = ap.parse_args()
port = free_ports()
sink = tool(["sink", "--port", port, "--key", "alert_id"], "sink.log")
wait_port(port)
sh = Http(f"http://127.0.0.1:{port}")
srv = Server(a.server, "w7")
try:
    gb = ["alertname"] if a.group == "alertname" else ["alertname", "alert_id"]
    srv.start({"interval": "5s", "jobs": [], "webhook": f"http://127.0.0.1:{port}/hook", "group_by": gb, "group_wait": a.group_wait, "group_interval": "2s"})
    time.sleep(2)
    c_idle = srv.cpu()
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    al = [{"labels": {"alertname": f"Alert{i % 100:03d}", "alert_id": f"a{i:06d}", "cluster": f"c{i % 7}", "instance": f"host-{i % 1000:04d}:9100", "job": "bench",
                      "severity": "page" if i % 3 else "ticket", "region": ["eu-west-1", "us-east-1", "ap-south-1"][i % 3]},
           "annotations": {"summary": f"Alert {i} on host-{i % 1000:04d}: error ratio is above the objective for 5 minutes", "runbook_url": f"https://runbooks.example/{i % 100}"},
           "startsAt": now, "endsAt": end, "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=up+%3D%3D+0"} for i in range(a.alerts)]
    bodies = [json.dumps(al[i:i + a.batch]).encode() for i in range(0, a.alerts, a.batch)]
    n, lat = Noise(), []
    t0, c0 = time.time(), srv.cpu()
    def post(b):
        t = time.perf_counter()
        s, x = srv.h.req("POST", srv.spec.get("api_prefix", "") + "/api/v2/alerts", b, {"Content-Type": "application/json"})
        if s // 100 != 2:
            raise RuntimeError(f"{s} {x[:200]!r}")
        lat.append(1e3 * (time.perf_counter() - t))
    for b in bodies:
        post(b)
    t_post, c_post = time.time() - t0, srv.cpu() - c0
    st = {}
    while time.time() - t0 < 120:
        st = sh.json("/stats")
        if st["distinct"] >= a.alerts:
            break
        time.sleep(0.05)
    time.sleep(1)
    c_all, wall = srv.cpu() - c0, time.time() - t0
    nz = n.end(c_all, wall)
    rss, hwm = srv.rss(), srv.hwm()
    # idle with 10k active alerts, then re-sends
    time.sleep(3)
    ci = srv.cpu(); time.sleep(8); idle = (srv.cpu() - ci) / 8
    l0, cr, tr = len(lat), srv.cpu(), time.time()
    for _ in range(a.resend):
        for b in bodies:
            post(b)
    dtr = time.time() - tr
    dcr = srv.cpu() - cr
    tg = time.perf_counter()
    got = len(json.loads(srv.h.get(srv.spec.get("api_prefix", "") + "/api/v2/alerts")[1]))
    tg = time.perf_counter() - tg
    save("W7", srv.name, {"alerts": a.alerts, "batch": a.batch, "group": a.group, "group_wait": a.group_wait, "body_MB": round(sum(map(len, bodies)) / 1e6, 2),
                          "post_s": round(t_post, 3), "cpu_s_post": round(c_post, 2), "post_ms_p50": round(pct(lat[:l0], 50), 2), "post_ms_p95": round(pct(lat[:l0], 95), 2),
                          "notified": st.get("distinct"), "all_notified_s": round(st["last_new"] - t0, 3), "webhook_posts": st["posts"], "webhook_MB": round(st["bytes"] / 1e6, 2),
                          "cpu_s_to_all_notified": round(c_all, 2), "rss_MB": round(rss / 1e6, 1), "hwm_MB": round(hwm / 1e6, 1), "idle_cpu_s_per_s": round(idle, 4),
                          "resend_cpu_s_per_10k": round(dcr / a.resend * 10000 / a.alerts, 3), "resend_s_per_10k": round(dtr / a.resend * 10000 / a.alerts, 3),
                          "get_alerts_s": round(tg, 3), "get_alerts_n": got, "sink_cpu_s": round(sink.cpu(), 2), "noise": nz})
finally:
    srv.stop()
    sink.stop()

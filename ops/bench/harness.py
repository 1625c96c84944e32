"""What the workloads are made of: processes with their CPU and memory, free ports, HTTP, the servers compared.

Every process is a child of the script that measures it, is stopped by its own pid, and dies with that script."""
import ctypes, fcntl, http.client, importlib, json, math, os, shutil, signal, socket, subprocess, sys, time, urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOOL = os.path.join(HERE, "benchtool/target/release/benchtool")
WORK = os.environ.get("BENCH_WORK", os.path.join(ROOT, ".scratch/bench/work"))
VIGIE = os.environ.get("BENCH_VIGIE", os.path.join(ROOT, "target/release/vigie"))
HZ = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1

# So that `finally` stops the servers also when somebody stops the script.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def say(text):
    print(f"    {text}", file=sys.stderr, flush=True)


def pause(seconds, what):
    """Sleeps, and says every half minute how far it is."""
    end = time.time() + seconds
    if seconds > 2:
        say(f"{what}: {seconds:.0f} s")
    while (left := end - time.time()) > 0:
        time.sleep(min(left, 30))
        if end - time.time() > 5:
            say(f"{what}: {end - time.time():.0f} s left")


# ---------------------------------------------------------------- ports
def free_ports(count=1):
    """The first of `count` free ports in a row. A file hands out each once, so that runs side by side do not meet; they
    lie below those that the kernel gives to outgoing connections."""
    low, high = 18000, 32000
    os.makedirs(WORK, exist_ok=True)
    with open(os.path.join(WORK, "ports"), "a+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        at = int(f.read() or low)
        for _ in range(2 * (high - low)):
            if at + count > high:
                at = low
            busy = next((p for p in range(at, at + count) if not is_free(p)), None)
            if busy is None:
                f.truncate(0)
                f.write(str(at + count))
                return at
            at = busy + 1
    raise RuntimeError(f"no {count} free ports in a row")


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


# ---------------------------------------------------------------- processes
class Proc:
    """One child process, ended only by its own pid."""
    def __init__(self, argv, log, name=None):
        self.name = name or os.path.basename(argv[0])
        self.argv, self.logpath = argv, log
        self.log = open(log, "ab")
        self.t_start = time.time()
        self.p = subprocess.Popen(argv, stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.pid = self.p.pid

    def cpu(self):
        """utime+stime of the process, all its threads, in seconds."""
        try:
            f = open(f"/proc/{self.pid}/stat").read().rsplit(")", 1)[1].split()
            return (int(f[11]) + int(f[12])) / HZ
        except OSError:
            return float("nan")

    def mem(self):
        r = {}
        try:
            for l in open(f"/proc/{self.pid}/status"):
                if l.startswith(("VmRSS", "VmHWM", "RssAnon", "RssFile")):
                    r[l.split(":")[0]] = int(l.split()[1]) * 1024
        except OSError:
            pass
        return r

    def alive(self):
        return self.p.poll() is None

    def stop(self, sig=signal.SIGTERM, wait=60):
        if self.alive():
            self.p.send_signal(sig)
            try:
                self.p.wait(wait)
            except subprocess.TimeoutExpired:
                self.p.kill()
                self.p.wait()
        self.log.close()


def tool(args, log="tool.log"):
    os.makedirs(WORK, exist_ok=True)
    return Proc([TOOL] + [str(a) for a in args], os.path.join(WORK, log), "benchtool-" + args[0])


def wait_port(port, timeout=30):
    end = time.time() + timeout
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"port {port} did not open")


# ---------------------------------------------------------------- http
class Http:
    """A keep-alive client for one base URL."""
    def __init__(self, base, timeout=120):
        u = urllib.parse.urlsplit(base)
        self.host, self.port, self.prefix, self.timeout = u.hostname, u.port, u.path.rstrip("/"), timeout
        self.c = None

    def req(self, method, path, body=None, headers=None):
        for attempt in (0, 1):
            if self.c is None:
                self.c = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
                self.c.connect()
                self.c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self.c.request(method, self.prefix + path, body, headers or {})
                r = self.c.getresponse()
                return r.status, r.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.c.close(); self.c = None
                if attempt:
                    raise
            except Exception:
                self.c.close(); self.c = None
                raise

    def get(self, path):
        return self.req("GET", path)

    def json(self, path):
        s, b = self.get(path)
        if s // 100 != 2:
            raise RuntimeError(f"GET {path}: {s} {b[:200]!r}")
        return json.loads(b)


# ---------------------------------------------------------------- server under test
def target_labels(i):
    """Same labels as benchtool's model::target_labels."""
    return {"env": "staging" if i % 5 == 0 else "prod", "instance": f"host-{i:03d}:9100", "rack": f"r{i % 10:02d}",
            "region": ["eu-west-1", "us-east-1", "ap-south-1"][i % 3]}


def prometheus_config(c):
    """The scrape config writer for all that read prometheus.yml. `c` is a dict:
    interval, eval_interval, jobs=[{name, targets=[(addr, labels)], extra={k: yaml text}}], rules, am_port."""
    o = [f"global:\n  scrape_interval: {c.get('interval', '5s')}\n  scrape_timeout: {c.get('timeout', c.get('interval', '5s'))}"]
    if c.get("rules_in_config", True):
        o.append(f"  evaluation_interval: {c.get('eval_interval', '15s')}")
    o.append("scrape_configs:")
    for j in c.get("jobs", []):
        o.append(f"- job_name: {j['name']}")
        for k, v in j.get("extra", {}).items():
            o.append(f"  {k}: {v}")
        o.append("  static_configs:")
        for addr, lab in j["targets"]:
            o.append(f"  - targets: ['{addr}']")
            if lab:
                o.append("    labels: {" + ", ".join(f"{k}: '{v}'" for k, v in lab.items()) + "}")
    if not c.get("jobs"):
        o[-1] = "scrape_configs: []"
    if c.get("rules_in_config", True):
        if c.get("rules"):
            o.append(f"rule_files: ['{c['rules']}']")
        if c.get("am_port"):
            o.append(f"alerting:\n  alertmanagers:\n  - static_configs:\n    - targets: ['127.0.0.1:{c['am_port']}']")
    return "\n".join(o) + "\n"


def vigie_files(c):
    """prometheus.yml, and our own files for what is built in."""
    import alertmanager
    files = {"config": prometheus_config(c)}
    if "probes" in c:
        seconds = float(c["interval"].removesuffix("s"))
        files["probes"] = "probes:" + (" []" if not c["probes"] else "") + "\n" + "".join(
            f"  - name: p{i:04d}\n    url: {url}\n    interval: {c['interval']}\n    timeout: {round(800 * seconds)}ms\n" for i, url in enumerate(c["probes"]))
    if "webhook" in c:
        files["routing"] = alertmanager.alertmanager_config(c)
    return files


def victoria_config(c):
    """-promscrape.config: the same, without the sections that VictoriaMetrics refuses."""
    return prometheus_config(dict(c, rules_in_config=False))


SPECS = {
    "vigie": {
        "start": [VIGIE, "serve", "--prometheus-config", "{config}", "--data-dir", "{data}", "--listen", "127.0.0.1:{port}"],
        "config_writer": "harness:vigie_files",
        "ready_path": "/-/ready",
        "compact": "/api/vigie/v1/tsdb/flush",
        "builtin_probes": True,
        "builtin_alerting": True,
        # argv added when the configuration has this key
        "with": {"probes": ["--probes", "{probes}"], "webhook": ["--alertmanager-config", "{routing}"]},
        "eval_query": "sum(vigie_rule_evaluations_total)",
    },
    "prometheus": {
        "start": ["/usr/bin/prometheus", "--config.file={config}", "--storage.tsdb.path={data}", "--web.listen-address=127.0.0.1:{port}",
                  "--web.enable-remote-write-receiver", "--web.enable-admin-api", "--storage.tsdb.retention.time=60d"],
        "config_writer": "harness:prometheus_config",
        "ready_path": "/-/ready",
    },
    "victoriametrics": {
        "start": ["/usr/bin/victoria-metrics", "-promscrape.config={config}", "-storageDataPath={data}", "-httpListenAddr=127.0.0.1:{port}",
                  "-retentionPeriod=3", "-search.latencyOffset=1ms"],
        "config_writer": "harness:victoria_config",
        "ready_path": "/health",
        "query_args": {"nocache": "1"},
        # rules need vmalert beside it; {rules} and {am_port} are filled in
        "rule_process": ["/usr/bin/vmalert", "-rule={rules}", "-datasource.url={base}", "-remoteWrite.url={base}", "-remoteRead.url={base}",
                         "-notifier.url=http://127.0.0.1:{am_port}", "-httpListenAddr=127.0.0.1:{port2}", "-evaluationInterval={eval_interval}"],
    },
}


class Server:
    """A server under test, from a spec (see README.md for every field)."""
    def __init__(self, spec, tag="x"):
        port = free_ports(2)
        if isinstance(spec, str):
            name = spec
            spec = SPECS[spec] if spec in SPECS else json.load(open(spec))
            spec = dict(spec, name=spec.get("name", os.path.basename(name).removesuffix(".json")))
        self.spec, self.name, self.port = spec, spec["name"], port
        self.dir = os.path.join(WORK, f"{self.name}-{tag}")
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.data = os.path.join(self.dir, "data")
        self.vars = {"config": f"{self.dir}/config.yml", "data": self.data, "port": str(port), "port2": str(port + 1), "dir": self.dir,
                     "rules": f"{self.dir}/rules.yml", "probes": f"{self.dir}/probes.yaml", "routing": f"{self.dir}/routing.yaml", "am_port": "19999", "eval_interval": "15s"}
        self.base = self.fill(spec.get("base_url", "http://127.0.0.1:{port}"))
        self.vars["base"] = self.base
        self.procs, self.h, self.extra, self.has_rules = [], Http(self.base), [], False
        self.qargs = spec.get("query_args", {})

    def fill(self, s):
        for k, v in getattr(self, "vars", {}).items():
            s = s.replace("{" + k + "}", v)
        return s

    def start(self, cfg, rules_text=None):
        self.has_rules = rules_text is not None
        self.extra = [a for k, argv in self.spec.get("with", {}).items() if k in cfg for a in argv]
        self.write(cfg, rules_text)
        return self.spawn()

    def write(self, cfg, rules_text=None):
        mod, fn = self.spec.get("config_writer", "harness:prometheus_config").split(":")
        sys.path.insert(0, HERE)
        cfg = dict(cfg)
        if rules_text is not None:
            put(self.vars["rules"], rules_text)
            cfg["rules"] = self.vars["rules"]
        for k in ("am_port", "eval_interval"):
            if cfg.get(k):
                self.vars[k] = str(cfg[k])
        files = getattr(importlib.import_module(mod), fn)(cfg)
        for name, text in (files if isinstance(files, dict) else {"config": files}).items():
            put(self.vars[name], text)

    def reload(self, cfg):
        """The same process under another configuration."""
        self.write(cfg)
        for p in self.procs:
            p.p.send_signal(signal.SIGHUP)

    def idle(self, seconds, what):
        """CPU seconds per second while nothing is asked of it."""
        if not seconds:
            return None
        c, t = self.cpu(), time.time()
        pause(seconds, f"{self.name}: {what}")
        return (self.cpu() - c) / (time.time() - t)

    def spawn(self):
        """(Re)start with the files already written; returns seconds until the ready path answers 200."""
        t = time.time()
        argv = [self.fill(a) for a in self.spec["start"] + self.extra]
        if self.has_rules and self.spec.get("rule_args"):
            argv += [self.fill(a) for a in self.spec["rule_args"]]
        self.procs = [Proc(argv, f"{self.dir}/server.log", self.name)]
        self.wait_ready()
        dt = time.time() - t
        if self.has_rules and self.spec.get("rule_process"):
            self.procs.append(Proc([self.fill(a) for a in self.spec["rule_process"]], f"{self.dir}/rule_process.log"))
        return dt

    def wait_ready(self, timeout=300):
        end = time.time() + timeout
        while time.time() < end:
            if not self.procs[0].alive():
                raise RuntimeError(f"{self.name} ended: see {self.dir}/server.log")
            try:
                if self.h.get(self.fill(self.spec.get("ready_path", "/-/ready")))[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError("not ready")

    def cpu(self):
        return sum(p.cpu() for p in self.procs)

    def rss(self):
        return sum(p.mem().get("VmRSS", 0) for p in self.procs)

    def hwm(self):
        return sum(p.mem().get("VmHWM", 0) for p in self.procs)

    def disk(self):
        return du(self.data)

    def stop(self, sig=signal.SIGTERM):
        for p in reversed(self.procs):
            p.stop(sig)
        self.h = Http(self.base)

    def url(self, path, params):
        return self.spec.get("api_prefix", "") + path + "?" + urllib.parse.urlencode({**params, **self.qargs})

    def query(self, expr, t=None):
        p = {"query": expr}
        if t is not None:
            p["time"] = f"{t:.3f}"
        return self.h.json(self.url("/api/v1/query", p))["data"]

    def scalar(self, expr, t=None):
        r = self.query(expr, t)["result"]
        return float(r[0]["value"][1]) if r else None

    def range(self, expr, start, end, step):
        return self.h.json(self.url("/api/v1/query_range", {"query": expr, "start": start, "end": end, "step": step}))["data"]

    def rw_url(self):
        return self.base + self.spec.get("rw_path", "/api/v1/write")


def put(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def du(path):
    """(allocated bytes, apparent bytes, {top folder: apparent})"""
    al = ap = 0
    tops = {}
    for d, _, fs in os.walk(path):
        for f in fs:
            try:
                st = os.stat(os.path.join(d, f))
            except OSError:
                continue
            al += st.st_blocks * 512
            ap += st.st_size
            rel = os.path.relpath(d, path).split(os.sep)[0]
            tops[rel] = tops.get(rel, 0) + st.st_size
    return al, ap, tops


# ---------------------------------------------------------------- exporter fleet
class Exporters:
    def __init__(self, targets=50, series=2000, gzip=0, seed=1, max_seconds=1800):
        admin = free_ports(targets + 1)
        base = admin + 1
        self.n, self.m, self.base = targets, series, base
        self.p = tool(["export", "--base-port", base, "--targets", targets, "--series", series, "--admin-port", admin, "--gzip", gzip,
                       "--seed", seed, "--max-seconds", max_seconds], "exporter.log")
        wait_port(admin)
        wait_port(base + targets - 1)
        self.h = Http(f"http://127.0.0.1:{admin}")

    def stats(self):
        return self.h.json("/stats")

    def job(self, name="bench"):
        return {"name": name, "targets": [(f"127.0.0.1:{self.base + i}", target_labels(i)) for i in range(self.n)]}

    def stop(self):
        self.p.stop()


# ---------------------------------------------------------------- noise and numbers
def host_cpu():
    f = open("/proc/stat").readline().split()[1:]
    v = list(map(int, f))
    return sum(v[:8]), v[3] + v[4], v[7]  # total, idle, steal


class Noise:
    """Share of the host's CPU used by others while we measured."""
    def __init__(self):
        self.a = host_cpu()

    def end(self, own_cpu, wall):
        b = host_cpu()
        tot = (b[0] - self.a[0]) / HZ
        busy = tot - (b[1] - self.a[1]) / HZ
        return {"host_busy_pct": round(100 * busy / tot, 1), "others_pct": round(100 * max(0, busy - own_cpu) / tot, 1),
                "steal_pct": round(100 * (b[2] - self.a[2]) / HZ / tot, 2), "load1": os.getloadavg()[0]}


def pct(v, p):
    v = sorted(v)
    if not v:
        return None
    k = (len(v) - 1) * p / 100
    f = math.floor(k)
    c = min(f + 1, len(v) - 1)
    return v[f] + (v[c] - v[f]) * (k - f)


def calib():
    """Seconds of CPU for a fixed Python loop: tells how slow the core is right now."""
    a = time.process_time()
    x = 0
    for i in range(3_000_000):
        x += i * i & 7
    return round(time.process_time() - a, 4)


RESULTS = os.environ.get("BENCH_RESULTS", os.path.join(WORK, "results.json"))
os.makedirs(os.path.dirname(RESULTS), exist_ok=True)


def save(workload, server, rec):
    rec = dict(rec, at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    with open(RESULTS + ".lock", "w") as lk:
        fcntl.flock(lk, fcntl.LOCK_EX)
        d = json.load(open(RESULTS)) if os.path.exists(RESULTS) else {}
        d.setdefault(workload, {}).setdefault(server, []).append(rec)
        tmp = RESULTS + ".tmp"
        json.dump(d, open(tmp, "w"), indent=1)
        os.replace(tmp, RESULTS)
    print(json.dumps({workload: {server: rec}}), flush=True)

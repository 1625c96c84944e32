#!/usr/bin/env python3
"""Runs workloads against Vigie and its peers, paired, and tells how they compare. `ops/bench/run` calls it."""
import argparse, json, os, platform, shutil, signal, subprocess, sys, time
import table

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SCRATCH = os.path.join(ROOT, ".scratch/bench")
ORDER = ["w1", "growth", "w2", "w3", "w4", "w5", "w6", "w7"]
QUICK = ["w1", "w2", "w4", "w5"]
HOUR = 3600


class Run:
    def __init__(self, quick, vigie, folder):
        self.quick, self.folder, self.problems = quick, folder, []
        self.results_path = os.path.join(folder, "results.json")
        self.work = os.path.join(folder, "work")
        self.env = dict(os.environ, BENCH_VIGIE=vigie, BENCH_WORK=self.work, BENCH_RESULTS=self.results_path, PYTHONUNBUFFERED="1")
        self.turn = 0
        os.makedirs(self.work)

    def results(self):
        if not os.path.exists(self.results_path):
            return {}
        with open(self.results_path, encoding="utf-8") as f:
            return json.load(f)

    def pair(self, script, servers, *args, together=False):
        """The script once for each server: at the same time, or in turn, another first each time."""
        self.turn += 1
        if self.turn % 2 == 0:
            servers = servers[::-1]
        running = []
        try:
            for server in servers:
                print(f"==> {script} {server} {' '.join(map(str, args))}", flush=True)
                argv = [sys.executable, os.path.join(HERE, script), "--server", server, *map(str, args)]
                with open(os.path.join(self.folder, "raw.log"), "ab") as raw:
                    running.append((server, subprocess.Popen(argv, env=self.env, stdout=raw)))
                if not together:
                    self.end(script, *running.pop())
            while running:
                self.end(script, *running.pop(0))
        finally:
            for _, process in running:
                process.send_signal(signal.SIGTERM)
            for _, process in running:
                process.wait()

    def end(self, script, server, process):
        try:
            status = process.wait()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        if status != 0:
            self.problems.append(f"{script} with {server} ended with status {status}")
            print(f"==> {self.problems[-1]}", flush=True)

    # ------------------------------------------------------------ the workloads
    def w1(self):
        three = ["vigie", "prometheus", "victoriametrics"]
        if self.quick:
            self.pair("w1_ingest.py", three, "--duration", 60, "--warm", 20, "--idle", 10, together=True)
            return
        self.pair("w1_ingest.py", three, "--idle", 60, "--min-cpu", 1.1, together=True)
        self.pair("w1_ingest.py", ["vigie", "prometheus"], "--workload", "W1-1s", "--interval", 1, "--duration", 120, "--min-cpu", 1.1, together=True)

    def growth(self):
        window = ["--duration", 60, "--warm", 30, "--idle", 10] if self.quick else ["--warm", 60, "--idle", 60, "--min-cpu", 1.1]
        self.pair("w1_ingest.py", ["vigie"], "--workload", "W1-100k", *window)
        self.pair("w1_ingest.py", ["vigie"], "--workload", "W1-1M", "--targets", 500, *window)

    def w2(self):
        t0 = (int(time.time()) // HOUR - 2) * HOUR
        answers = os.path.join(self.work, "w2-answers")
        passes = ["--runs", 0, "--ticks", 120] if self.quick else ["--runs", 1, "--reps", 5, "--budget", 4, "--min-cpu", 1.05]
        self.pair("w2_query.py", ["vigie", "prometheus", "victoriametrics"], "--t0", t0, "--out", answers, *passes)
        files = [os.path.join(answers, f"{name}.json.gz") for name in ("prometheus", "vigie")]
        if all(map(os.path.exists, files)):
            diff = subprocess.run([sys.executable, os.path.join(HERE, "w2_diff.py"), *files], capture_output=True, text=True, check=False)
            print(diff.stdout + diff.stderr, flush=True)
            found = self.results()
            found["W2-diff"] = {"vigie": [json.loads(diff.stdout.strip().splitlines()[-1])]}
            found["W2-ratios"] = {"vigie": [table.query_ratios(found)]}
            print(json.dumps(found["W2-ratios"], indent=1), flush=True)
            with open(self.results_path, "w", encoding="utf-8") as f:
                json.dump(found, f, indent=1)

    def w3(self):
        for rules in ["1000"] if self.quick else ["1000", "5000"]:
            self.pair("w3_rules.py", ["vigie", "prometheus"], "--counts", rules, "--workload", f"W3-{rules}", "--window", 60 if self.quick else 120, together=True)

    def w4(self):
        self.pair("w4_restart.py", ["vigie", "prometheus"], *(["--load", 30, "--acked", 4_000_000] if self.quick else []))

    def w5(self):
        window = ["--window", 20, "--idle", 10] if self.quick else ["--idle", 60, "--min-cpu", 1.1]
        self.pair("w5_probes.py", ["vigie", "prometheus"], *window, together=True)

    def w6(self):
        self.pair("w6_alert_latency.py", ["vigie", "prometheus"], *(["--n", 8] if self.quick else []))

    def w7(self):
        self.pair("w7_alertmanager.py", ["vigie", "alertmanager"])

    # ------------------------------------------------------------ what this Vigie has
    def supported(self, vigie):
        """Asks the binary, so that an older one is measured in what it has."""
        flags = subprocess.run([vigie, "serve", "--help"], capture_output=True, text=True, check=True).stdout
        missing = {}
        if "--probes" not in flags:
            missing["w5"] = "this Vigie has no --probes"
        if "--alertmanager-config" not in flags:
            missing["w6"] = missing["w7"] = "this Vigie has no --alertmanager-config"
        else:
            ask = "import harness\ns = harness.Server('vigie', 'ask')\ntry:\n s.start({'interval': '5s', 'jobs': []})\n " \
                  "print(s.h.get('/api/v2/alerts')[0])\nfinally:\n s.stop()\n"
            answer = subprocess.run([sys.executable, "-c", ask], cwd=HERE, env=self.env, capture_output=True, text=True, check=False)
            if answer.returncode != 0:
                raise SystemExit(f"ops/bench: {vigie} does not start:\n{answer.stderr}")
            if answer.stdout.strip() != "200":
                missing["w7"] = "this Vigie takes no alerts from others (/api/v2/alerts)"
        return missing


def first_line(argv):
    try:
        r = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
        return (r.stdout + r.stderr).strip().splitlines()[0]
    except (OSError, IndexError):
        return "unknown"


def machine(vigie):
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    packages = ["prometheus", "prometheus-alertmanager", "prometheus-blackbox-exporter", "victoria-metrics"]
    versions = ", ".join(f"{p} {first_line(['dpkg-query', '-W', '-f', '${Version}', p])}" for p in packages)
    return [("CPU", f"{model}, {os.cpu_count()} cores"), ("memory", f"{pages / 2**30:.0f} GiB"), ("kernel", f"{platform.system()} {platform.release()}"),
            ("Vigie", f"{first_line([vigie, '--version'])}, commit {first_line(['git', 'rev-parse', '--short', 'HEAD'])} checked out"), ("peers", versions),
            ("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--keep", action="store_true")
    ap.add_argument("--runs", type=int, default=1)
    ap.add_argument("--vigie", required=True)
    ap.add_argument("--results", default="")
    ap.add_argument("--command", default="ops/bench/run")
    ap.add_argument("workloads", nargs="*")
    a = ap.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = os.path.join(SCRATCH, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
    run = Run(a.quick, os.path.abspath(a.vigie), folder)
    missing = run.supported(a.vigie)
    wanted = a.workloads or (QUICK if a.quick else ORDER)
    run.problems = [f"{w}: {missing[w]}" for w in wanted if w in missing]
    try:
        for _ in range(a.runs):
            for w in ORDER:
                if w in wanted and w not in missing:
                    getattr(run, w)()
    finally:
        if not a.keep:
            shutil.rmtree(run.work, ignore_errors=True)
    found = run.results()
    text = table.report(found, machine(a.vigie), a.command, run.problems, a.quick)
    # A short look, or a part, does not take the place of a whole run.
    whole = not a.quick and not a.workloads
    target = a.results or (os.path.join(HERE, "RESULTS.md") if whole else os.path.join(folder, "RESULTS.md"))
    with open(target, "w", encoding="utf-8") as f:
        f.write(text)
    print("\n" + table.terminal(found))
    if a.quick:
        print(table.QUICK)
    for problem in run.problems:
        print(f"not measured: {problem}")
    print(f"\n==> {os.path.relpath(target, os.getcwd())}; raw: {os.path.relpath(run.results_path, os.getcwd())}")
    return 1 if any("ended with status" in p for p in run.problems) else 0


if __name__ == "__main__":
    sys.exit(main())

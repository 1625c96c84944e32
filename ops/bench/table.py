"""The table of a run: figures beside those of the peers, and whether each bound is met. Knows no process and no clock."""
from math import exp, log
from statistics import median

RATIO, ABSOLUTE = "ratio", "absolute"
LEAST_CPU_S = 1.0
QUICK = "A short look: windows are shorter, loads smaller, and the disk is looked at after one minute. Take all figures as hints."


class Row:
    """One figure. Smaller is better in all of them."""
    def __init__(self, workload, title, key, kind=ABSOLUTE, required=None, goal=None, base=None, cpu=None):
        self.workload, self.title, self.key, self.kind = workload, title, key, kind
        self.required, self.goal = required, goal
        self.base = base  # for a ratio of Vigie to itself: the workload to compare with
        self.cpu = cpu    # the key of the CPU seconds behind the figure


ROWS = [
    Row("W1", "scrapes every 5 s, CPU s per million samples, steady", "cpu_s_per_Msample_steady", RATIO, 1 / 5, 1 / 10, cpu="cpu_s_steady"),
    Row("W1", "the same, net of idle", "cpu_s_per_Msample_net", RATIO, cpu="cpu_s_steady"),
    Row("W1", "the same, with the start and every series' creation", "cpu_s_per_Msample_with_start", RATIO, cpu="cpu_s_load"),
    Row("W1", "CPU s per second without targets, before", "idle_before_cpu_s_per_s", RATIO),
    Row("W1", "CPU s per second without targets, after", "idle_after_cpu_s_per_s", RATIO),
    Row("W1", "resident bytes per series at the end", "rss_bytes_per_series", RATIO, 1 / 4, 1 / 6),
    Row("W1", "bytes on disk per sample after 3 minutes", "disk_apparent_bytes_per_sample", RATIO, 1 / 4, 1 / 6),
    Row("W1", "scrape duration p95, ms", "scrape_duration_ms_p95", RATIO),
    Row("W1-1s", "scrapes every 1 s, CPU s per million samples, steady", "cpu_s_per_Msample_steady", RATIO, cpu="cpu_s_steady"),
    Row("W2", "remote write, CPU s per million samples", "load.cpu_s_per_Msample", ABSOLUTE, 0.9, 0.4, cpu="load.cpu_s_load"),
    Row("W2-block-size", "finished blocks, whole directory, bytes per sample", "bytes_per_sample", ABSOLUTE, 1.2, 0.9),
    Row("W2", "31 queries, CPU ms per pass", "sum_cpu_ms_per_pass", ABSOLUTE, 3000, 1000, cpu="cpu_s_total"),
    Row("W2-ratios", "31 queries, geometric mean of the ratios of their CPU", "geometric_mean", ABSOLUTE, 1 / 3, 1 / 8),
    Row("W2-ratios", "31 queries, slowest ratio of any", "slowest", ABSOLUTE, 1, 1 / 2),
    Row("W2", "31 queries, peak resident MB", "hwm_MB", ABSOLUTE, 400, 250),
    Row("W2", "31 queries, sum of p95, ms", "sum_p95_ms", RATIO),
    Row("W2-diff", "queries whose answers differ from Prometheus's", "different"),
    Row("W3-1000", "1,000 alert rules, CPU s per 1,000 evaluations, net", "cpu_s_per_1000_evals", ABSOLUTE, 0.7, 0.15, cpu="cpu_s_window"),
    Row("W3-5000", "5,000 alert rules, CPU s per 1,000 evaluations, net", "cpu_s_per_1000_evals", ABSOLUTE, 0.7, 0.15, cpu="cpu_s_window"),
    Row("W4a", "kill -9 under scrapes: s to the right answer", "restart_to_right_answer_s", ABSOLUTE, 1, 0.3),
    Row("W4a", "hole in the series, scrapes every 1 s, s", "gap_s_max", ABSOLUTE, 3, 1.5),
    Row("W4b", "kill -9 under remote write: acknowledged samples lost", "acked_lost", ABSOLUTE, 0, 0),
    Row("W5", "HTTP probes, CPU s per 1,000", "cpu_s_per_1000_probes", RATIO, 1 / 5, 1 / 10, cpu="cpu_s_window"),
    Row("W5", "the same, net of idle", "cpu_s_per_1000_probes_net", RATIO, cpu="cpu_s_window"),
    Row("W1-1M", "CPU per sample, 1,000,000 series against 100,000", "cpu_s_per_Msample_steady", RATIO, 1.3, 1.1, base="W1-100k", cpu="cpu_s_steady"),
    Row("W1-1M", "the same, net of idle", "cpu_s_per_Msample_net", RATIO, base="W1-100k", cpu="cpu_s_steady"),
    Row("W6", "death of a target to the webhook, p50, s", "latency_s.p50", RATIO),
    Row("W6", "death of a target to the webhook, p95, s", "latency_s.p95", RATIO),
    Row("W7", "10,000 alerts, CPU s until all are notified", "cpu_s_to_all_notified", RATIO),
]
PEERS = ["prometheus", "victoriametrics", "alertmanager"]


def dig(record, key):
    for part in key.split("."):
        record = record.get(part) if isinstance(record, dict) else None
    return record if isinstance(record, (int, float)) and not isinstance(record, bool) and record == record else None


def middle(results, workload, server, key):
    """The median over the runs, or None when there is none. A run without an answer counts for the whole."""
    runs = results.get(workload, {}).get(server, [])
    values = [dig(run, key) for run in runs]
    if not values or None in values:
        return None
    return median(values)


def query_ratios(results):
    """What the queries of W2 cost beside Prometheus, by CPU: the geometric mean of the ratios, and the slowest."""
    ours, theirs = (results["W2"][name][-1]["queries"] for name in ("vigie", "prometheus"))
    both = {q: (ours[q].get("cpu_ms_per_query"), theirs[q].get("cpu_ms_per_query")) for q in ours if q in theirs}
    ratios = {q: a / b for q, (a, b) in both.items() if a and b}
    if not ratios or len(ratios) < len(both):
        return {"left_out": sorted(set(both) - set(ratios))}
    slowest = max(ratios, key=ratios.get)
    return {"geometric_mean": exp(sum(map(log, ratios.values())) / len(ratios)), "slowest": ratios[slowest], "slowest_query": slowest,
            "by_query": {q: round(r, 3) for q, r in sorted(ratios.items(), key=lambda x: x[1])}}


def verdict(row, figure):
    """`figure` is the ratio or the absolute value that the bounds are about."""
    if row.required is None:
        return ""
    if figure is None:
        return "no figure"
    if figure <= row.goal:
        return "goal"
    return "required" if figure <= row.required else "MISSED"


def number(value):
    if value is None:
        return "-"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def fraction(value):
    if value is None:
        return ""
    return f"1/{1 / value:.1f}" if 0 < value < 1 else f"{value:.2f}"


def bounds(row):
    if row.required is None:
        return ""
    form = number if row.kind == ABSOLUTE or row.base else (lambda v: f"1/{1 / v:.0f}")
    return f"{form(row.required)}, {form(row.goal)}"


def compare(results):
    """Rows of text: workload, figure, Vigie, peer, ratio, bounds, verdict. Only what was run."""
    out, short = [], False
    for row in ROWS:
        if "vigie" not in results.get(row.workload, {}):
            continue
        ours = middle(results, row.workload, "vigie", row.key)
        if row.base:
            peer, name = middle(results, row.base, "vigie", row.key), row.base
        else:
            name = next((p for p in PEERS if p in results[row.workload]), None)
            peer = middle(results, row.workload, name, row.key) if name else None
        ratio = ours / peer if ours is not None and peer else None
        shown = number(ours)
        if row.cpu and ours is not None and min(dig(run, row.cpu) or 0 for run in results[row.workload]["vigie"]) < LEAST_CPU_S:
            shown, short = shown + " *", True
        others = [f"{p} {number(middle(results, row.workload, p, row.key))}" for p in PEERS
                  if p != name and p in results[row.workload] and not row.base]
        told = "; ".join([f"{name} {number(peer)}"] * bool(name) + others)
        nothing = ours is None and row.required is None
        if not nothing:
            out.append([row.workload, row.title, shown, told, fraction(ratio), bounds(row), verdict(row, ratio if row.kind == RATIO else ours)])
    return out, short


def markdown(results):
    rows, short = compare(results)
    lines = ["| | figure | Vigie | peers | ratio | required, goal | met |", "|---|---|---|---|---|---|---|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    if short:
        lines += ["", f"\\* from less than {LEAST_CPU_S:g} s of CPU, which the kernel counts in ticks of 10 ms: take it as a hint."]
    return "\n".join(lines) + "\n"


def terminal(results):
    rows, short = compare(results)
    rows = [["", "figure", "Vigie", "peers", "ratio", "bounds", "met"]] + rows
    widths = [max(len(r[i]) for r in rows) for i in range(7)]
    text = "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows)
    return text + ("\n* from less than 1 s of CPU: take it as a hint" if short else "")


def noise(results):
    """What else the machine did: share of the CPU that others used, and how fast a core was."""
    runs = [run for servers in results.values() for list_ in servers.values() for run in list_]
    others = [v for run in runs if (v := dig(run, "noise.others_pct")) is not None]
    calib = [c for run in runs for c in run.get("calib_s", [])]
    told = []
    if others:
        told.append(f"other processes (those measured side by side among them) used {min(others):.0f} to {max(others):.0f} % of the CPU, median {median(others):.0f} %")
    if calib:
        told.append(f"a fixed loop took {min(calib):.2f} to {max(calib):.2f} s of CPU")
    return "; ".join(told) or "not measured"


def report(results, machine, command, problems, quick=False):
    """RESULTS.md."""
    lines = ["# Vigie beside its peers", "", "Written by `ops/bench/run`; edited by nobody. What each figure means: [README.md](README.md).", "",
             *([QUICK, ""] if quick else []), markdown(results).rstrip(), "", "## Machine", ""]
    lines += [f"- {name}: {value}" for name, value in machine]
    lines.append(f"- noise: {noise(results)}")
    if problems:
        lines += ["", "## Not measured", ""] + [f"- {p}" for p in problems]
    lines += ["", "## Repeat", "", "```sh", command, "```", "",
              "Ratios hold between figures of one run. CPU seconds are user and system time of all threads; bytes on disk are those",
              "of everything under the data directory, Vigie's state and that of others too."]
    return "\n".join(lines) + "\n"

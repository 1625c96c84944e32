"""`python3 -m unittest discover ops/bench`: the harness's pure parts."""
import socket
import unittest

import harness
import table


def results(vigie, prometheus, workload="W1"):
    return {workload: {"vigie": vigie, "prometheus": prometheus}}


class Table(unittest.TestCase):
    def row(self, res, title):
        return next(r for r in table.compare(res)[0] if r[1] == title)

    def test_a_ratio_is_held_against_both_bounds(self):
        title = "resident bytes per series at the end"
        for ours, ratio, met in [(400, "1/7.5", "goal"), (700, "1/4.3", "required"), (900, "1/3.3", "MISSED"), (3300, "1.10", "MISSED")]:
            row = self.row(results([{"rss_bytes_per_series": ours}], [{"rss_bytes_per_series": 3000}]), title)
            self.assertEqual(row[4:], [ratio, "1/4, 1/6", met])

    def test_an_absolute_bound_needs_no_peer(self):
        title = "kill -9 under remote write: acknowledged samples lost"
        for lost, met in [(0, "goal"), (1, "MISSED")]:
            self.assertEqual(self.row({"W4b": {"vigie": [{"acked_lost": lost}]}}, title)[6], met)

    def test_queries_are_compared_by_the_mean_of_their_ratios_and_the_slowest(self):
        queries = lambda **ms: [{"queries": {q: {"cpu_ms_per_query": v} for q, v in ms.items()}}]
        found = table.query_ratios({"W2": {"vigie": queries(a=1, b=8), "prometheus": queries(a=8, b=16)}})
        self.assertAlmostEqual(found["geometric_mean"], 0.25)
        self.assertEqual((found["slowest"], found["slowest_query"]), (0.5, "b"))
        # A query that costs nothing measurable has no ratio, and so the whole has no figure.
        self.assertEqual(table.query_ratios({"W2": {"vigie": queries(a=0), "prometheus": queries(a=8)}}), {"left_out": ["a"]})

    def test_growth_compares_vigie_with_itself(self):
        res = {"W1-100k": {"vigie": [{"cpu_s_per_Msample_steady": 0.2, "cpu_s_steady": 2}]},
               "W1-1M": {"vigie": [{"cpu_s_per_Msample_steady": 0.25, "cpu_s_steady": 9}]}}
        row = self.row(res, "CPU per sample, 1,000,000 series against 100,000")
        self.assertEqual(row[2:], ["0.25", "W1-100k 0.2", "1.25", "1.3, 1.1", "required"])

    def test_one_run_without_an_answer_leaves_no_figure(self):
        res = {"W4a": {"vigie": [{"restart_to_right_answer_s": 0.1, "gap_s_max": 1.2}, {"restart_to_right_answer_s": None, "gap_s_max": float("nan")}]}}
        self.assertEqual([r[6] for r in table.compare(res)[0]], ["no figure", "no figure"])

    def test_medians_are_taken_and_little_cpu_is_marked(self):
        runs = [{"cpu_s_per_Msample_steady": v, "cpu_s_steady": c} for v, c in [(0.1, 2), (0.3, 0.5), (0.2, 2)]]
        row = self.row(results(runs, [{"cpu_s_per_Msample_steady": 2.0}]), "scrapes every 5 s, CPU s per million samples, steady")
        self.assertEqual((row[2], row[6]), ("0.2 *", "goal"))

    def test_what_did_not_run_is_not_shown(self):
        self.assertEqual(table.compare({"W1": {"prometheus": [{"rss_bytes_per_series": 1}]}})[0], [])

    def test_the_report_tells_machine_and_problems(self):
        text = table.report(results([{"rss_bytes_per_series": 1}], [{"rss_bytes_per_series": 9}]), [("cores", "2")], "ops/bench/run w1", ["W5: why"])
        for part in ["- cores: 2", "- W5: why", "ops/bench/run w1", "| W1 | resident bytes"]:
            self.assertIn(part, text)


class Harness(unittest.TestCase):
    def test_configurations_are_written_for_each_reader(self):
        c = {"interval": "5s", "jobs": [{"name": "j", "targets": [("127.0.0.1:1", {"rack": "r1"})]}], "probes": ["http://127.0.0.1:2/x"],
             "webhook": "http://127.0.0.1:3/h", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"}
        files = harness.vigie_files(c)
        self.assertEqual(files["config"], harness.prometheus_config(c))
        self.assertIn("- targets: ['127.0.0.1:1']\n    labels: {rack: 'r1'}", files["config"])
        self.assertIn("url: http://127.0.0.1:2/x\n    interval: 5s\n    timeout: 4000ms", files["probes"])
        self.assertIn("url: 'http://127.0.0.1:3/h'", files["routing"])
        self.assertEqual(harness.vigie_files({"interval": "5s", "probes": []})["probes"], "probes: []\n")
        self.assertNotIn("rule_files", harness.victoria_config(dict(c, rules="r.yml")))

    def test_ports_are_free_in_a_row_and_given_once(self):
        first = harness.free_ports(3)
        second = harness.free_ports(1)
        self.assertNotIn(second, range(first, first + 3))
        with socket.socket() as s:
            s.bind(("127.0.0.1", second + 1))
            self.assertNotEqual(harness.free_ports(1), second + 1)

    def test_percentiles_lie_between_their_neighbours(self):
        self.assertEqual([harness.pct([1, 2, 3, 4], p) for p in (0, 50, 100)], [1, 2.5, 4])
        self.assertIsNone(harness.pct([], 50))


if __name__ == "__main__":
    unittest.main()

use super::*;

fn probes(text: &str) -> Result<Vec<Probe>, String> {
    let doc = Document::parse("probes.yaml", text).map_err(|p| p.to_string())?;
    let mut problems = Problems::default();
    let probes = read(&doc, ProbeDefaults::default(), &mut problems);
    problems.into_result(probes).map_err(|p| p.to_string())
}

#[test]
fn the_defaults_are_http_every_30_s_with_5_s_and_a_good_status() {
    let probe = &probes("probes: [{name: auth, url: 'http://h/x'}]").unwrap()[0];
    assert_eq!((probe.interval.as_secs(), probe.timeout.as_secs()), (30, 5));
    assert_eq!((&probe.kind, &*probe.service), (&Kind::Http, "auth"));
    assert_eq!(probe.conditions[0].to_string(), "status == 2xx");
}

#[test]
fn a_probe_has_its_own_interval_conditions_and_dependencies() {
    let all = probes(
        "probes:
- {name: db, service: d, kind: tcp, url: 'tcp://h:5', interval: 5s, timeout: 2s, conditions: [latency < 1s]}
- {name: auth, url: 'http://h', depends_on: [db], conditions: ['body.status == \"ok\"']}
",
    )
    .unwrap();
    assert_eq!(all[0].kind, Kind::Tcp { address: "h:5".to_owned() });
    assert_eq!((all[0].interval.as_secs(), all[0].timeout.as_secs()), (5, 2));
    assert_eq!(all[1].depends_on, ["db"]);
}

#[test]
fn every_problem_is_told_with_its_place() {
    let problems = probes(
        "probes:
- name: a
  url: nowhere
  conditions: [status == 200, latency = 1s]
  depends_on: [d, a]
- {name: a, url: 'http://h', kind: heartbeat}
- {name: b, url: 'h', kind: tcp, conditions: [status == 200]}
- {name: c, url: 'http://h', timeout: 40s, conditons: []}
",
    )
    .expect_err("it is wrong");
    let lines: Vec<&str> = problems.lines().filter(|l| l.starts_with("probes.yaml:")).collect();
    assert_eq!(
        lines,
        [
            "probes.yaml:3:8: \"nowhere\" is not an address to ask by HTTP",
            "probes.yaml:4:39: expected an operator: == != < <= > >= contains matches",
            "probes.yaml:5:16: there is no probe \"d\" to depend on",
            "probes.yaml:6:36: kind `heartbeat` is not supported yet",
            "probes.yaml:7:18: \"h\" is not host:port",
            "probes.yaml:7:47: `status == 200` cannot be asked of kind tcp: only `latency` can",
            "probes.yaml:8:39: the timeout is longer than the interval",
            "probes.yaml:8:44: unknown field `conditons`",
        ],
        "{problems}"
    );
}

#[test]
fn names_are_unique_and_dependencies_have_no_circle() {
    let problems = probes("probes:\n- {name: a, url: 'http://h', depends_on: [b]}\n- {name: b, url: 'http://h', depends_on: [a]}\n- {name: b, url: 'http://h'}\n").expect_err("it is wrong");
    for expect in ["2:42: probe \"a\" depends on itself", "4:10: another probe has the name \"b\""] {
        assert!(problems.contains(expect), "{problems}");
    }
}

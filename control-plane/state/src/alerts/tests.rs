//! Alert state comes back as it went in.

use super::*;

#[test]
fn alerts_survive_reopening_and_can_be_forgotten() {
    let dir = tempfile::tempdir().expect("dir");
    let alert = |name: &str, phase| StoredAlert {
        rule: "g/ServiceDown".into(),
        labels: Labels::from_pairs([("alertname", "ServiceDown"), ("service", name)]),
        annotations: Labels::from_pairs([("summary", "it is down")]),
        phase,
        active_at: 1_000,
        fired_at: Some(2_000),
        resolved_at: None,
        keep_firing_since: None,
        value: 0.5,
        handed_over: false,
    };
    let state = State::open(dir.path()).expect("open");
    let all = vec![alert("a", AlertPhase::Firing), alert("b", AlertPhase::Pending)];
    state.save_alerts(all.clone(), vec![]).wait().expect("saved");
    state.close();
    let state = State::open(dir.path()).expect("reopen");
    assert_eq!(state.alerts().expect("read"), all);
    let forgotten = vec![(all[0].rule.clone(), all[0].labels.clone())];
    state.save_alerts(vec![alert("b", AlertPhase::Resolved)], forgotten).wait().expect("saved");
    assert_eq!(state.alerts().expect("read"), [alert("b", AlertPhase::Resolved)]);
    state.close();
}

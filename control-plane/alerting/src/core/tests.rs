//! Who is told what, and when.

use super::*;
use crate::config::{IntegrationKind, Overrides};
use std::path::Path;

const CONFIG: &str = r#"
global: {smtp_smarthost: 'h:25', smtp_from: a@b.c}
route:
  receiver: hook
  group_by: [alertname]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs: [{url: http://127.0.0.1:9/}]
    email_configs: [{to: x@y.z, send_resolved: false}]
inhibit_rules:
  - {source_matchers: [alertname=HostDown], target_matchers: [alertname=Slow], equal: [host]}
"#;

fn core() -> Core {
    let config = RoutingConfig::parse("r", CONFIG, Path::new("."), &Overrides::default()).expect("config");
    Core::restore(Arc::new(config), vec![], vec![])
}

fn alert(name: &str, service: &str, ends_at: Option<i64>) -> Alert {
    Alert {
        labels: Labels::from_pairs([("alertname", name), ("service", service), ("host", "h1")]),
        annotations: Labels::default(),
        starts_at: 0,
        ends_at,
        generator_url: String::new(),
    }
}

fn accept(core: &mut Core, now: i64, alerts: &[Alert]) {
    let changes = core.changes(now, alerts);
    core.take(&changes, true);
}

/// What is due, in a line a message: integration, how many firing and over; all delivered.
fn told(core: &mut Core, now: i64) -> Vec<String> {
    let jobs = core.due(now);
    jobs.iter().for_each(|j| core.delivered(j));
    jobs.iter()
        .filter(|j| !j.silent)
        .map(|j| {
            let kind = match j.integration.kind {
                IntegrationKind::Webhook(_) => "hook",
                _ => "mail",
            };
            let over = j.alerts.iter().filter(|a| a.is_resolved_at(now)).count();
            format!("{kind} {}+{over}", j.alerts.len() - over)
        })
        .collect()
}

#[test]
fn a_group_waits_then_tells_once_then_tells_changes_at_its_interval() {
    let mut core = core();
    accept(&mut core, 0, &[alert("Down", "a", None)]);
    assert!(told(&mut core, 9_999).is_empty());
    accept(&mut core, 5_000, &[alert("Down", "b", None)]);
    assert_eq!(told(&mut core, 10_000), ["mail 2+0", "hook 2+0"]);
    accept(&mut core, 20_000, &[alert("Down", "a", None), alert("Down", "b", None)]);
    assert!(told(&mut core, 70_000).is_empty(), "the same again is not told again");
    accept(&mut core, 80_000, &[alert("Down", "c", None)]);
    assert!(told(&mut core, 129_999).is_empty());
    assert_eq!(told(&mut core, 130_000), ["mail 3+0", "hook 3+0"]);
    assert_eq!(told(&mut core, 130_000 + 3_600_000), ["mail 3+0", "hook 3+0"], "repeated");
}

#[test]
fn the_end_is_told_to_those_who_want_it_and_then_all_is_forgotten() {
    let mut core = core();
    accept(&mut core, 0, &[alert("Down", "a", None), alert("Down", "b", None)]);
    told(&mut core, 10_000);
    accept(&mut core, 20_000, &[alert("Down", "a", Some(20_000))]);
    assert!(core.sweep(20_000).is_empty());
    assert_eq!(told(&mut core, 70_000), ["hook 1+1"]);
    accept(&mut core, 80_000, &[alert("Down", "b", Some(80_000))]);
    assert_eq!(told(&mut core, 130_000), ["hook 0+2"]);
    assert_eq!(core.sweep(130_000).len(), 2);
    assert!(core.groups().is_empty() && core.inbox().next().is_none());
    accept(&mut core, 140_000, &[alert("Down", "a", None)]);
    assert_eq!(told(&mut core, 150_000), ["mail 1+0", "hook 1+0"], "a new life is told anew");
}

#[test]
fn what_ends_within_its_wait_is_not_told_and_what_lasted_longer_is_however_late() {
    let mut core = core();
    accept(&mut core, 0, &[alert("Down", "a", None)]);
    accept(&mut core, 5_000, &[alert("Down", "a", Some(5_000))]);
    assert!(told(&mut core, 10_000).is_empty());
    assert_eq!(core.sweep(10_000).len(), 1);

    accept(&mut core, 20_000, &[alert("Down", "a", None)]);
    let jobs = core.due(30_000);
    assert_eq!(jobs.len(), 2);
    for job in &jobs {
        assert_eq!(core.failed(job, 30_000, "refused"), 31_000);
    }
    accept(&mut core, 30_500, &[alert("Down", "a", Some(30_500))]);
    assert!(core.sweep(30_500).is_empty(), "still owed");
    let jobs = core.due(31_000);
    let late: Vec<_> = jobs.iter().map(|j| (j.delayed_since, j.silent, j.alerts.len())).collect();
    assert_eq!(
        late,
        [(Some(30_000), false, 1), (Some(30_000), false, 1)],
        "even those who want no ends are told"
    );
    jobs.iter().for_each(|j| core.delivered(j));
    assert_eq!(core.sweep(31_000).len(), 1);
}

#[test]
fn failures_back_off_and_late_pages_collapse_to_one() {
    let mut core = core();
    accept(&mut core, 0, &[alert("Down", "a", None)]);
    let mut now = 10_000;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let jobs = core.due(now);
        let mail: Vec<_> = jobs.iter().filter(|j| j.integration.name.contains("email")).collect();
        assert_eq!(mail.len(), 1);
        let next = core.failed(mail[0], now, "refused");
        jobs.iter().filter(|j| j.integration.name.contains("webhook")).for_each(|j| core.delivered(j));
        waits.push((next - now) / 1000);
        accept(&mut core, now, &[alert("Down", &format!("s{now}"), None)]);
        assert!(
            core.due(next - 1).iter().all(|j| j.integration.name.contains("webhook")),
            "the other goes its way"
        );
        now = next;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    let jobs = core.due(now);
    let mail = jobs.iter().find(|j| j.integration.name.contains("email")).expect("due");
    assert_eq!((mail.alerts.len(), mail.delayed_since), (9, Some(10_000)));
}

#[test]
fn a_restart_neither_repeats_nor_loses() {
    let mut before = core();
    accept(&mut before, 0, &[alert("Down", "a", None)]);
    let jobs = before.due(10_000);
    let (mail, hook) = (&jobs[0], &jobs[1]);
    before.delivered(mail);
    // The process dies here: the mail is in the log, the webhook is not.
    let inbox: Vec<_> = before.inbox().cloned().collect();
    let mut after = Core::restore(Arc::clone(&before.config), inbox, vec![mail.record.clone()]);
    let jobs = after.due(11_000);
    assert_eq!(jobs.iter().map(|j| &j.integration.name).collect::<Vec<_>>(), [&hook.integration.name]);
    assert_eq!(jobs[0].delivery_key, hook.delivery_key, "the same key as before the crash");
}

#[test]
fn a_source_silences_its_targets_while_it_fires() {
    let mut core = core();
    accept(&mut core, 0, &[alert("HostDown", "x", None), alert("Slow", "a", None)]);
    assert_eq!(told(&mut core, 10_000), ["mail 1+0", "hook 1+0"], "HostDown alone");
    accept(&mut core, 20_000, &[alert("HostDown", "x", Some(20_000))]);
    let lines = told(&mut core, 70_000);
    assert!(lines.contains(&"mail 1+0".to_owned()), "Slow is told now: {lines:?}");
}

#[test]
fn routes_with_the_same_matchers_all_tell_their_receivers() {
    let text = "
route:
  receiver: a
  group_wait: 0s
  routes: [{receiver: a, continue: true}, {receiver: b, continue: true}, {receiver: c}]
receivers:
  - {name: a, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}
  - {name: b, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}
  - {name: c, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}
";
    let config = RoutingConfig::parse("r", text, Path::new("."), &Overrides::default()).expect("config");
    let mut core = Core::restore(Arc::new(config), vec![], vec![]);
    accept(&mut core, 0, &[alert("Down", "a", None)]);
    let mut receivers: Vec<String> = core.due(0).into_iter().map(|job| job.receiver).collect();
    receivers.sort();
    assert_eq!(receivers, ["a", "b", "c"]);
}

#[test]
fn what_fired_before_a_crash_and_ended_during_it_is_told() {
    // The rule's state was on disk, the process died before it was handed over, and by now it is over.
    let mut core = core();
    accept(&mut core, 100_000, &[alert("Down", "a", Some(100_000))]);
    assert_eq!(told(&mut core, 100_000), ["mail 0+1", "hook 0+1"]);
    assert_eq!(core.sweep(100_000).len(), 1);
    // The same hand-over again: a second crash came before it was recorded that the first was taken.
    accept(&mut core, 101_000, &[alert("Down", "a", Some(100_000))]);
    assert!(told(&mut core, 160_000).is_empty());
    // What never outlasted its group's wait is nothing to tell.
    accept(&mut core, 200_000, &[alert("Blip", "a", Some(9_000))]);
    assert!(told(&mut core, 260_000).is_empty());
    core.sweep(260_000);
    assert_eq!(core.inbox().count(), 0);
}

#[test]
fn a_reload_repeats_no_message_that_is_under_way_and_keeps_its_backoff() {
    let mut core = core();
    accept(&mut core, 0, &[alert("Down", "a", None)]);
    let jobs = core.due(10_000);
    assert_eq!(jobs.len(), 2);
    assert_eq!(core.failed(&jobs[0], 10_000, "refused"), 11_000);
    core.reload(Arc::clone(&core.config));
    assert!(core.due(10_500).is_empty(), "one is under way, the other waits");
    core.delivered(&jobs[1]);
    let again: Vec<String> = core.due(11_000).into_iter().map(|j| j.integration.name).collect();
    assert_eq!(again, [jobs[0].integration.name.clone()]);
}

#[test]
fn a_first_message_long_after_it_was_due_says_so_also_after_a_restart() {
    for (now, late) in [(10_000, None), (70_000, None), (70_001, Some(10_000))] {
        let mut before = core();
        accept(&mut before, 0, &[alert("Down", "a", None)]);
        let inbox: Vec<_> = before.inbox().cloned().collect();
        let mut after = Core::restore(Arc::clone(&before.config), inbox, vec![]);
        let since: Vec<_> = after.due(now).iter().map(|j| j.delayed_since).collect();
        assert_eq!(since, [late, late], "{now}");
    }
}

//! Routing files read as Alertmanager reads them, and bad ones say everything that is wrong.

use super::*;
use model::Labels;

const GOOD: &str = r#"
global:
  smtp_smarthost: 127.0.0.1:1025
  smtp_from: vigie@example.org
  smtp_require_tls: false
route:
  receiver: everybody
  group_by: [alertname, service]
  group_wait: 10s
  routes:
    - matchers: ['severity="critical"']
      receiver: oncall
      group_wait: 0s
      continue: true
    - matchers: [service=~"auth|db", team!=x]
      receiver: oncall
      group_by: ['...']
receivers:
  - name: everybody
    webhook_configs: [{url: http://127.0.0.1:9/hook}]
  - name: oncall
    email_configs: [{to: 'a@example.org, b@example.org', send_resolved: true}]
    slack_configs: [{api_url: https://hooks.example.org/T/B/x, title: '{{ .Status }}'}]
inhibit_rules:
  - source_matchers: [severity=critical]
    target_matchers: [severity=warning]
    equal: [service]
"#;

fn parse(text: &str) -> Result<RoutingConfig, Problems> {
    RoutingConfig::parse("routing.yaml", text, Path::new("."), &Overrides::default())
}

fn routed(config: &RoutingConfig, labels: &[(&str, &str)]) -> Vec<String> {
    let labels = Labels::from_pairs(labels.iter().copied());
    config.route.matching(&labels).iter().map(|r| format!("{} {}", r.options.receiver, r.key)).collect()
}

#[test]
fn alerts_take_the_deepest_routes_that_match() {
    let config = parse(GOOD).expect("reads");
    assert_eq!(routed(&config, &[("severity", "info")]), ["everybody {}"]);
    assert_eq!(
        routed(&config, &[("severity", "critical"), ("service", "auth")]),
        [r#"oncall {}/{severity="critical"}"#, r#"oncall {}/{service=~"auth|db",team!="x"}"#]
    );
    let critical = &config.route.children[0].options;
    assert_eq!((critical.group_wait.as_secs(), critical.group_interval.as_secs()), (0, 300));
    assert_eq!(config.route.children[1].options.group_by, None);
    let oncall = &config.receivers["oncall"];
    let names: Vec<_> = oncall.integrations.iter().map(|i| (i.name.as_str(), i.send_resolved)).collect();
    assert_eq!(names, [("oncall/email[0]", true), ("oncall/slack[0]", false)]);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = r#"
global:
  smtp_smarthost: relay
route:
  receiver: nobody
  group_interval: 0s
  routes:
    - matchers: [severity]
      reciever: x
receivers:
  - name: a
    pagerduty_configs: [{}]
    email_configs: [{to: 'not an address', from: a@b.c}]
    slack_configs: [{title: '{{ .Status'}]
  - name: a
"#;
    let problems = parse(text).expect_err("bad").to_string();
    for part in [
        "routing.yaml:5:13: there is no receiver named `nobody`",
        "routing.yaml:6:19: `group_interval` must be longer than zero",
        "routing.yaml:8:18: \"severity\" is no matcher: there is no =, !=, =~ or !~",
        "routing.yaml:9:7: unknown field `reciever`",
        "routing.yaml:12:24: `pagerduty_configs` is not supported yet",
        "is no mail address",
        "the mail relay \"relay\" is not host:port",
        "`title`: ",
        "no Slack webhook is known",
        "routing.yaml:15:5: there is already a receiver named `a`",
    ] {
        assert!(problems.contains(part), "{part}\n\n{problems}");
    }
}

#[test]
fn settings_beat_the_files_globals_and_secrets_do_not_show() {
    let overrides = Overrides {
        smtp_smarthost: Some("mail.example.org:587".into()),
        smtp_from: None,
        slack_api_url: Some(Secret::new("https://hooks.example.org/hunter2")),
        capture_mail: false,
    };
    let config = RoutingConfig::parse("r", GOOD, Path::new("."), &overrides).expect("reads");
    let IntegrationKind::Email(email) = &config.receivers["oncall"].integrations[0].kind else {
        panic!("email")
    };
    assert_eq!((email.host.as_str(), email.port), ("mail.example.org", 587));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn matchers_read_in_every_form() {
    for (text, printed) in [
        (r#"a="b""#, r#"a="b""#),
        ("a=b", r#"a="b""#),
        (r#"{a="b,c", d!~"e"}"#, r#"a="b,c" d!~"e""#),
        (r#"a=~"x\\.y""#, r#"a=~"x\\.y""#),
        (r#""odd name" != "q\"q""#, r#""odd name"!="q\"q""#),
        ("a=", r#"a="""#),
    ] {
        let found: Vec<_> = parse_matchers(text).expect(text).iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), printed, "{text}");
    }
    for bad in ["a", "=b", "{a=b", r#"a="b"#, r#"a="b"c"#, "a=~(", "a=b}", "a b=c"] {
        assert!(parse_matchers(bad).is_err(), "{bad}");
    }
}

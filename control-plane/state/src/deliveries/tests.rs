//! Inbox and notification log come back as they went in.

use super::*;

#[test]
fn inbox_and_log_survive_reopening() {
    let dir = tempfile::tempdir().expect("dir");
    let state = State::open(dir.path()).expect("open");
    let entry = InboxAlert {
        alert: Alert {
            labels: Labels::from_pairs([("alertname", "X"), ("é", "\"\n")]),
            annotations: Labels::from_pairs([("summary", "s")]),
            starts_at: 5,
            ends_at: Some(9),
            generator_url: "http://x/graph".into(),
        },
        received_at: 6,
        updated_at: 7,
    };
    let sent = Sent {
        group_key: "{}:{}".into(),
        integration: "oncall/email[0]".into(),
        firing: ["a".to_owned()].into(),
        resolved: BTreeSet::new(),
        sent_at: 8,
    };
    state.save_inbox(vec![entry.clone()], vec![]).wait().expect("saved");
    state.save_sent(sent.clone()).wait().expect("saved");
    state.close();
    let state = State::open(dir.path()).expect("reopen");
    assert_eq!(state.inbox().expect("read"), vec![entry.clone()]);
    assert_eq!(state.sent().expect("read"), [sent]);
    state.save_inbox(vec![], vec![entry.alert.labels]).wait().expect("saved");
    assert_eq!(state.inbox().expect("read"), []);
    assert_eq!(state.forget_sent(9).wait().expect("saved"), 1);
    state.close();
}

"""Alertmanager as a server to compare with, and its configuration."""
import json
from harness import SPECS


def alertmanager_config(c):
    """c: webhook, group_by (list), group_wait, group_interval, repeat_interval."""
    return (f"route:\n  receiver: hook\n  group_by: {json.dumps(c['group_by'])}\n  group_wait: {c['group_wait']}\n  group_interval: {c['group_interval']}\n"
            f"  repeat_interval: {c.get('repeat_interval', '4h')}\nreceivers:\n- name: hook\n  webhook_configs:\n  - url: '{c['webhook']}'\n    send_resolved: true\n    max_alerts: 0\n")


SPECS["alertmanager"] = {
    "start": ["/usr/bin/prometheus-alertmanager", "--config.file={config}", "--storage.path={data}", "--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="],
    "config_writer": "alertmanager:alertmanager_config",
    "ready_path": "/-/ready",
}

//! The program as an operator starts it, alone, with its settings from the environment. Every service's `main` is
//! the same call, so what holds here holds for all of them.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_db"));
    command.env_clear().env("PORT", "0").env("DATA_DIR", data);
    command
}

#[tokio::test]
async fn it_logs_json_answers_and_ends_with_0_on_sigterm() {
    let folder = tempfile::tempdir().expect("folder");
    let mut child = command(folder.path()).stdout(Stdio::piped()).spawn().expect("start");
    let mut log = BufReader::new(child.stdout.take().expect("stdout"));
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).expect("line") > 0, "it ended");
        let line: Value = serde_json::from_str(&line).expect("a JSON line");
        assert_eq!(line["service"], "db");
        for field in ["timestamp", "level", "message"] {
            assert!(line[field].is_string(), "{line}");
        }
        if line["message"] == "listening" {
            break line["address"].as_str().expect("address").to_owned();
        }
    };
    let http = kit::client::build(Duration::from_secs(5)).expect("client");
    let answer = http.get(format!("http://{address}/api/v1/health")).send().await.expect("answer");
    assert_eq!(answer.status(), 200);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("log");
    assert_eq!(child.wait().expect("wait").code(), Some(0), "{rest}");
}

#[test]
fn what_keeps_it_from_starting_is_said_on_stderr_with_exit_1() {
    let folder = tempfile::tempdir().expect("folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = taken.local_addr().expect("address").port().to_string();
    let check = |name: &str, value: &str, part: &str| {
        let output = command(folder.path()).env(name, value).output().expect("run");
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(part), "{text}");
    };
    check("PORT", &port, "the port is taken");
    check("PORT", "many", "PORT");
    check("LISTEN_ADDRESS", "0.0.0.0", "SERVICE_AUTH_TOKEN");
    check("LOG_LEVEL", "loud=enough=", "LOG_LEVEL");
}

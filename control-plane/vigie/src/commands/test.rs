//! `vigie test`: rule unit tests.

use super::Answer;
use rules::unittest::{Report, run_file};
use serde_json::json;
use std::path::PathBuf;

pub(super) fn test(files: &[PathBuf], ignore_unknown: bool) -> Answer {
    let (mut text, mut passed, mut failed) = (String::new(), 0, 0);
    let mut json = Vec::new();
    for path in files {
        let name = path.display();
        match run_file(path, ignore_unknown) {
            Ok(report) => {
                let Report { passed: good, failures } = report;
                text.push_str(&format!("{name}: {good} passed, {} failed\n", failures.len()));
                for failure in &failures {
                    text.push_str(&format!("{failure}\n"));
                }
                (passed, failed) = (passed + good, failed + failures.len());
                json.push(json!({"file": name.to_string(), "passed": good, "failures": failures}));
            }
            Err(problems) => {
                failed += 1;
                text.push_str(&format!("{problems}\n"));
                json.push(json!({"file": name.to_string(), "problems": problems}));
            }
        }
    }
    text.push_str(&format!("{passed} passed, {failed} failed\n"));
    Answer { good: failed == 0, text, json: json!({"passed": passed, "failed": failed, "files": json}) }
}

//! Runs Prometheus's own test scripts, and ours, against the engine.
//!
//! Ours are in `tests/scripts` and must all pass. Prometheus's come from `PROMQLTEST_DIR`, by default
//! `$SUITES_DIR/prometheus-promqltest/testdata` (`SUITES_DIR` defaults to `../shared/suites` beside the
//! repository); what fails of them must stand in `CONFORMANCE.md`, and what stands there must fail, so that the
//! file is true and only ever gets shorter. The last line says `N passed, N failed`.

#![expect(clippy::print_stdout, reason = "a runner reports what it ran")]

mod nhcb;
mod run;
mod script;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

#[expect(clippy::disallowed_methods, reason = "tests find the suites by environment variables")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn suites() -> PathBuf {
    variable("SUITES_DIR").map_or_else(|| Path::new(HERE).join("../../../shared/suites"), PathBuf::from)
}

/// Scripts of a folder, by name.
fn scripts(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut out: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    out.retain(|p| p.extension().is_some_and(|e| e == "test"));
    out.sort();
    out
}

#[derive(Default)]
struct Total {
    passed: usize,
    failed: BTreeSet<String>,
}

impl Total {
    fn run(&mut self, path: &Path) {
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) => {
                println!("FAIL {name}:0 cannot be read: {e}");
                self.failed.insert(format!("{name}:0"));
                return;
            }
        };
        let report = run::run(&text);
        println!("{name}: {} passed, {} failed", report.passed, report.failed.len());
        self.passed += report.passed;
        for (line, why) in report.failed {
            println!("FAIL {name}:{line} {why}");
            self.failed.insert(format!("{name}:{line}"));
        }
    }
}

/// The failures that `CONFORMANCE.md` admits: its list items like `- functions.test:12`.
fn admitted() -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(HERE).join("CONFORMANCE.md")).unwrap_or_default();
    text.lines()
        .filter_map(|l| l.strip_prefix("- "))
        .filter(|l| l.contains(".test:"))
        .map(ToOwned::to_owned)
        .collect()
}

/// Scripts that a runner must accept, and others that it must find fault with.
fn self_test() -> Vec<String> {
    let path = suites().join("prometheus-promqltest/runner_selftest.json");
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    let table: serde_json::Value = serde_json::from_str(&text).expect("the table is JSON");
    let mut wrong = Vec::new();
    for case in table["cases"].as_array().into_iter().flatten() {
        let name = case["name"].as_str().unwrap_or("");
        let must_fail = case["expectedError"].as_str().is_some_and(|e| !e.is_empty());
        let report = run::run(case["input"].as_str().unwrap_or(""));
        let failure = report.failed.into_iter().map(|(_, why)| why).next();
        match (failure, must_fail) {
            (None, true) => wrong.push(format!("{name}: must fail with {}", case["expectedError"])),
            (Some(why), false) => wrong.push(format!("{name}: must pass, but {why}")),
            _ => {}
        }
    }
    wrong
}

/// Runners such as nextest ask a binary for its tests before they run it; this one is a single test.
fn asked_for_list() -> bool {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let list = args.iter().any(|a| a == "--list");
    if list && !args.iter().any(|a| a == "--ignored") {
        println!("conformance: test");
    }
    list
}

fn main() -> ExitCode {
    if asked_for_list() {
        return ExitCode::SUCCESS;
    }
    let mut own = Total::default();
    scripts(&Path::new(HERE).join("tests/scripts")).iter().for_each(|p| own.run(p));
    let mut good = own.failed.is_empty() && own.passed > 0;

    let dir = variable("PROMQLTEST_DIR")
        .map_or_else(|| suites().join("prometheus-promqltest/testdata"), PathBuf::from);
    let found = scripts(&dir);
    let mut total = Total::default();
    if found.is_empty() {
        println!("skipped: no scripts in {}", dir.display());
        good &= variable("SUITES_REQUIRED").as_deref() != Some("1");
    } else {
        for wrong in self_test() {
            println!("SELFTEST {wrong}");
            good = false;
        }
        found.iter().for_each(|p| total.run(p));
        let admitted = admitted();
        for new in total.failed.difference(&admitted) {
            println!("REGRESSION {new} fails and CONFORMANCE.md does not say so");
            good = false;
        }
        for old in admitted.difference(&total.failed) {
            println!("IMPROVED {old} passes now: take it out of CONFORMANCE.md");
            good = false;
        }
    }
    println!("{} passed, {} failed", own.passed + total.passed, own.failed.len() + total.failed.len());
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! The rules that the house keeps: who may use whom, how files begin, how long they may be, what they are called.

use crate::platform::root;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The rooms by layer; each uses only those below it.
const LAYERS: [(&str, u8); 16] = [
    ("model", 0),
    ("template", 0),
    ("kit", 0),
    ("cache", 0),
    ("llm", 0),
    ("tsdb", 1),
    ("promql", 1),
    ("state", 1),
    ("collect", 2),
    ("rules", 2),
    ("alerting", 2),
    ("budget", 2),
    ("web", 3),
    ("vigie", 4),
    ("penpal", 5),
    // A later room, named so that it finds its place.
    ("deploy", 2),
];

/// Within a layer, who may use whom all the same.
const BESIDE: [(&str, &str); 2] = [("cache", "kit"), ("llm", "kit")];

/// What a service may use of our own; `penpal` alone uses services.
const SERVICES_USE: [&str; 3] = ["kit", "cache", "llm"];

/// What layer 1 does without: it computes, and is given time and disk.
const NOT_BELOW: [&str; 7] = ["tokio", "kit", "axum", "reqwest", "hyper", "tower", "tonic"];

/// Lines that a file may have outside tests.
const MOST_LINES: usize = 800;

/// Names that say nothing of what is inside.
const NO_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "misc", "shared"];

/// What makes a static more than a table: it can change.
const CHANGES: [&str; 8] = ["static mut ", "Mutex", "RwLock", "Atomic", "Cell", "Once", "Lazy", "DashMap"];

#[derive(Debug)]
struct Crate {
    name: String,
    folder: PathBuf,
    uses: BTreeSet<String>,
}

/// The workspace's crates with what they depend on outside tests.
fn crates() -> Vec<Crate> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let read = |p: &Value| {
        let uses = p["dependencies"].as_array().expect("dependencies").iter();
        let uses = uses.filter(|d| d["kind"] != "dev").filter_map(|d| d["name"].as_str().map(str::to_owned));
        let manifest = Path::new(p["manifest_path"].as_str().expect("a path"));
        Crate {
            name: p["name"].as_str().expect("a name").to_owned(),
            folder: manifest.parent().expect("a folder").to_owned(),
            uses: uses.collect(),
        }
    };
    packages.iter().map(read).collect()
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|(n, _)| *n == name).map(|(_, layer)| *layer)
}

/// Why `user` may not use `used`, both crates of ours.
fn refused(user: &str, used: &str) -> Option<String> {
    if BESIDE.contains(&(user, used)) || user == "penpal" {
        return None;
    }
    match (layer(user), layer(used)) {
        (Some(above), Some(below)) if above > below => None,
        (Some(above), Some(below)) => Some(format!("{user} (layer {above}) uses {used} (layer {below})")),
        (None, _) if SERVICES_USE.contains(&used) => None,
        (None, _) => Some(format!("the service {user} uses {used}: only {SERVICES_USE:?} are for services")),
        (Some(_), None) => Some(format!("{user} uses the service {used}: services are called by HTTP")),
    }
}

#[test]
fn a_crate_uses_only_what_is_below_it() {
    let crates = crates();
    let ours: BTreeSet<&str> = crates.iter().map(|c| c.name.as_str()).collect();
    assert!(ours.len() >= 15, "only {ours:?}");
    let mut problems = Vec::new();
    for c in &crates {
        let folder = c.folder.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let side = c.folder.parent().and_then(Path::file_name).and_then(|n| n.to_str()).unwrap_or_default();
        if folder != c.name {
            problems.push(format!("the crate {} is in the folder {folder}", c.name));
        }
        if side == "control-plane" && layer(&c.name).is_none() {
            problems.push(format!("{} has no layer: add it to the table, and to ARCHITECTURE.md", c.name));
        }
        problems.extend(
            c.uses.iter().filter(|u| ours.contains(u.as_str())).filter_map(|used| refused(&c.name, used)),
        );
        if layer(&c.name) == Some(1) {
            let too_much = NOT_BELOW.iter().filter(|n| c.uses.contains(**n));
            problems.extend(too_much.map(|n| format!("{} is in layer 1 and uses {n}", c.name)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_table_of_layers_refuses_what_it_should() {
    let check = |user: &str, used: &str, fine: bool| {
        assert_eq!(refused(user, used).is_none(), fine, "{user} uses {used}");
    };
    check("rules", "promql", true);
    check("rules", "alerting", false);
    check("tsdb", "collect", false);
    check("llm", "kit", true);
    check("kit", "llm", false);
    check("ai", "llm", true);
    check("ai", "budget", false);
    check("ai", "db", false);
    check("web", "ai", false);
    check("penpal", "vigie", true);
}

/// Every Rust file of the repository, with its text.
fn sources() -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![root().join("control-plane"), root().join("services")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                all.insert(path.strip_prefix(root()).expect("inside").to_owned(), text);
            }
        }
    }
    assert!(all.len() > 150, "only {} files", all.len());
    all
}

/// Files of tests: they may be long, and a unit test's module is explained by the module beside it.
fn is_test(path: &Path) -> bool {
    let part = |name: &str| path.components().any(|c| c.as_os_str() == name);
    part("tests") || path.file_name().is_some_and(|n| n == "tests.rs")
}

#[test]
fn every_module_says_what_it_is() {
    let missing: Vec<String> = sources()
        .iter()
        .filter(|(path, text)| path.file_name().is_some_and(|n| n != "tests.rs") && !text.starts_with("//! "))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(missing.is_empty(), "these do not begin with `//! `:\n{}", missing.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|(path, text)| !is_test(path) && text.lines().count() > MOST_LINES)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "more than {MOST_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn names_say_what_is_inside() {
    let says_nothing = |path: &&PathBuf| {
        path.components().any(|c| {
            let name = c.as_os_str().to_str().unwrap_or_default();
            NO_NAMES.contains(&name.strip_suffix(".rs").unwrap_or(name)) || name == "mod.rs"
        })
    };
    let files = sources();
    let bad: Vec<&PathBuf> = files.keys().filter(says_nothing).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn nothing_is_ignored_and_nothing_is_global() {
    let mut problems = Vec::new();
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (i, line) in lines.iter().enumerate() {
            let mut complain = |what: &str| problems.push(format!("{}:{}: {what}", path.display(), i + 1));
            if line.starts_with("#[ignore") {
                complain("a test that never runs");
            }
            let is_static = line.trim_start_matches("pub ").starts_with("static ");
            let declared = lines[i..].join(" ").split('=').next().unwrap_or_default().to_owned();
            if is_static && CHANGES.iter().any(|c| declared.contains(c)) {
                complain("state has one owner: what changes is not global");
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

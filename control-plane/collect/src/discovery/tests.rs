use super::*;
use std::path::Path;

fn look_at(dir: &Path, known: &FoundGroups) -> (Option<FoundGroups>, Vec<String>) {
    look(&[dir.join("*.json"), dir.join("one.yml")], known)
}

fn shown(found: &FoundGroups) -> Vec<String> {
    let base = |name: &str| name.rsplit('/').next().unwrap_or("").to_owned();
    found
        .iter()
        .flat_map(|(name, f)| {
            f.groups.iter().map(move |g| format!("{} {:?} {:?}", base(name), g.targets, g.labels.get("env")))
        })
        .collect()
}

#[test]
fn files_are_read_when_they_change_and_broken_ones_keep_what_was_good() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("writes");
    write("a.json", r#"[{"targets": ["h:1", "h:2"], "labels": {"env": "prod"}}]"#);
    write("one.yml", "- targets: ['h:3']\n");
    write("other.yml", "- targets: ['h:9']\n");
    let (first, wrong) = look_at(dir.path(), &FoundGroups::default());
    let first = first.expect("something new");
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(shown(&first), [r#"a.json ["h:1", "h:2"] Some("prod")"#, r#"one.yml ["h:3"] None"#]);
    let meta = &first.values().next().expect("one").groups[0].labels["__meta_filepath"];
    assert_eq!(*meta, dir.path().join("a.json").display().to_string());
    assert!(look_at(dir.path(), &first).0.is_none(), "nothing changed");

    write("a.json", r#"[{"targets": ["h:1"], "lables": {}}]"#);
    write("one.yml", "- targets: ['h:4']\n");
    let (second, wrong) = look_at(dir.path(), &first);
    let second = second.expect("something new");
    assert_eq!(shown(&second), [r#"a.json ["h:1", "h:2"] Some("prod")"#, r#"one.yml ["h:4"] None"#]);
    assert!(wrong.len() == 1 && wrong[0].contains("a.json:1:23: unknown field `lables`"), "{wrong:?}");

    std::fs::remove_file(dir.path().join("a.json")).expect("removes");
    let (third, wrong) = look_at(dir.path(), &second);
    assert_eq!((shown(&third.expect("something new")).len(), wrong.len()), (1, 0));
}

#[test]
fn patterns_are_those_of_prometheus() {
    for (pattern, good) in [
        ("a.json", true),
        ("dir/*.yml", true),
        ("dir/a*b.yaml", true),
        ("*/a.json", false),
        ("a*b*.json", false),
        ("a.txt", false),
        ("a", false),
    ] {
        assert_eq!(is_pattern(pattern), good, "{pattern}");
    }
}

use super::*;

const DEMO: Program = Program {
    name: "demo",
    about: "shows a program",
    port: 3999,
    settings: &["DATA_DIR", "DB_SERVICE_URL"],
    routes: &[("GET", "/things", "all things")],
    examples: "  curl http://127.0.0.1:3999/\n",
};

fn flags(args: &[&str]) -> anyhow::Result<Asked> {
    DEMO.flags("1.2.3", Settings::default(), args.iter().map(|a| (*a).to_owned()))
}

#[test]
fn a_flag_beats_the_environment() {
    let settings = Settings::from_pairs([("PORT", "1")]);
    let asked = DEMO.flags("1", settings, ["--port=2".to_owned()].into_iter()).expect("valid");
    let Asked::Run(settings) = asked else { panic!("it should run") };
    let place = DEMO.place(&settings, false, &mut Problems::default());
    assert_eq!(place.address.to_string(), "127.0.0.1:2");
}

#[test]
fn help_and_version_print_and_end() {
    let text = |args: &[&str]| match flags(args) {
        Ok(Asked::Print(text)) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(text(&["--version"]), "demo 1.2.3");
    let help = text(&["--help"]);
    for part in
        ["shows a program", "--data-dir", "SERVICE_AUTH_TOKEN", "DB_SERVICE_URL", "[3999]", "/things", "curl"]
    {
        assert!(help.contains(part), "{part}: {help}");
    }
}

#[test]
fn an_unknown_flag_is_one_line() {
    for args in [&["--prot", "1"][..], &["--port"][..]] {
        assert!(!flags(args).expect_err("refused").to_string().contains('\n'));
    }
}

#[test]
fn nobody_listens_beyond_loopback_without_a_token() {
    let check = |pairs: &[(&str, &str)], public, problems_expected| {
        let mut problems = Problems::default();
        DEMO.place(&Settings::from_pairs(pairs.iter().copied()), public, &mut problems);
        assert_eq!(problems.len(), problems_expected, "{pairs:?}");
    };
    check(&[], false, 0);
    check(&[("LISTEN_ADDRESS", "0.0.0.0")], false, 1);
    check(&[("LISTEN_ADDRESS", "0.0.0.0")], true, 0);
    check(&[("LISTEN_ADDRESS", "0.0.0.0"), ("SERVICE_AUTH_TOKEN", "t")], false, 0);
    check(&[("LISTEN_ADDRESS", "nowhere"), ("PORT", "x")], false, 2);
}

#[test]
fn a_data_directory_has_one_user() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("data");
    let first = DataDir::claim(&path).expect("free");
    let error = DataDir::claim(&path).expect_err("in use").to_string();
    assert!(error.contains("in use by another process") && !error.contains('\n'), "{error}");
    drop(first);
    DataDir::claim(&path).expect("free again");
}

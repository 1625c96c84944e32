//! Changes are grouped, isolated, and on disk when they say so.

use super::*;

#[test]
fn a_failing_change_undoes_itself_alone() {
    let dir = tempfile::tempdir().expect("dir");
    let state = State::open(dir.path()).expect("open");
    let good = state.set_mark("a", "1");
    let bad: Pending<()> = state.write(|c| {
        c.execute("INSERT OR REPLACE INTO marks VALUES ('a', '2')", [])?;
        Err(StateError::Sql("on purpose".into()))
    });
    let panics: Pending<()> = state.write(|_| panic!("on purpose"));
    let after = state.set_mark("b", "3");
    assert!(good.wait().is_ok() && bad.wait().is_err() && panics.wait().is_err() && after.wait().is_ok());
    assert_eq!(state.mark("a").expect("read").as_deref(), Some("1"));
    assert_eq!(state.mark("b").expect("read").as_deref(), Some("3"));
    state.close();
    assert!(matches!(state.set_mark("c", "4").wait(), Err(StateError::Closed)));
}

#[test]
fn what_many_threads_write_at_once_is_all_there_after_reopening() {
    let dir = tempfile::tempdir().expect("dir");
    let state = State::open(dir.path()).expect("open");
    std::thread::scope(|scope| {
        for t in 0..8 {
            let state = state.clone();
            scope.spawn(move || {
                for i in 0..50 {
                    state.set_mark(&format!("{t}/{i}"), "x").wait().expect("written");
                }
            });
        }
    });
    state.close();
    let state = State::open(dir.path()).expect("reopen");
    let count: i64 =
        state.read(|c| Ok(c.query_row("SELECT count(*) FROM marks", [], |r| r.get(0))?)).expect("read");
    assert_eq!(count, 400);
    state.close();
}

#[test]
fn tables_of_a_newer_program_are_refused_with_a_sentence() {
    let dir = tempfile::tempdir().expect("dir");
    let state = State::open(dir.path()).expect("open");
    let newer =
        state.write(|c| Ok(c.execute("UPDATE versions SET version = 99 WHERE module = 'marks'", [])?));
    newer.wait().expect("written");
    state.close();
    let error = State::open(dir.path()).expect_err("refused").to_string();
    assert_eq!(
        error,
        "the tables of marks are of version 99, newer than this program's 1: run a newer program"
    );
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    std::fs::write(dir.path().join("state.db"), vec![7u8; 8192]).expect("write");
    assert!(matches!(State::open(dir.path()), Err(StateError::Open { .. } | StateError::Damaged(_))));
}

#[test]
fn a_full_disk_is_relieved_once_and_nothing_is_lost_or_half_done() {
    let dir = tempfile::tempdir().expect("dir");
    let mut connection = Connection::open(dir.path().join("full.db")).expect("open");
    configure(&connection).expect("configured");
    connection.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, filling TEXT)").expect("table");
    let pages = |c: &Connection, n: i64| c.pragma_update(None, "max_page_count", n).expect("limit");
    let count =
        |c: &Connection| c.query_row("SELECT count(*) FROM t", [], |r| r.get::<_, i64>(0)).expect("count");
    let batch = || {
        let (mut jobs, mut told) = (Vec::<Box<dyn Job>>::new(), Vec::new());
        for _ in 0..20 {
            let (tell, answer) = futures_channel::oneshot::channel();
            let change =
                |c: &Connection| Ok(c.execute("INSERT INTO t (filling) VALUES (?1)", ["x".repeat(3000)])?);
            jobs.push(Box::new(Change { change, outcome: Err(StateError::Closed), tell }));
            told.push(Pending(answer));
        }
        (jobs, told)
    };
    pages(&connection, 10);
    let (jobs, told) = batch();
    commit(&mut connection, jobs, &mut |_| false);
    assert!(told.into_iter().all(|t| matches!(t.wait(), Err(StateError::Full))));
    assert_eq!(count(&connection), 0, "nothing is half done");
    let (jobs, told) = batch();
    let mut relieved = 0;
    commit(&mut connection, jobs, &mut |c| {
        relieved += 1;
        pages(c, 1000);
        true
    });
    assert!(told.into_iter().all(|t| t.wait().is_ok()));
    assert_eq!((count(&connection), relieved), (20, 1));
}

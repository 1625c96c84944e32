use super::*;

fn open(path: &Path) -> Result<(Journal<u32>, Vec<u32>), JournalError> {
    Journal::open(path)
}

#[test]
fn lines_come_back_and_a_torn_one_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    let (mut journal, lines) = open(&path).unwrap();
    assert!(lines.is_empty());
    journal.add(&1).unwrap();
    journal.add(&22).unwrap();
    drop(journal);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"33").unwrap();
    let (mut journal, lines) = open(&path).unwrap();
    assert_eq!(lines, [1, 22]);
    journal.add(&4).unwrap();
    drop(journal);
    assert_eq!(open(&path).unwrap().1, [1, 22, 4]);
}

#[test]
fn a_damaged_line_is_named_and_a_second_user_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("j");
    fs::write(&path, "1\nx\n").unwrap();
    assert!(matches!(open(&path), Err(JournalError::Damaged { line: 2, .. })));
    fs::write(&path, "").unwrap();
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(JournalError::InUse { .. })));
    drop(first);
    open(&path).unwrap();
}

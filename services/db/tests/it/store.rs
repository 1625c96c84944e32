//! One behaviour suite for every implementation of [`DocumentStore`].

use db::store::{
    Body, Collection, DocumentStore, FieldDef, Filter, Kind, Query, Scalar, Sqlite, StoreError, Test,
};
use proptest::prelude::*;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

const THINGS: &Collection = &Collection {
    name: "things",
    fields: &[
        FieldDef { name: "key", kind: Kind::Text, required: true, unique: true },
        FieldDef { name: "size", kind: Kind::Int, required: true, unique: false },
        FieldDef { name: "red", kind: Kind::Bool, required: false, unique: false },
        FieldDef { name: "count", kind: Kind::Int, required: false, unique: false },
    ],
};

struct Stores {
    all: Vec<Arc<dyn DocumentStore>>,
    _folder: tempfile::TempDir,
}

async fn stores() -> Stores {
    let folder = tempfile::tempdir().expect("folder");
    let sqlite = Sqlite::open(&folder.path().join("documents.sqlite")).expect("open");
    let all: Vec<Arc<dyn DocumentStore>> = vec![Arc::new(sqlite)];
    for store in &all {
        store.ensure(THINGS).await.expect("ensure");
        store.ensure(THINGS).await.expect("ensure twice");
    }
    Stores { all, _folder: folder }
}

fn thing(key: &str, size: i64) -> Body {
    let json = json!({"key": key, "size": size, "note": {"any": ["thing"]}});
    json.as_object().expect("an object").clone()
}

#[tokio::test]
async fn a_document_comes_back_as_it_was_put() {
    for s in stores().await.all {
        let put = s.insert(THINGS, "1".into(), thing("a", 5)).await.expect("insert");
        assert_eq!(put.revision, 1);
        assert_eq!(s.get(THINGS, "1".into()).await.expect("get"), Some(put));
        assert_eq!(s.get(THINGS, "2".into()).await.expect("get"), None);
        assert!(s.delete(THINGS, "1".into()).await.expect("delete"));
        assert!(!s.delete(THINGS, "1".into()).await.expect("delete"));
        s.ping().await.expect("ping");
    }
}

#[tokio::test]
async fn what_is_unique_stays_unique() {
    for s in stores().await.all {
        s.insert(THINGS, "1".into(), thing("a", 5)).await.expect("insert");
        let same_id = s.insert(THINGS, "1".into(), thing("b", 5)).await;
        assert!(
            matches!(same_id, Err(StoreError::Duplicate { ref field, .. }) if field == "id"),
            "{same_id:?}"
        );
        let same_key = s.insert(THINGS, "2".into(), thing("a", 5)).await;
        assert!(
            matches!(same_key, Err(StoreError::Duplicate { ref field, .. }) if field == "key"),
            "{same_key:?}"
        );
        s.insert(THINGS, "2".into(), thing("b", 5)).await.expect("insert");
        let changed = s.replace(THINGS, "2".into(), 1, thing("a", 5)).await;
        assert!(matches!(changed, Err(StoreError::Duplicate { .. })), "{changed:?}");
    }
}

#[tokio::test]
async fn of_two_changes_of_one_revision_one_wins() {
    for s in stores().await.all {
        s.insert(THINGS, "1".into(), thing("a", 5)).await.expect("insert");
        let changes = (0..10).map(|i| s.replace(THINGS, "1".into(), 1, thing("a", i)));
        let done = futures_util::future::join_all(changes).await;
        assert_eq!(done.iter().filter(|d| d.is_ok()).count(), 1);
        assert!(done.iter().any(|d| matches!(d, Err(StoreError::Conflict { .. }))));
        let missing = s.replace(THINGS, "9".into(), 1, thing("z", 1)).await;
        assert!(matches!(missing, Err(StoreError::Missing { .. })));
    }
}

#[tokio::test]
async fn every_increment_counts() {
    for s in stores().await.all {
        s.insert(THINGS, "1".into(), thing("a", 5)).await.expect("insert");
        let adds = (0..20).map(|_| s.increment(THINGS, "1".into(), "count", 2));
        let counts = futures_util::future::join_all(adds).await;
        assert_eq!(counts.into_iter().map(|c| c.expect("count")).max(), Some(40));
        let document = s.get(THINGS, "1".into()).await.expect("get").expect("there");
        assert_eq!((document.body["count"].as_i64(), document.revision), (Some(40), 21));
        assert!(matches!(s.increment(THINGS, "9".into(), "count", 1).await, Err(StoreError::Missing { .. })));
        assert!(matches!(s.increment(THINGS, "1".into(), "note", 1).await, Err(StoreError::Invalid(_))));
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    for s in stores().await.all {
        for i in 0..25 {
            s.insert(THINGS, format!("{i:02}"), thing(&format!("k{i}"), i % 4)).await.expect("insert");
        }
        for descending in [false, true] {
            let mut seen: Vec<(i64, String)> = Vec::new();
            loop {
                let after = seen.last().map(|(size, id)| (Some(Scalar::Int(*size)), id.clone()));
                let query = Query { sort: Some("size"), descending, after, limit: 7, ..Query::default() };
                let page = s.find(THINGS, query).await.expect("find");
                seen.extend(page.iter().map(|d| (d.body["size"].as_i64().expect("size"), d.id.clone())));
                if page.len() < 7 {
                    break;
                }
            }
            let mut expected = seen.clone();
            expected.sort();
            if descending {
                expected.reverse();
            }
            assert_eq!(seen, expected);
            assert_eq!(seen.len(), 25);
        }
    }
}

#[tokio::test]
async fn what_two_stores_might_understand_differently_is_refused() {
    for s in stores().await.all {
        let refused = |r: Result<(), StoreError>| assert!(matches!(r, Err(StoreError::Invalid(_))), "{r:?}");
        let filters = |f: Filter| vec![f];
        refused(s.count(THINGS, filters(Filter::is("note", "x"))).await.map(drop));
        refused(s.count(THINGS, filters(Filter::is("size", "5"))).await.map(drop));
        let by = |sort| Query { sort: Some(sort), limit: 1, ..Query::default() };
        refused(s.find(THINGS, by("red")).await.map(drop));
        refused(s.find(THINGS, by("nothing")).await.map(drop));
        let mut untyped = thing("a", 1);
        untyped.insert("size".into(), json!("1"));
        refused(s.insert(THINGS, "1".into(), untyped).await.map(drop));
        let mut without = thing("a", 1);
        without.remove("key");
        refused(s.insert(THINGS, "1".into(), without).await.map(drop));
        let mut large = thing("a", 1);
        large.insert("text".into(), json!("x".repeat(2 << 20)));
        refused(s.insert(THINGS, "1".into(), large).await.map(drop));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, i64, Option<bool>),
    Replace(u8, i64),
    Delete(u8),
    Increment(u8, i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 0..6u8;
    let step = prop_oneof![
        (id.clone(), -3..3i64, proptest::option::of(any::<bool>()))
            .prop_map(|(i, n, r)| Step::Insert(i, n, r)),
        (id.clone(), -3..3i64).prop_map(|(i, n)| Step::Replace(i, n)),
        id.clone().prop_map(Step::Delete),
        (id, -3..3i64).prop_map(|(i, n)| Step::Increment(i, n)),
    ];
    proptest::collection::vec(step, 1..40)
}

/// The same history on a plain map and on the store ends in the same documents and the same counts.
async fn history(store: &dyn DocumentStore, steps: &[Step]) {
    let mut model: BTreeMap<String, (i64, Body)> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Insert(i, size, red) => {
                let mut body = thing(&format!("k{i}"), *size);
                if let Some(red) = red {
                    body.insert("red".into(), json!(red));
                }
                let done = store.insert(THINGS, i.to_string(), body.clone()).await;
                assert_eq!(done.is_ok(), !model.contains_key(&i.to_string()));
                model.entry(i.to_string()).or_insert((1, body));
            }
            Step::Replace(i, size) => {
                let Some((revision, old)) = model.get_mut(&i.to_string()) else { continue };
                let body = thing(&format!("k{i}"), *size);
                store.replace(THINGS, i.to_string(), *revision, body.clone()).await.expect("replace");
                (*revision, *old) = (*revision + 1, body);
            }
            Step::Delete(i) => {
                let gone = store.delete(THINGS, i.to_string()).await.expect("delete");
                assert_eq!(gone, model.remove(&i.to_string()).is_some());
            }
            Step::Increment(i, by) => {
                let Some((revision, body)) = model.get_mut(&i.to_string()) else { continue };
                let value = body.get("count").and_then(|v| v.as_i64()).unwrap_or(0) + by;
                body.insert("count".into(), json!(value));
                *revision += 1;
                let got = store.increment(THINGS, i.to_string(), "count", *by).await.expect("increment");
                assert_eq!(got, value);
            }
        }
    }
    let query = Query { limit: 100, ..Query::default() };
    let all = store.find(THINGS, query).await.expect("find");
    let all: BTreeMap<String, (i64, Body)> = all.into_iter().map(|d| (d.id, (d.revision, d.body))).collect();
    assert_eq!(all, model);
    let check = async |filter: Filter, fits: &dyn Fn(&Body) -> bool| {
        let wanted = model.values().filter(|(_, b)| fits(b)).count() as u64;
        assert_eq!(store.count(THINGS, vec![filter.clone()]).await.expect("count"), wanted, "{filter:?}");
    };
    check(Filter::is("red", true), &|b| b.get("red") == Some(&json!(true))).await;
    check(Filter::is("size", 1), &|b| b["size"] == 1).await;
    check(Filter { field: "size", test: Test::Range(Some(Scalar::Int(-1)), Some(Scalar::Int(2))) }, &|b| {
        (-1..2).contains(&b["size"].as_i64().expect("size"))
    })
    .await;
    check(Filter { field: "count", test: Test::Range(None, Some(Scalar::Int(1))) }, &|b| {
        b.get("count").and_then(|v| v.as_i64()).is_some_and(|n| n < 1)
    })
    .await;
    check(Filter { field: "key", test: Test::In(vec!["k1".into(), "k2".into()]) }, &|b| {
        b["key"] == "k1" || b["key"] == "k2"
    })
    .await;
    check(Filter { field: "key", test: Test::In(Vec::new()) }, &|_| false).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_history_ends_as_on_a_plain_map(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("runtime");
        runtime.block_on(async {
            for store in stores().await.all {
                history(store.as_ref(), &steps).await;
            }
        });
    }
}

#[tokio::test]
async fn documents_survive_the_process_and_a_later_format_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("documents.sqlite");
    {
        let store = Sqlite::open(&path).expect("open");
        store.ensure(THINGS).await.expect("ensure");
        store.insert(THINGS, "1".into(), thing("a", 5)).await.expect("insert");
    }
    let store = Sqlite::open(&path).expect("open again");
    assert!(store.get(THINGS, "1".into()).await.expect("get").is_some());
    drop(store);
    let later = rusqlite::Connection::open(&path).expect("open");
    later.pragma_update(None, "user_version", 99).expect("set");
    drop(later);
    let error = Sqlite::open(&path).expect_err("refused").to_string();
    assert!(error.contains("format 99"), "{error}");
}

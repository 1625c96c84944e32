//! What is done to the store over HTTP: deletions, snapshots, flushes, and what fills it.

use crate::plane::{NOW, Setup};
use model::{Append, Batch, Labels};
use serde_json::json;
use std::sync::Arc;
use tsdb::{StdDisk, Tsdb, TsdbConfig};

fn store(dir: &std::path::Path) -> Tsdb {
    let config = TsdbConfig { sync_every: None, ..TsdbConfig::new(dir) };
    let db = Tsdb::open(config, Arc::new(StdDisk)).expect("opens").0;
    for name in ["a", "b"] {
        for i in 0..5 {
            let labels = [("__name__".to_owned(), name.to_owned()), ("i".to_owned(), i.to_string())];
            let series = db.resolve(&Labels::from_pairs(labels)).expect("resolves");
            let mut batch = Batch::at(NOW);
            batch.push(series, f64::from(i));
            db.append(&batch).expect("appends");
        }
    }
    db
}

#[tokio::test]
async fn the_store_is_flushed_copied_and_thinned_out() {
    let scratch = tempfile::tempdir().expect("a directory");
    let db = store(&scratch.path().join("data"));
    let plane = Setup { tsdb: Some(db.clone()), select: Some(Arc::new(db.clone())), ..Setup::default() };
    let vigie = plane.start().await;
    let status = vigie.get("/api/v1/status/tsdb?limit=1").await.json();
    assert_eq!(status["data"]["headStats"]["numSeries"], 10);
    assert_eq!(status["data"]["seriesCountByMetricName"], json!([{"name": "a", "value": 5}]));
    assert_eq!(status["data"]["labelValueCountByLabelName"], json!([{"name": "i", "value": 5}]));

    let page = vigie.get("/series").await;
    assert!(page.text.contains("10 series are active") && page.text.contains("__name__=a"), "{}", page.text);

    let flushed = vigie.send("POST", "/api/vigie/v1/tsdb/flush", &serde_json::Value::Null).await;
    assert_eq!((flushed.status, flushed.json()["blocks_written"].as_u64()), (200, Some(1)));

    let made = vigie.send("POST", "/api/v1/admin/tsdb/snapshot", &serde_json::Value::Null).await.json();
    let name = made["data"]["name"].as_str().expect("a name").to_owned();
    let copy = scratch.path().join("data/snapshots").join(name);
    let (copy, _) = Tsdb::open(TsdbConfig::new(copy), Arc::new(StdDisk)).expect("it is a store");
    assert_eq!(copy.time_range().map(|r| r.1 >= NOW), Some(true));

    for (query, status, says) in [
        ("", 400, "no match[] parameter provided"),
        ("?match[]={i=~\".*\"}", 400, "non-empty matcher"),
        ("?match[]=a&start=5&end=4", 400, "before the start"),
        ("?match[]=b{i!=\"3\"}", 204, ""),
    ] {
        let got = vigie
            .send("POST", &format!("/api/v1/admin/tsdb/delete_series{query}"), &serde_json::Value::Null)
            .await;
        assert_eq!(got.status, status, "{query}");
        assert!(got.text.contains(says), "{query}: {}", got.text);
    }
    let count =
        vigie.get(&format!("/api/v1/query?query=count({{i=~\".%2B\"}})&time={}", NOW / 1000)).await.json();
    assert_eq!(count["data"]["result"][0]["value"][1], "6", "{count}");
    let got = vigie.send("POST", "/api/v1/admin/tsdb/clean_tombstones", &serde_json::Value::Null).await;
    assert_eq!(got.status, 204);
}

#[tokio::test]
async fn without_a_store_of_its_own_vigie_says_so() {
    let vigie = Setup::default().start().await;
    let got = vigie.get("/api/v1/status/tsdb").await;
    assert_eq!(got.status, 503);
    assert!(got.text.contains("is to be asked itself"), "{}", got.text);
}

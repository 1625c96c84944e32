use super::*;

#[tokio::test]
async fn it_never_holds_more_than_its_bounds() {
    let cache = Embedded::new(Clock::system());
    let value = vec![0u8; crate::MAX_VALUE_BYTES];
    for i in 0..100u64 {
        cache.set(&format!("k{i}"), &value, Duration::from_secs(60 + i)).await.expect("set");
    }
    assert!(cache.table().0.bytes <= MAX_BYTES);
    assert_eq!(cache.get("k0").await.expect("get"), None, "what ends first goes first");
    assert!(cache.get("k99").await.expect("get").is_some());
    for i in 0..100u64 {
        cache.delete(&format!("k{i}")).await.expect("delete");
    }
    assert_eq!(cache.table().0.bytes, 0);
    assert!(cache.table().0.by_end.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_takes_no_room() {
    let cache = Embedded::new(Clock::simulated(0));
    cache.set("a", b"1", Duration::from_secs(1)).await.expect("set");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cache.get("b").await.expect("get"), None);
    assert_eq!(cache.table().0.entries.len(), 0);
}

//! Taking requests, against a real store on a disk in memory.

use super::{wire::put_varint, *};
use crate::testing::Store;
use model::{
    Append, AppendError, Appended, Batch, Exemplar, ExemplarReject, ExemplarSink, Labels, NoExemplars,
    SeriesRef,
};
use proptest::prelude::*;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// A message under construction.
#[derive(Debug, Default, Clone)]
pub(super) struct Message(pub(super) Vec<u8>);

impl Message {
    fn varint(mut self, field: u64, v: u64) -> Self {
        put_varint(&mut self.0, field << 3);
        put_varint(&mut self.0, v);
        self
    }

    fn double(mut self, field: u64, v: f64) -> Self {
        put_varint(&mut self.0, field << 3 | 1);
        self.0.extend(v.to_bits().to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        put_varint(&mut self.0, field << 3 | 2);
        put_varint(&mut self.0, bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn label(self, name: &str, value: &str) -> Self {
        self.bytes(1, &Message::default().bytes(1, name.as_bytes()).bytes(2, value.as_bytes()).0)
    }

    fn sample(self, at: u64, v: f64) -> Self {
        self.bytes(2, &Message::default().double(1, v).varint(2, at).0)
    }

    fn series(self, series: &Message) -> Self {
        self.bytes(1, &series.0)
    }
}

fn named(name: &str) -> Message {
    Message::default().label("__name__", name)
}

fn receiver(append: Arc<dyn Append>) -> Receiver {
    Receiver::new(append, Arc::new(NoExemplars), ReceiverConfig::default())
}

fn packed(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).expect("compresses")
}

fn inbox(receiver: &Receiver, bytes: &[u8]) -> Inbox {
    let mut inbox = receiver.inbox();
    inbox.add(bytes).expect("room");
    inbox
}

async fn write(receiver: &Receiver, protocol: Protocol, body: &Message) -> Outcome {
    receiver.write(protocol, inbox(receiver, &packed(&body.0))).await
}

fn samples(n: u64) -> Outcome {
    Outcome { written: Written { samples: n, ..Written::default() }, refusal: None }
}

fn invalid(outcome: &Outcome) -> &str {
    match &outcome.refusal {
        Some(Refusal::Invalid(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_request_carries_is_told_by_its_headers() {
    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    for (kind, encoding, expect) in [
        (None, None, Some(Protocol::V1)),
        (Some("application/x-protobuf"), Some("snappy"), Some(Protocol::V1)),
        (Some("application/x-protobuf;proto=prometheus.WriteRequest"), Some("snappy"), Some(Protocol::V1)),
        (
            Some("Application/X-Protobuf; charset=utf-8 ; PROTO=\"prometheus.WriteRequest\""),
            None,
            Some(Protocol::V1),
        ),
        (Some(v2), Some("Snappy"), Some(Protocol::V2)),
        (Some(v2), Some("zstd"), None),
        (Some("application/x-protobuf;proto=other.Message"), None, None),
        (Some("application/json"), Some("snappy"), None),
        (Some(""), None, None),
    ] {
        assert_eq!(negotiate(kind, encoding).ok(), expect, "{kind:?} {encoding:?}");
    }
}

#[tokio::test]
async fn samples_are_stored_by_ascending_time_and_known_series_stay_known() {
    let store = Store::new();
    let receiver = receiver(store.append());
    for round in 0..3u64 {
        let mut body = Message::default();
        for name in ["a", "b"] {
            let mut series = named(name).label("z", "1").label("empty", "");
            for i in [1, 0, 2] {
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let v = (round * 10 + i) as f64;
                series = series.sample(1000 + round * 10 + i, v);
            }
            body = body.series(&series);
        }
        assert_eq!(write(&receiver, Protocol::V1, &body).await, samples(6));
    }
    let all = "0@1000 1@1001 2@1002 10@1010 11@1011 12@1012 20@1020 21@1021 22@1022";
    assert_eq!(store.shown(), [format!("a{{z=1}}: {all}"), format!("b{{z=1}}: {all}")]);
    assert_eq!(store.db.stats().log_syncs_total, 3, "each answer waited for the disk");
}

#[tokio::test]
async fn many_times_and_few_series_are_as_good() {
    let store = Store::new();
    let receiver = receiver(store.append());
    let mut body = Message::default();
    for i in 0..3000u64 {
        body = body.series(&named(if i % 2 == 0 { "even" } else { "odd" }).sample(5000 - i, 1.0));
    }
    assert_eq!(write(&receiver, Protocol::V1, &body).await, samples(3000));
    assert_eq!(store.db.stats().samples_appended_total, 3000);
}

#[tokio::test]
async fn labels_may_stand_anywhere_in_their_series() {
    let store = Store::new();
    let receiver = receiver(store.append());
    let apart = named("a").sample(1000, 1.0).label("x", "1").sample(1001, 2.0).label("y", "2");
    let together = named("a").label("y", "2").label("x", "1").sample(1002, 3.0);
    let body = Message::default().series(&apart).series(&together);
    assert_eq!(write(&receiver, Protocol::V1, &body).await, samples(3));
    // References one by one, and in two lists.
    let mut body = Message::default();
    for symbol in ["", "__name__", "a", "x", "1", "y", "2"] {
        body = body.bytes(4, symbol.as_bytes());
    }
    let series =
        Message::default().varint(1, 1).varint(1, 2).bytes(1, &[3, 4]).sample(1003, 4.0).bytes(1, &[5, 6]);
    let body = body.bytes(5, &series.0);
    assert_eq!(write(&receiver, Protocol::V2, &body).await, samples(1));
    assert_eq!(store.shown(), ["a{x=1,y=2}: 1@1000 2@1001 3@1002 4@1003"]);
}

#[tokio::test]
async fn series_that_make_no_sense_are_told_and_their_neighbours_are_taken() {
    let store = Store::new();
    let receiver = receiver(store.append());
    let body = Message::default()
        .series(&named("good").sample(1000, 1.0))
        .series(&Message::default().label("job", "x").sample(1000, 1.0).sample(1001, 1.0))
        .series(&Message::default().sample(1000, 1.0))
        .series(&named("twice").label("a", "1").label("a", "2").sample(1000, 1.0))
        .series(&named("nameless").label("", "2").sample(1000, 1.0))
        .series(&named("long").label("a", &"x".repeat(70_000)).sample(1000, 1.0));
    let outcome = write(&receiver, Protocol::V1, &body).await;
    assert_eq!(outcome.written.samples, 1);
    assert_eq!(
        invalid(&outcome),
        "6 of 7 samples were not taken. 1: a label has no name, as series number 5; \
         1: a label stands there twice, as series number 4; \
         1: its labels take more than 64 KiB, as series number 6; \
         3: the series has no metric name, as {job=\"x\"} and {}"
    );
    let refs =
        Message::default().bytes(4, b"").bytes(5, &Message::default().bytes(1, &[7, 8]).sample(1, 1.0).0);
    let outcome = write(&receiver, Protocol::V2, &refs).await;
    assert!(invalid(&outcome).contains("symbols that are not there"), "{outcome:?}");
    assert_eq!(store.shown(), ["good{}: 1@1000"]);
}

/// A store that retires all its series when told, as after a long silence.
#[derive(Debug)]
struct Retiring {
    store: Arc<dyn Append>,
    era: AtomicUsize,
    resolved: AtomicUsize,
}

const ERA: u64 = 1 << 32;

impl Append for Retiring {
    fn resolve(&self, labels: &Labels) -> Result<SeriesRef, AppendError> {
        self.resolved.fetch_add(1, Ordering::SeqCst);
        let era = self.era.load(Ordering::SeqCst) as u64;
        Ok(SeriesRef(self.store.resolve(labels)?.0 + era * ERA))
    }

    fn append(&self, batch: &Batch) -> Result<Appended, AppendError> {
        let era = self.era.load(Ordering::SeqCst) as u64;
        let mut batch = batch.clone();
        for series in batch.series.iter_mut().chain(batch.entries.iter_mut().map(|e| &mut e.series)) {
            // A number of an era that is over is none that the store knows.
            series.0 = if series.0 / ERA == era { series.0 % ERA } else { u64::MAX };
        }
        self.store.append(&batch)
    }

    fn sync(&self) -> Result<(), AppendError> {
        self.store.sync()
    }
}

#[tokio::test]
async fn a_series_that_the_store_retired_is_resolved_again() {
    let store = Store::new();
    let retiring =
        Arc::new(Retiring { store: store.append(), era: AtomicUsize::new(0), resolved: AtomicUsize::new(0) });
    let receiver = receiver(Arc::clone(&retiring) as Arc<dyn Append>);
    let body = |at: u64| {
        Message::default()
            .series(&named("a").sample(at, 1.0).sample(at + 1, 2.0))
            .series(&named("b").sample(at, 3.0))
    };
    for (at, era) in [(1000, 0), (2000, 0), (3000, 1), (4000, 1), (5000, 2)] {
        retiring.era.store(era, Ordering::SeqCst);
        assert_eq!(write(&receiver, Protocol::V1, &body(at)).await, samples(3));
    }
    assert_eq!(retiring.resolved.load(Ordering::SeqCst), 6, "each of two series once in each of three eras");
    assert_eq!(store.of("a"), ["a{}: 1@1000 2@1001 1@2000 2@2001 1@3000 2@3001 1@4000 2@4001 1@5000 2@5001"]);
}

/// Keeps exemplars as they come.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<(Labels, Exemplar)>>);

impl ExemplarSink for Kept {
    fn add(&self, series: &Labels, exemplar: Exemplar) -> Result<(), ExemplarReject> {
        if exemplar.at < 10 {
            return Err(ExemplarReject::OutOfOrder);
        }
        self.0.lock().expect("a lock").push((series.clone(), exemplar));
        Ok(())
    }
}

#[tokio::test]
async fn exemplars_and_families_are_passed_on() {
    let store = Store::new();
    let kept = Arc::new(Kept::default());
    let receiver =
        Receiver::new(store.append(), Arc::clone(&kept) as Arc<dyn ExemplarSink>, ReceiverConfig::default());
    let exemplar = |at| Message::default().label("trace_id", "t1").double(2, 0.5).varint(3, at);
    let series = named("a").sample(1000, 1.0).bytes(3, &exemplar(1000).0).bytes(3, &exemplar(9).0);
    let about = Message::default().varint(1, 1).bytes(2, b"a").bytes(4, b"How many.").bytes(5, b"bytes");
    let outcome =
        write(&receiver, Protocol::V1, &Message::default().series(&series).bytes(3, &about.0)).await;
    assert_eq!(outcome.written, Written { samples: 1, histograms: 0, exemplars: 1 });
    assert!(invalid(&outcome).starts_with("1 of 3 samples were not taken."), "{outcome:?}");
    let labels = Labels::from_pairs([("trace_id", "t1")]);
    assert_eq!(
        *kept.0.lock().expect("a lock"),
        [(Labels::from_pairs([("__name__", "a")]), Exemplar { labels, value: 0.5, at: 1000 })]
    );
    let families = receiver.families();
    assert_eq!(
        (families["a"].kind.as_str(), &*families["a"].help, &*families["a"].unit),
        ("counter", "How many.", "bytes")
    );
}

#[test]
fn bodies_on_their_way_take_no_more_than_there_is_room_for() {
    let store = Store::new();
    let config =
        ReceiverConfig { compressed_bytes: 100 << 10, inbox_bytes: 200 << 10, ..ReceiverConfig::default() };
    let receiver = Receiver::new(store.append(), Arc::new(NoExemplars), config);
    let piece = [0; 50 << 10];
    let mut inboxes: Vec<Inbox> = (0..3).map(|_| receiver.inbox()).collect();
    for inbox in &mut inboxes {
        inbox.add(&piece).expect("room");
    }
    assert!(matches!(inboxes[0].add(&piece), Err(Refusal::Busy { .. })), "all together");
    assert!(matches!(inboxes[1].add(&[piece, piece].concat()), Err(Refusal::TooLarge(_))), "one alone");
    inboxes.pop();
    inboxes[0].add(&piece).expect("there is room again");
}

#[tokio::test]
async fn references_cannot_multiply_a_text_without_end() {
    let store = Store::new();
    let receiver = receiver(store.append());
    // 60 KB of text, and 20 bytes for each series that has it.
    let mut body =
        Message::default().bytes(4, b"").bytes(4, b"__name__").bytes(4, "x".repeat(60_000).as_bytes());
    let series = Message::default().bytes(1, &[1, 2]).sample(1000, 1.0);
    for _ in 0..1500 {
        body = body.bytes(5, &series.0);
    }
    let outcome = write(&receiver, Protocol::V2, &body).await;
    assert!(invalid(&outcome).contains("the labels of all series together"), "{outcome:?}");
    assert!(outcome.written.samples > 1000, "{outcome:?}");
}

/// A request of both protocols with something of everything.
fn rich() -> [(Protocol, Message); 2] {
    let histogram = Message::default()
        .varint(1, 3)
        .double(3, 1.5)
        .varint(4, 1)
        .bytes(11, &Message::default().varint(1, 2).varint(2, 2).0)
        .bytes(12, &[2, 2])
        .varint(15, 1000);
    let exemplar = Message::default().label("trace_id", "t").double(2, 1.0).varint(3, 1000);
    let first = named("a").label("b", "c").sample(1000, 1.0).sample(1001, 2.0).bytes(3, &exemplar.0);
    let about = Message::default().varint(1, 1).bytes(2, b"a").bytes(4, b"help");
    let v1 = Message::default().series(&first).series(&named("h").bytes(4, &histogram.0)).bytes(3, &about.0);
    let mut v2 = Message::default();
    for symbol in ["", "__name__", "a", "b", "c", "help"] {
        v2 = v2.bytes(4, symbol.as_bytes());
    }
    let exemplar = Message::default().bytes(1, &[3, 4]).double(2, 1.0).varint(3, 1000);
    let about = Message::default().varint(1, 1).varint(3, 5);
    let first = Message::default()
        .bytes(1, &[1, 2, 3, 4])
        .sample(1000, 1.0)
        .bytes(3, &histogram.clone().varint(17, 900).0)
        .bytes(4, &exemplar.0)
        .bytes(5, &about.0)
        .varint(6, 800);
    [(Protocol::V1, v1), (Protocol::V2, v2.bytes(5, &first.0))]
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_refused_whole() {
    let store = Store::new();
    let receiver = receiver(store.append());
    for (protocol, body) in rich() {
        let mut told = 0;
        for end in 0..body.0.len() {
            let outcome = write(&receiver, protocol, &Message(body.0[..end].to_vec())).await;
            told += usize::from(outcome.refusal.is_some());
        }
        assert!(told > body.0.len() / 2, "{told} of {}", body.0.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn whatever_comes_is_answered(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let store = Store::new();
        let receiver = receiver(store.append());
        for (protocol, body) in rich() {
            let mut bytes = body.0;
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            for bytes in [bytes.clone(), noise.clone(), [bytes, noise.clone()].concat()] {
                let outcome = runtime.block_on(write(&receiver, protocol, &Message(bytes)));
                prop_assert!(!matches!(outcome.refusal, Some(Refusal::Failed(_))), "{outcome:?}");
            }
            // And as no snappy at all.
            runtime.block_on(receiver.write(protocol, inbox(&receiver, &noise)));
        }
    }
}

//! What is asked is found; what is too much is refused.

use super::*;
use crate::remote_write::wire::{Kind, Wire};
use model::{MatchOp, Value};
use promql::MemoryStore;

fn request(types: &[u8], matchers: &[(u64, &str, &str)]) -> Vec<u8> {
    let (mut query, mut body) = (Vec::new(), Vec::new());
    put_number(&mut query, 1, 0);
    put_number(&mut query, 2, 1_000_000);
    for (op, name, value) in matchers {
        let mut m = Vec::new();
        put_number(&mut m, 1, *op);
        put_bytes(&mut m, 2, name.as_bytes());
        put_bytes(&mut m, 3, value.as_bytes());
        put_bytes(&mut query, 3, &m);
    }
    put_bytes(&mut body, 1, &query);
    if !types.is_empty() {
        put_bytes(&mut body, 2, types);
    }
    snap::raw::Encoder::new().compress_vec(&body).expect("short")
}

fn store() -> MemoryStore {
    let store = MemoryStore::new();
    for job in ["a", "b"] {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", job)]);
        for i in 0..1000 {
            store.push(&labels, i * 1000, Value::Float(1.0), None).expect("pushed");
        }
    }
    store
}

#[test]
fn a_request_is_read_with_the_form_that_its_sender_prefers() {
    for (types, chunks) in [(&[][..], false), (&[1, 0], true), (&[0, 1], false), (&[7, 1], true)] {
        let read = Request::read(&request(types, &[(2, "job", "a|b"), (1, "x", "")])).expect("reads");
        assert_eq!(read.chunks, chunks, "{types:?}");
        let query = &read.queries[0];
        assert_eq!((query.start, query.end, query.matchers[0].op), (0, 1_000_000, MatchOp::Re));
    }
}

#[test]
fn what_is_no_request_says_why() {
    for (body, why) in [
        (&b"nonsense"[..], "snappy"),
        (&request(&[], &[(9, "a", "b")]), "no matcher of type 9"),
        (&request(&[], &[(2, "a", "(")]), "bad regular expression"),
    ] {
        let error = Request::read(body).expect_err("refused").to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn samples_are_answered_up_to_a_limit() {
    let (store, none) = (store(), Cancel::default());
    let read = Request::read(&request(&[], &[(0, "job", "a")])).expect("reads");
    let limits = ReadLimits { samples: 1000, ..ReadLimits::default() };
    let body = samples(&store, &read, &limits, &none).expect("answers");
    let mut response = Wire::new(&body);
    let tag = response.tag().expect("a field").expect("a result");
    assert_eq!((tag.field, tag.kind), (1, Kind::Bytes));
    assert!(body.windows(2).any(|w| w == b"up"));
    let both = Request::read(&request(&[], &[(0, "__name__", "up")])).expect("reads");
    let error = samples(&store, &both, &limits, &none).expect_err("too many").to_string();
    assert!(error.contains("more than 1000 samples"), "{error}");
}

#[test]
fn chunks_come_in_frames_that_are_checked() {
    let (store, none) = (store(), Cancel::default());
    let read = Request::read(&request(&[1], &[(0, "__name__", "up")])).expect("reads");
    let mut frames = Vec::new();
    let limits = ReadLimits { frame_bytes: 300, ..ReadLimits::default() };
    let each = |frame| {
        frames.push(frame);
        true
    };
    chunks(&store, &read, &limits, &none, each).expect("answers");
    assert!(frames.len() > 2, "{} frames", frames.len());
    for frame in &frames {
        let mut w = Wire::new(frame);
        let len = usize::try_from(w.varint().expect("a length")).expect("short");
        let (crc, message) = w.bytes().split_at(4);
        assert_eq!(message.len(), len);
        assert_eq!(crc, crc32c(message).to_be_bytes());
    }
    let gone = chunks(&store, &read, &limits, &none, |_| false);
    assert!(matches!(gone, Err(ReadError::Gone)));
}

#[test]
fn external_labels_are_asked_for_and_shown_though_no_series_has_them() {
    let (store, none) = (store(), Cancel::default());
    let external = Labels::from_pairs([("region", "eu"), ("job", "of its own")]);
    let asked = [(0, "__name__", "up"), (0, "region", "eu"), (0, "job", "a")];
    let read = Request::read(&request(&[], &asked)).expect("reads").under(external.clone());
    assert_eq!(read.queries[0].matchers.len(), 2, "another value of the same name is looked for");
    let body = samples(&store, &read, &ReadLimits::default(), &none).expect("answers");
    let has = |text: &str| body.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(has("region") && has("eu") && !has("of its own"), "what a series has stays");
    let other = Request::read(&request(&[1], &[(0, "region", "us")])).expect("reads").under(external);
    let mut frames = 0;
    let each = |_| {
        frames += 1;
        true
    };
    chunks(&store, &other, &ReadLimits::default(), &none, each).expect("answers");
    assert_eq!(frames, 0, "no series is in another region");
}

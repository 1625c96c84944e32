use super::*;
use crate::{remote_write::wire::put_varint, scrape::exposition::decoded::Item};
use model::Span;
use proptest::prelude::*;

/// A message under construction.
#[derive(Default, Clone)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub(crate) fn int(mut self, field: u64, v: u64) -> Message {
        put_varint(&mut self.0, field << 3);
        put_varint(&mut self.0, v);
        self
    }

    pub(crate) fn double(mut self, field: u64, v: f64) -> Message {
        put_varint(&mut self.0, field << 3 | 1);
        self.0.extend(v.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, field: u64, bytes: &[u8]) -> Message {
        put_varint(&mut self.0, field << 3 | 2);
        put_varint(&mut self.0, bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub(crate) fn message(self, field: u64, m: Message) -> Message {
        self.bytes(field, &m.0)
    }

    fn label(self, field: u64, name: &str, value: &str) -> Message {
        self.message(field, Message::default().bytes(1, name.as_bytes()).bytes(2, value.as_bytes()))
    }
}

pub(crate) fn zigzag(v: i64) -> u64 {
    (v << 1 ^ v >> 63).cast_unsigned()
}

/// A body of one family with one metric: label `a="b"`, `value` under its field.
pub(crate) fn body(name: &str, kind: u64, field: u64, value: Message) -> Vec<u8> {
    let metric = Message::default().label(1, "a", "b").message(field, value);
    let family =
        Message::default().bytes(1, name.as_bytes()).bytes(2, b"Help.").int(3, kind).message(4, metric);
    framed(&family)
}

fn framed(family: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, family.0.len() as u64);
    out.extend(&family.0);
    out
}

pub(crate) fn spans(m: Message, field: u64, spans: &[(i64, u64)]) -> Message {
    spans.iter().fold(m, |m, (offset, length)| {
        m.message(field, Message::default().int(1, zigzag(*offset)).int(2, *length))
    })
}

pub(crate) fn native() -> Message {
    let exemplar =
        Message::default().label(1, "trace_id", "t1").double(2, 0.7).message(3, Message::default().int(1, 5));
    let m = Message::default().int(1, 10).double(2, 12.5).int(5, zigzag(1)).double(6, 0.001).int(7, 2);
    let m = spans(m, 12, &[(0, 2), (1, 1)]);
    let deltas = [1, 2, -1];
    let m = deltas.iter().fold(m, |m, d| m.int(13, zigzag(*d)));
    let m = m.message(3, Message::default().int(1, 4).double(2, 1.0)).message(16, exemplar);
    m.message(15, Message::default().int(1, 3).int(2, 500_000_000))
}

fn shown(decoded: &Decoded<'_>) -> Vec<String> {
    let show = |i: &Item| {
        let text = String::from_utf8_lossy(decoded.text(i)).into_owned();
        let value = match &i.value {
            Value::Float(v) => v.to_string(),
            Value::Histogram(h) => format!("{}/{} {:?}", h.count, h.sum, h.positive),
        };
        let start = i.start.map(|s| format!(" since {s}")).unwrap_or_default();
        let exemplars: String = i.exemplars.iter().map(|e| format!(" # {} {}", e.labels, e.value)).collect();
        format!("{text} {value}{start}{exemplars}")
    };
    decoded.items.iter().map(show).collect()
}

fn check(body: &[u8], forms: Forms, want: &[&str]) {
    assert_eq!(shown(&decode(body, forms).expect("reads")), want);
}

const CLASSIC: Forms = Forms { native: false, classic: false, custom: false };
const NATIVE: Forms = Forms { native: true, ..CLASSIC };

#[test]
fn numbers_and_summaries_are_the_lines_that_the_text_would_have() {
    let exemplar = Message::default().label(1, "id", "x").double(2, 3.0);
    let counter =
        Message::default().double(1, 7.0).message(2, exemplar).message(3, Message::default().int(1, 9));
    check(&body("c_total", 0, 3, counter), CLASSIC, &["c_total{a=\"b\"} 7 since 9000 # {id=\"x\"} 3"]);
    check(&body("g", 1, 2, Message::default().double(1, -1.5)), CLASSIC, &["g{a=\"b\"} -1.5"]);
    check(&body("http.x", 3, 5, Message::default().double(1, 2.0)), CLASSIC, &["{\"http.x\",a=\"b\"} 2"]);
    let quantile = Message::default().double(1, 0.5).double(2, 4.0);
    let summary = Message::default().int(1, 2).double(2, 9.0).message(3, quantile);
    check(
        &body("s", 2, 4, summary),
        CLASSIC,
        &["s_count{a=\"b\"} 2", "s_sum{a=\"b\"} 9", "s{a=\"b\",quantile=\"0.5\"} 4"],
    );
}

#[test]
fn a_histogram_gives_the_forms_that_are_asked_for() {
    let native_line = "h{a=\"b\"} 10/12.5 [1.0, 3.0, 2.0] since 3500 # {trace_id=\"t1\"} 0.7";
    let classic_lines = [
        "h_count{a=\"b\"} 10 since 3500",
        "h_sum{a=\"b\"} 12.5 since 3500",
        "h_bucket{a=\"b\",le=\"1\"} 4 since 3500",
        "h_bucket{a=\"b\",le=\"+Inf\"} 10 since 3500",
    ];
    let b = body("h", 4, 7, native().int(7, 4));
    check(&b, CLASSIC, &classic_lines);
    check(&b, NATIVE, &[native_line]);
    let both: Vec<&str> = classic_lines.iter().copied().chain([native_line]).collect();
    check(&b, Forms { classic: true, ..NATIVE }, &both);
    let custom = "h{a=\"b\"} 10/12.5 [4.0, 6.0] since 3500 # {trace_id=\"t1\"} 0.7";
    check(&b, Forms { custom: true, ..CLASSIC }, &[custom]);
    // What is native already is not converted.
    check(&b, Forms { custom: true, ..NATIVE }, &[native_line]);
}

#[test]
fn native_histograms_keep_their_shape() {
    let decoded = decode_one(&body("h", 4, 7, native().int(7, 4)));
    assert_eq!((decoded.schema, decoded.zero_threshold, decoded.zero_count), (1, 0.001, 4.0));
    assert_eq!(decoded.positive_spans, [Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }]);
    assert_eq!(decoded.reset, CounterReset::Unknown);
    let float =
        spans(Message::default().double(4, 2.5).int(5, 0), 9, &[(-3, 2)]).double(11, 1.0).double(11, 1.5);
    let gauge = decode_one(&body("h", 5, 7, float));
    assert_eq!((gauge.reset, gauge.count), (CounterReset::Gauge, 2.5));
    assert_eq!((&*gauge.negative, gauge.negative_spans[0].offset), (&[1.0, 1.5][..], -3));
    // No observations yet: an empty span says that it is native.
    let empty = decode_one(&body("h", 4, 7, spans(Message::default(), 12, &[(0, 0)])));
    assert_eq!((empty.count, empty.positive.len()), (0.0, 0));
}

fn decode_one(body: &[u8]) -> Arc<Histogram> {
    let decoded = decode(body, NATIVE).expect("reads");
    match &decoded.items[0].value {
        Value::Histogram(h) => Arc::clone(h),
        Value::Float(_) => panic!("no histogram"),
    }
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence() {
    let refused = |body: &[u8], want: &str| {
        let e = decode(body, NATIVE).err().unwrap_or_default();
        assert!(e.contains(want), "{e}");
    };
    refused(b"\xff", "the protobuf message is malformed at byte 0");
    refused(&[5, 1], "a length goes beyond the end");
    refused(&framed(&Message::default().int(3, 1)), "a family has no name");
    refused(&body("x", 9, 3, Message::default()), "of type 9, which is not known");
    refused(&body("x", 1, 3, Message::default()), "has no value of its type");
    refused(&body("h", 4, 7, native()), "a native histogram of \"h\" contradicts itself");
    let twice = Message::default().label(1, "a", "1").label(1, "a", "2").message(2, Message::default());
    refused(&framed(&Message::default().bytes(1, b"x").int(3, 1).message(4, twice)), "label name \"a\"");
    let unit = Message::default().bytes(1, b"x_bytes").bytes(5, b"seconds");
    refused(&framed(&unit), "unit \"seconds\" is not the ending of \"x_bytes\"");
}

#[test]
fn what_a_body_unfolds_to_is_bounded() {
    // Each bucket is two bytes, and would be a series with labels of a kilobyte.
    let buckets = (0..200_000).fold(Message::default().int(1, 1), |m, _| m.bytes(3, b""));
    let metric = Message::default().label(1, "a", &"x".repeat(1024)).message(7, buckets);
    let family = Message::default().bytes(1, b"h").int(3, 4).message(4, metric);
    let e = decode(&framed(&family), CLASSIC).err().unwrap_or_default();
    assert!(e.starts_with("the body unfolds to more than"), "{e}");
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(mut body in proptest::collection::vec(any::<u8>(), 0..200), native in any::<bool>()) {
        let forms = Forms { native, classic: true, custom: true };
        drop(decode(&body, forms));
        body.insert(0, u8::try_from(body.len().min(127)).unwrap());
        drop(decode(&body, forms));
    }

    #[test]
    fn no_changed_byte_breaks_the_reader(at in 0usize..100, to in any::<u8>()) {
        let mut b = body("h", 4, 7, super::tests::native());
        let at = at % b.len();
        b[at] = to;
        drop(decode(&b, Forms { native: true, classic: true, custom: true }));
    }
}

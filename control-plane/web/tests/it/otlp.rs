//! What OpenTelemetry exports over HTTP: taken, said what is not, refused with a reason. And remote read.

use crate::plane::{Answer, NOW, Running, Setup};
use serde_json::json;
use std::io::Write;

fn export(temporality: u64) -> serde_json::Value {
    let nanoseconds = format!("{NOW}000000");
    let point = |value: f64| json!({"asDouble": value, "timeUnixNano": nanoseconds});
    json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeMetrics": [{"metrics": [
            {"name": "queue.length", "gauge": {"dataPoints": [point(3.0)]}},
            {"name": "orders", "description": "Orders.", "sum": {
                "aggregationTemporality": temporality, "isMonotonic": true, "dataPoints": [point(5.0)]}},
        ]}],
    }]})
}

async fn post(vigie: &Running, kind: &str, encoding: &str, body: Vec<u8>) -> Answer {
    let request = vigie.request("POST", "/api/v1/otlp/v1/metrics").header("content-type", kind);
    let request = if encoding.is_empty() { request } else { request.header("content-encoding", encoding) };
    Answer::of(request.body(body)).await
}

#[tokio::test]
async fn an_export_is_taken_and_what_is_not_is_said() {
    let vigie = Setup::default().start().await;
    let value = |query: &'static str| {
        let vigie = &vigie;
        async move { vigie.ask("/api/v1/query", &[("query", query)]).await.json()["data"]["result"][0].clone() }
    };
    let answer = post(&vigie, "application/json", "", export(2).to_string().into_bytes()).await;
    assert_eq!((answer.status, answer.json()), (200, json!({})), "{}", answer.text);
    assert_eq!(value("orders_total").await["value"][1], "5");
    assert_eq!(value("queue_length").await["metric"]["job"], "shop");
    let said =
        vigie.get("/api/v1/metadata?metric=orders_total").await.json()["data"]["orders_total"][0].clone();
    assert_eq!(said, json!({"type": "counter", "help": "Orders.", "unit": ""}));

    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(export(1).to_string().as_bytes()).expect("written");
    let answer =
        post(&vigie, "application/json; charset=utf-8", "gzip", packed.finish().expect("done")).await;
    let partial = answer.json()["partialSuccess"].clone();
    assert_eq!((answer.status, &partial["rejectedDataPoints"]), (200, &json!("1")));
    assert!(
        partial["errorMessage"].as_str().is_some_and(|m| m.contains("cumulative temporality")),
        "{partial}"
    );

    let answer = post(&vigie, "application/x-protobuf", "", Vec::new()).await;
    assert_eq!(
        (answer.status, &*answer.text, answer.header("content-type")),
        (200, "", "application/x-protobuf")
    );
}

#[tokio::test]
async fn what_is_no_export_is_refused() {
    let vigie = Setup::default().start().await;
    let long = vec![b' '; (16 << 20) + 1];
    for (kind, encoding, body, status, why) in [
        ("text/plain", "", &b""[..], 415, "application/x-protobuf or application/json"),
        ("application/json", "zstd", b"", 415, "gzip, or as it is"),
        ("application/json", "", b"{", 400, "it is not JSON"),
        ("application/json", "gzip", b"{}", 400, "not gzip"),
        ("application/x-protobuf", "", b"\x0a\x7f", 400, "malformed"),
        ("application/x-protobuf", "", &long, 413, "longer than"),
    ] {
        let answer = post(&vigie, kind, encoding, body.to_vec()).await;
        assert_eq!(answer.status, status, "{kind} {encoding}: {}", answer.text);
        assert!(answer.text.contains(why), "{kind} {encoding}: {}", answer.text);
    }
}

/// A read request for `up`, in the given form of answers.
fn read(form: u8) -> Vec<u8> {
    let matcher = [&b"\x12\x08__name__\x1a\x02up"[..]].concat();
    let mut query = vec![0x10];
    let mut end = NOW.cast_unsigned();
    while end >= 0x80 {
        query.push(end.to_le_bytes()[0] | 0x80);
        end >>= 7;
    }
    query.extend([end.to_le_bytes()[0], 0x1a, u8::try_from(matcher.len()).expect("short")]);
    query.extend(matcher);
    let mut body = vec![0x0a, u8::try_from(query.len()).expect("short")];
    body.extend(query);
    body.extend([0x12, 1, form]);
    snap::raw::Encoder::new().compress_vec(&body).expect("packed")
}

#[tokio::test]
async fn series_are_read_in_the_form_that_is_asked_for() {
    let vigie = Setup::default().start().await;
    for (form, kind) in [
        (0, "application/x-protobuf"),
        (1, "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"),
    ] {
        let answer = vigie.request("POST", "/api/v1/read").body(read(form)).send().await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().expect("text")),
            (200, kind)
        );
        let body = answer.bytes().await.expect("its body").to_vec();
        let body =
            if form == 0 { snap::raw::Decoder::new().decompress_vec(&body).expect("snappy") } else { body };
        for job in ["api", "db"] {
            assert!(body.windows(job.len()).any(|w| w == job.as_bytes()), "{job} in form {form}");
        }
    }
    let answer = Answer::of(vigie.request("POST", "/api/v1/read").body("nonsense")).await;
    assert_eq!((answer.status, answer.json()["errorType"].as_str()), (400, Some("bad_data")));
}

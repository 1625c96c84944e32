//! A Prometheus that runs for a test: started on a free port, asked over HTTP, given samples by remote write, ended
//! by its own pid.

use model::{CounterReset, Histogram, Labels, SampleColumns, Value};
use serde_json::Value as Json;
use std::{
    fmt::Write as _,
    fs::File,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Whether the program is missing, after saying that the test `what` is skipped.
pub(crate) fn skipped(program: &str, what: &str) -> bool {
    let there = Command::new(program).arg("--version").output();
    let missing = there.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound);
    if missing {
        let required = std::env::var("PARTS_REQUIRED").is_ok_and(|v| v == "1");
        assert!(!required, "{program} is not on PATH, and PARTS_REQUIRED=1");
        println!("skipped: {what}: {program} is not on PATH; ops/test installs it");
    }
    missing
}

/// Runs promtool and gives what it prints.
pub(crate) fn promtool(arguments: &[&str]) -> String {
    let output = Command::new("promtool").args(arguments).output().expect("promtool");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {out}{err}");
    out.into_owned()
}

pub(crate) struct Server {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Server {
    pub(crate) fn start(folder: &Path, data: &Path) -> Server {
        let config = folder.join("prometheus.yml");
        std::fs::write(&config, "global: {scrape_interval: 1h}\n").expect("a file");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let log = folder.join(format!("prometheus-{port}.log"));
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--storage.tsdb.retention.time=100y", "--web.enable-admin-api"])
            .args(["--web.enable-remote-write-receiver", "--enable-feature=native-histograms"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("prometheus");
        let server = Server { child, port, log };
        let begun = Instant::now();
        while server.http("GET", "/-/ready", &[], b"").is_none_or(|(status, _)| status != 200) {
            assert!(begun.elapsed() < Duration::from_secs(60), "no Prometheus in a minute: {}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn http(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
        // HTTP 1.0: the answer comes in one piece, and the connection ends.
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Length: {}\r\n", body.len());
        headers.iter().for_each(|h| head.push_str(&format!("{h}\r\n")));
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    fn json(&self, method: &str, path: &str) -> Json {
        let (status, body) = self.http(method, path, &[], b"").expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    pub(crate) fn get(&self, path: &str) -> Json {
        self.json("GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Json {
        self.json("POST", path)
    }

    pub(crate) fn query(&self, query: &str, at_ms: i64) -> Json {
        let mut encoded = String::new();
        query.bytes().for_each(|b| write!(encoded, "%{b:02x}").expect("a string"));
        self.get(&format!("/api/v1/query?query={encoded}&time={}.{:03}", at_ms / 1000, at_ms % 1000))
    }

    /// Gives it a body of remote write.
    pub(crate) fn write(&self, body: &[u8]) {
        let headers = [
            "Content-Encoding: snappy",
            "Content-Type: application/x-protobuf",
            "X-Prometheus-Remote-Write-Version: 0.1.0",
        ];
        let (status, answer) = self.http("POST", "/api/v1/write", &headers, body).expect("an answer");
        assert!(status / 100 == 2, "{status}: {answer}\n{}", self.log());
    }

    /// SIGTERM, and waits; returns its log.
    pub(crate) fn stop(mut self) -> String {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill");
        assert!(told.success());
        self.child.wait().expect("wait");
        self.log()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ended = (self.child.kill().is_ok(), self.child.wait().is_ok());
    }
}

/// A message of Protocol Buffers under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.0.push(u8::try_from(v & 0x7f).expect("seven bits") | 0x80);
            v >>= 7;
        }
        self.0.push(u8::try_from(v).expect("seven bits"));
    }

    fn int(&mut self, field: u64, v: u64) {
        self.varint(field << 3);
        self.varint(v);
    }

    fn zigzag(&mut self, field: u64, v: i64) {
        self.int(field, ((v << 1) ^ (v >> 63)).cast_unsigned());
    }

    fn double(&mut self, field: u64, v: f64) {
        self.varint((field << 3) | 1);
        self.0.extend_from_slice(&v.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, v: &[u8]) {
        self.varint((field << 3) | 2);
        self.varint(v.len() as u64);
        self.0.extend_from_slice(v);
    }
}

fn whole(v: f64) -> i64 {
    assert!(v.fract() == 0.0);
    format!("{v:.0}").parse().expect("an integer")
}

fn integers(h: &Histogram) -> bool {
    [h.count, h.zero_count].iter().chain(&h.positive).chain(&h.negative).all(|v| v.fract() == 0.0)
}

/// `prometheus.Histogram` of the protocol, in integers or in floats.
fn histogram(at: i64, h: &Histogram, integers: bool) -> Message {
    let mut m = Message::default();
    if integers {
        m.int(1, whole(h.count).cast_unsigned());
    } else {
        m.double(2, h.count);
    }
    m.double(3, h.sum);
    m.zigzag(4, i64::from(h.schema));
    m.double(5, h.zero_threshold);
    if integers {
        m.int(6, whole(h.zero_count).cast_unsigned());
    } else {
        m.double(7, h.zero_count);
    }
    for (spans, deltas, counts, values) in
        [(8, 9, 10, (&h.negative_spans, &h.negative)), (11, 12, 13, (&h.positive_spans, &h.positive))]
    {
        for s in values.0 {
            let mut span = Message::default();
            span.zigzag(1, i64::from(s.offset));
            span.int(2, u64::from(s.length));
            m.bytes(spans, &span.0);
        }
        let (mut packed, mut before) = (Message::default(), 0);
        for v in values.1 {
            if integers {
                let n = whole(*v);
                packed.varint((((n - before) << 1) ^ ((n - before) >> 63)).cast_unsigned());
                before = n;
            } else {
                packed.0.extend_from_slice(&v.to_le_bytes());
            }
        }
        if !packed.0.is_empty() {
            m.bytes(if integers { deltas } else { counts }, &packed.0);
        }
    }
    if h.reset == CounterReset::Gauge {
        m.int(14, 3);
    }
    m.int(15, at.cast_unsigned());
    m
}

/// A request of remote write with some samples of one series, packed as snappy does it, without pressing it together.
pub(crate) fn remote_write(labels: &Labels, samples: &SampleColumns, which: Range<usize>) -> Vec<u8> {
    let mut series = Message::default();
    for l in labels {
        let mut label = Message::default();
        label.bytes(1, l.name.as_bytes());
        label.bytes(2, l.value.as_bytes());
        series.bytes(1, &label.0);
    }
    // As a scrape would have it: a staleness marker is of the kind of its series.
    let whole_series = samples.histograms.iter().all(|(_, h)| integers(h));
    for i in which {
        let at = samples.times[i];
        match samples.value(i) {
            Value::Float(v) => {
                let mut sample = Message::default();
                sample.double(1, v);
                sample.int(2, at.cast_unsigned());
                series.bytes(2, &sample.0);
            }
            Value::Histogram(h) => series.bytes(4, &histogram(at, &h, whole_series).0),
        }
    }
    let mut request = Message::default();
    request.bytes(1, &series.0);
    let mut packed = Message::default();
    packed.varint(request.0.len() as u64);
    for piece in request.0.chunks(1 << 16) {
        // A literal whose length, less one, stands in two bytes.
        packed.0.push(61 << 2);
        packed.0.extend_from_slice(&u16::try_from(piece.len() - 1).expect("at most 64 KiB").to_le_bytes());
        packed.0.extend_from_slice(piece);
    }
    packed.0
}

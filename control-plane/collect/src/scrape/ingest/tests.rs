use super::*;
use crate::{
    scrape::{config, target},
    testing::Store,
};
use kit::{problem::Problems, yaml::Document};
use proptest::prelude::*;

fn target(job: &str) -> Target {
    let text = format!("scrape_configs:\n- job_name: j\n  static_configs: [{{targets: ['h:1']}}]\n{job}");
    let doc = Document::parse("s.yaml", &text).unwrap();
    let mut problems = Problems::default();
    let jobs = config::read(&doc, true, &|_| None, &mut problems);
    assert!(problems.is_empty(), "{problems}");
    target::build(&Arc::new(jobs[0].clone()), std::iter::empty()).targets.remove(0)
}

struct Bench {
    store: Store,
    target: Target,
    ingest: Ingest,
}

fn bench(job: &str) -> Bench {
    let (store, target) = (Store::new(), target(job));
    let ingest = Ingest::new(store.append(), Arc::new(model::NoExemplars));
    Bench { store, target, ingest }
}

impl Bench {
    fn text(&mut self, at: i64, body: &str) -> Scraped {
        self.ingest.take(&self.target, at, 0.5, Ok((body.as_bytes(), Format::Text)))
    }

    fn open(&mut self, at: i64, body: &str) -> Scraped {
        self.ingest.take(&self.target, at, 0.5, Ok((body.as_bytes(), Format::OpenMetrics)))
    }

    fn metrics(&self) -> Vec<String> {
        let all = self.store.shown();
        all.into_iter().filter(|l| !l.starts_with("up") && !l.starts_with("scrape_")).collect()
    }
}

#[test]
fn samples_and_the_series_about_the_scrape_share_one_time() {
    let mut b = bench("");
    let got = b.text(1000, "a 1\nb{x=\"y\"} 2\n");
    assert_eq!(got, Scraped { samples: 2, kept: 2, added: 2, ..Scraped::default() });
    let got = b.text(2000, "a 3\nb{x=\"y\"} 4\n");
    assert_eq!(got, Scraped { samples: 2, kept: 2, added: 0, ..Scraped::default() });
    assert_eq!(
        b.store.shown(),
        [
            "a{instance=h:1,job=j}: 1@1000 3@2000",
            "b{instance=h:1,job=j,x=y}: 2@1000 4@2000",
            "scrape_duration_seconds{instance=h:1,job=j}: 0.5@1000 0.5@2000",
            "scrape_samples_post_metric_relabeling{instance=h:1,job=j}: 2@1000 2@2000",
            "scrape_samples_scraped{instance=h:1,job=j}: 2@1000 2@2000",
            "scrape_series_added{instance=h:1,job=j}: 2@1000 0@2000",
            "up{instance=h:1,job=j}: 1@1000 1@2000",
        ]
    );
}

#[test]
fn series_that_go_end_and_those_that_come_back_go_on() {
    let mut b = bench("");
    b.text(1000, "a 1\nb 1\nc 1\n");
    b.text(2000, "c 2\na 2\n");
    assert_eq!(b.text(3000, "b 3\na 3\nc 3\n").added, 1);
    assert_eq!(
        b.metrics(),
        [
            "a{instance=h:1,job=j}: 1@1000 2@2000 3@3000",
            "b{instance=h:1,job=j}: 1@1000 stale@2000 3@3000",
            "c{instance=h:1,job=j}: 1@1000 2@2000 3@3000",
        ]
    );
}

#[test]
fn a_failed_scrape_takes_nothing_and_ends_everything_once() {
    let mut b = bench("");
    b.text(1000, "a 1\n");
    let got = b.text(2000, "a 2\nnew 1\nbroken\n");
    assert_eq!(
        got.error.as_deref(),
        Some("the text is not valid: line 3: expected a value after the series, found the end of the line")
    );
    b.ingest.take(&b.target, 3000, 0.1, Err("no answer".to_owned()));
    b.text(4000, "a 4\n");
    assert_eq!(b.metrics(), ["a{instance=h:1,job=j}: 1@1000 stale@2000 4@4000"]);
    assert_eq!(b.store.of("up"), ["up{instance=h:1,job=j}: 1@1000 0@2000 0@3000 1@4000"]);
}

#[test]
fn a_target_that_is_removed_ends_with_its_reports() {
    let mut b = bench("");
    b.text(1000, "a 1\n");
    b.ingest.end(&b.target, 2000).unwrap();
    assert!(b.store.shown().iter().all(|l| l.ends_with("stale@2000")), "{:?}", b.store.shown());
}

#[test]
fn own_timestamps_are_kept_and_get_no_marker() {
    let mut b = bench("");
    b.text(5000, "a 1 4321\nb 1\n");
    b.text(6000, "\n");
    assert_eq!(b.metrics(), ["a{instance=h:1,job=j}: 1@4321", "b{instance=h:1,job=j}: 1@5000 stale@6000"]);
    let mut b = bench("  honor_timestamps: false\n");
    b.text(5000, "a 1 4321\n");
    assert_eq!(b.metrics(), ["a{instance=h:1,job=j}: 1@5000"]);
}

#[test]
fn labels_of_the_target_win_unless_they_are_to_be_honored() {
    let mut b = bench("");
    b.text(1000, "a{job=\"own\",exported_job=\"x\"} 1\n");
    assert_eq!(b.metrics(), ["a{exported_exported_job=own,exported_job=x,instance=h:1,job=j}: 1@1000"]);
    let mut b = bench("  honor_labels: true\n");
    b.text(1000, "a{job=\"own\"} 1\n");
    assert_eq!(b.metrics(), ["a{instance=h:1,job=own}: 1@1000"]);
}

#[test]
fn metric_relabelling_renames_and_drops() {
    let mut b = bench(
        "  metric_relabel_configs:
  - {source_labels: [__name__], regex: secret.*, action: drop}
  - {source_labels: [__name__], regex: (.*)_old, target_label: __name__, replacement: '${1}_new'}
",
    );
    let got = b.text(1000, "secret_a 1\nb_old 2\n");
    assert_eq!((got.samples, got.kept), (2, 1));
    b.text(2000, "secret_a 1\nb_old 3\n");
    assert_eq!(b.metrics(), ["b_new{instance=h:1,job=j}: 2@1000 3@2000"]);
}

#[test]
fn limits_refuse_the_whole_scrape() {
    for (job, body, expect) in [
        ("  sample_limit: 1\n", "a 1\nb 1\n", "there are more samples than the sample_limit of 1"),
        ("  label_limit: 4\n", "a{x=\"1\",y=\"2\"} 1\n", "has more labels than the label_limit of 4"),
        ("  label_name_length_limit: 8\n", "a{xxxxxxxxx=\"1\"} 1\n", "longer than 8 bytes"),
        ("  label_value_length_limit: 5\n", "a{x=\"123456\"} 1\n", "longer than 5 bytes"),
    ] {
        let mut b = bench(job);
        let error = b.text(1000, body).error.unwrap();
        assert!(error.contains(expect), "{error}");
        assert!(b.metrics().is_empty());
        assert_eq!(b.store.of("up"), ["up{instance=h:1,job=j}: 0@1000"]);
    }
}

#[test]
fn start_times_reach_the_store() {
    let mut b = bench("");
    let body = "# TYPE a counter\na_total 5\na_created 1.5\n# EOF\n";
    assert_eq!(b.open(9000, body).error, None);
    let request = model::SelectRequest::new(&[], 0, 10_000);
    let mut stream = model::Select::select(&b.store.db, &request).unwrap();
    let mut columns = model::SampleColumns::default();
    let (_, labels) = stream.next(&mut columns).unwrap().unwrap();
    assert_eq!((labels.metric_name(), columns.starts.clone()), ("a_total", vec![1500]));
}

#[test]
fn a_type_that_changes_makes_another_series_of_the_same_text() {
    let mut b = bench("");
    b.text(1000, "# TYPE h histogram\nh_bucket{le=\"1\"} 1\n");
    b.text(2000, "h_bucket{le=\"1\"} 2\n");
    assert_eq!(
        b.metrics(),
        [
            "h_bucket{instance=h:1,job=j,le=1}: 2@2000",
            "h_bucket{instance=h:1,job=j,le=1.0}: 1@1000 stale@2000"
        ]
    );
}

#[test]
fn a_target_with_ever_new_series_costs_no_memory_for_the_old() {
    let mut b = bench("");
    for round in 0..50 {
        let body: String = (0..50).map(|i| format!("a{{n=\"{round}-{i}\"}} 1\n")).collect();
        b.text(1000 * (round + 1), &body);
    }
    assert!(b.ingest.template.len() <= 50, "{} lines", b.ingest.template.len());
}

#[test]
fn metadata_is_kept_by_family() {
    let mut b = bench("");
    b.text(1000, "# HELP a What a is.\n# TYPE a counter\na 1\n");
    b.open(2000, "# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 1\n# EOF\n");
    let families = b.ingest.families();
    let counter = Metadata { kind: MetricType::Counter, help: "What a is.".to_owned(), unit: String::new() };
    let gauge = Metadata { kind: MetricType::Gauge, help: String::new(), unit: "seconds".to_owned() };
    assert_eq!(*families, BTreeMap::from([("a".to_owned(), counter), ("b_seconds".to_owned(), gauge)]));
}

/// Lines of a body, many of them alike, some of them odd.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => ("[ab]", 0u8..4, 0u16..999).prop_map(|(n, l, v)| format!("{n}{{l=\"{l}\"}} {v}\n")),
        2 => ("[abc]", 0i32..99).prop_map(|(n, v)| format!("{n} -{v}.5\n")),
        1 => "[ab]".prop_map(|n| format!("# TYPE {n} counter\n")),
        1 => "[ab]".prop_map(|n| format!("# TYPE {n} histogram\n")),
        1 => Just("# HELP a b\n# words\n\n".to_owned()),
        1 => Just(" a{l=\"1\", }  NaN\n".to_owned()),
        1 => (1u8..3).prop_map(|l| format!("a{{le=\"{l}\"}} 1e3\n")),
        1 => Just("own 5 1234\n".to_owned()),
        1 => Just("a{l=\"1\"}\t7\n".to_owned()),
    ]
}

proptest! {
    #[test]
    fn a_body_means_the_same_whatever_came_before(
        lines in prop::collection::vec(line(), 1..30),
        bodies in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..40), 1..6),
    ) {
        let bodies: Vec<String> =
            bodies.iter().map(|b| b.iter().map(|i| i.get(&lines).as_str()).collect()).collect();
        let (mut one, mut before) = (bench(""), BTreeMap::new());
        for (n, body) in bodies.iter().enumerate() {
            let at = 1_000_000 + n as i64 * 1000;
            let got = one.text(at, body);
            // The same body, seen for the first time.
            let mut alone = bench("");
            let want = alone.text(at, body);
            prop_assert_eq!((got.samples, got.kept, got.error.is_none()), (want.samples, want.kept, want.error.is_none()));
            let of = |b: &Bench| -> BTreeMap<String, String> {
                let all = b.metrics().into_iter();
                all.filter_map(|l| {
                    let (name, samples) = l.split_once(": ")?;
                    let here = samples.split(' ').find(|s| s.ends_with(&format!("@{at}")))?;
                    Some((name.to_owned(), here.to_owned()))
                })
                .collect()
            };
            let mut want = of(&alone);
            for (name, _) in before.iter().filter(|(_, v): &(&String, &String)| !v.starts_with("stale")) {
                want.entry(name.clone()).or_insert(format!("stale@{at}"));
            }
            before = of(&one);
            prop_assert_eq!(&before, &want, "body {}: {:?}", n, body);
        }
    }
}

/// What the store holds of histograms, one line each series.
fn histograms(store: &Store) -> Vec<String> {
    let request = model::SelectRequest::new(&[], i64::MIN, i64::MAX);
    let mut stream = model::Select::select(&store.db, &request).expect("selects");
    let mut columns = model::SampleColumns::default();
    let mut out = Vec::new();
    while let Some((_, labels)) = stream.next(&mut columns).expect("reads") {
        if columns.histograms.is_empty() {
            continue;
        }
        let samples: Vec<String> = columns
            .times
            .iter()
            .enumerate()
            .map(|(i, t)| match columns.histograms.iter().find(|(at, _)| *at == i) {
                Some((_, h)) => format!("{:?}x{}@{t}", h.positive, h.schema),
                None if model::is_stale_nan(columns.values[i]) => format!("stale@{t}"),
                None => format!("{}@{t}", columns.values[i]),
            })
            .collect();
        out.push(format!("{}: {}", labels.metric_name(), samples.join(" ")));
    }
    out
}

#[test]
fn native_histograms_are_stored_and_end_as_floats_do() {
    use crate::scrape::exposition::protobuf::tests::{body, native};
    let mut b = bench("  scrape_native_histograms: true\n");
    let mut good = body("h", 4, 7, native().int(7, 4));
    let take =
        |b: &mut Bench, at, body: &[u8]| b.ingest.take(&b.target, at, 0.5, Ok((body, Format::Protobuf)));
    assert_eq!(take(&mut b, 1000, &good), Scraped { samples: 1, kept: 1, added: 1, ..Scraped::default() });
    assert_eq!(take(&mut b, 2000, &good).added, 0);
    good.pop();
    assert!(take(&mut b, 3000, &good).error.is_some());
    assert_eq!(histograms(&b.store), ["h: [1.0, 3.0, 2.0]x1@1000 [1.0, 3.0, 2.0]x1@2000 stale@3000"]);
    assert_eq!(b.ingest.families()["h"].kind, MetricType::Histogram);
}

#[test]
fn histograms_are_made_coarser_to_their_bounds() {
    use crate::scrape::exposition::protobuf::tests::{body, native};
    let good = body("h", 4, 7, native().int(7, 4));
    for (bound, want) in [
        ("native_histogram_bucket_limit: 2", "h: [1.0, 5.0]x-1@1000"),
        ("native_histogram_min_bucket_factor: 2", "h: [1.0, 3.0, 2.0]x0@1000"),
    ] {
        let mut b = bench(&format!("  scrape_native_histograms: true\n  {bound}\n"));
        let got = b.ingest.take(&b.target, 1000, 0.5, Ok((&good, Format::Protobuf)));
        assert_eq!((got.error, histograms(&b.store)), (None, vec![want.to_owned()]), "{bound}");
    }
}

#[test]
fn texts_with_classic_histograms_are_converted() {
    let mut b = bench("  convert_classic_histograms_to_nhcb: true\n");
    let body = |n: u32| {
        format!("# TYPE h histogram\nh_bucket{{le=\"1\"}} {n}\nh_count 5\nh_sum 4\n# TYPE g gauge\ng {n}\n")
    };
    assert_eq!(b.text(1000, &body(1)), Scraped { samples: 2, kept: 2, added: 2, ..Scraped::default() });
    assert_eq!(b.text(2000, &body(2)).added, 0);
    assert_eq!(histograms(&b.store), ["h: [1.0, 4.0]x-53@1000 [2.0, 3.0]x-53@2000"]);
    assert_eq!(b.metrics()[0], "g{instance=h:1,job=j}: 1@1000 2@2000");
}

#[test]
fn series_with_their_own_time_end_where_that_is_asked_for() {
    let mut b = bench("  track_timestamps_staleness: true\n");
    b.text(1000, "a 1 900\n");
    b.text(2000, "b 1\n");
    assert_eq!(b.store.of("a{"), ["a{instance=h:1,job=j}: 1@900 stale@2000"]);
}

#[test]
fn the_bounds_of_a_scrape_are_series_where_that_is_asked_for() {
    let mut b = bench("  extra_scrape_metrics: true\n  sample_limit: 7\n");
    b.text(1000, "a 1\n");
    let of = |b: &Bench, name: &str| b.store.of(name).concat();
    assert!(of(&b, "scrape_timeout_seconds").ends_with(": 10@1000"));
    assert!(of(&b, "scrape_sample_limit").ends_with(": 7@1000"));
    b.ingest.take(&b.target, 2000, 0.5, Err(format!("{TOO_LONG} of 3 bytes")));
    assert!(of(&b, "scrape_body_size_bytes").ends_with(": 4@1000 -1@2000"));
}

#[derive(Debug, Default)]
struct Kept(std::sync::Mutex<Vec<String>>);

impl ExemplarSink for Kept {
    fn add(&self, series: &Labels, e: model::Exemplar) -> Result<(), model::ExemplarReject> {
        self.0.lock().unwrap().push(format!("{} {} {}@{}", series.metric_name(), e.labels, e.value, e.at));
        Ok(())
    }
}

#[test]
fn each_exemplar_is_handed_on_once() {
    let (mut b, kept) = (bench(""), Arc::new(Kept::default()));
    b.ingest = Ingest::new(b.store.append(), Arc::clone(&kept) as Arc<dyn ExemplarSink>);
    let body = |n: u32| {
        format!("# TYPE c counter\nc_total {n} # {{t=\"{n}\"}} 0.5\nd_total 1 # {{t=\"x\"}} 2 0.7\n# EOF\n")
    };
    b.open(1000, &body(1));
    b.open(2000, &body(1));
    b.open(3000, &body(2));
    b.open(4000, "c_total 5 # {t=\"3\"} 1\nbroken");
    assert_eq!(
        *kept.0.lock().unwrap(),
        ["c_total {t=\"1\"} 0.5@1000", "d_total {t=\"x\"} 2@700", "c_total {t=\"2\"} 0.5@3000"]
    );
}

#[test]
fn names_beyond_the_classic_alphabet_are_taken_unless_a_job_forbids_them() {
    let body = "{\"a.b\",\"x.y\"=\"1\"} 1\n";
    let mut b = bench("");
    assert_eq!(b.text(1000, body).error, None);
    let mut b = bench("  metric_name_validation_scheme: legacy\n");
    assert!(b.text(1000, body).error.is_some_and(|e| e.ends_with("has a name beyond the classic alphabet")));
    assert!(b.target.job.accept.contains("version=1.0.0;escaping=underscores"));
}

#[test]
fn a_new_line_behind_lines_that_were_followed_is_remembered_as_it_is() {
    let mut b = bench("");
    let first = "h{c=\"200\",m=\"GET\"} 1.5e9\nh{c=\"500\",m=\"GET\"} 3\n";
    b.text(1000, first);
    b.text(2000, &format!("{first}h{{c=\"200\",m=\"PUT\"}} 1\n"));
    let third = format!("{first}h{{c=\"500\",m=\"PUT\"}} 7\nh{{c=\"200\",m=\"PUT\"}} 2\n");
    b.text(3000, &third);
    b.text(4000, &third);
    assert_eq!(
        b.store.of("h{c=200,instance=h:1,job=j,m=PUT}"),
        ["h{c=200,instance=h:1,job=j,m=PUT}: 1@2000 2@3000 2@4000"]
    );
    assert_eq!(
        b.store.of("h{c=500,instance=h:1,job=j,m=PUT}"),
        ["h{c=500,instance=h:1,job=j,m=PUT}: 7@3000 7@4000"]
    );
}

/// A store that takes nothing for a while.
#[derive(Debug)]
struct Full(Arc<dyn Append>, std::sync::atomic::AtomicBool);

impl Append for Full {
    fn resolve(&self, labels: &Labels) -> Result<SeriesRef, AppendError> {
        self.0.resolve(labels)
    }

    fn append(&self, batch: &Batch) -> Result<model::Appended, AppendError> {
        if self.1.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(AppendError::Io(std::io::ErrorKind::StorageFull.into()));
        }
        self.0.append(batch)
    }

    fn sync(&self) -> Result<(), AppendError> {
        self.0.sync()
    }
}

#[test]
fn what_ended_while_the_disk_was_full_ends_afterwards() {
    let mut b = bench("");
    let full = Arc::new(Full(b.store.append(), Default::default()));
    b.ingest = Ingest::new(Arc::clone(&full) as Arc<dyn Append>, Arc::new(model::NoExemplars));
    b.text(1000, "a 1\nb 1\n");
    full.1.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(b.text(2000, "a 2\n").error.is_some());
    full.1.store(false, std::sync::atomic::Ordering::Relaxed);
    b.text(3000, "a 3\n");
    assert_eq!(
        b.metrics(),
        ["a{instance=h:1,job=j}: 1@1000 3@3000", "b{instance=h:1,job=j}: 1@1000 stale@3000"]
    );
}

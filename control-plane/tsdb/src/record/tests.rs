use super::*;
use crate::chunk::tests::histogram;
use model::stale_nan;
use proptest::prelude::*;

fn payload(bytes: &[u8]) -> &[u8] {
    let len = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
    assert_eq!(bytes.len(), FRAME + len as usize);
    assert_eq!(bytes[..4], MARKER);
    assert_eq!(bytes[8..12], checksum(len, &bytes[FRAME..]).to_le_bytes());
    &bytes[FRAME..]
}

fn read(write: impl FnOnce(&mut Vec<u8>)) -> Record {
    let mut out = Vec::new();
    write(&mut out);
    decode(payload(&out)).expect("a record of our own decodes")
}

proptest! {
    #[test]
    fn samples_read_back_bit_by_bit(at: i64, rows in prop::collection::vec((any::<u64>(), any::<u64>()), 0..50), dense in 0u64..40) {
        let mut series: Vec<u64> = rows.iter().map(|(s, _)| *s).collect();
        let mut values: Vec<f64> = rows.iter().map(|(_, v)| f64::from_bits(*v)).collect();
        for i in 0..dense {
            series.push(1000 + i);
            values.push(i as f64 * if i % 3 == 0 { 0.25 } else { -17.0 });
        }
        values.extend([stale_nan(), -0.0]);
        series.extend([u64::MAX, u64::MAX]);
        let Record::Samples { at: at2, series: s2, values: v2 } = read(|o| put_samples(o, at, &series, &values))
        else { panic!("another kind came back") };
        let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!((at2, s2, bits(&v2)), (at, series, bits(&values)));
    }

    #[test]
    fn entries_read_back(rows in prop::collection::vec((any::<u64>(), any::<i64>(), any::<Option<i64>>(), 0.0f64..9.0, any::<Option<bool>>(), histogram()), 1..20)) {
        let full: Vec<Full> = rows.into_iter().map(|(series, at, start, v, h, mut hist)| {
            hist.sum = v;
            Full { series, at, start, value: if h.is_some() { Value::Histogram(Arc::new(hist)) } else { Value::Float(v) } }
        }).collect();
        prop_assert_eq!(read(|o| put_entries(o, &full)), Record::Entries(full));
    }

    #[test]
    fn series_read_back(rows in prop::collection::vec((any::<u64>(), prop::collection::btree_map(".{1,5}", ".{1,5}", 0..5)), 1..20)) {
        let series: Vec<(u64, Labels)> = rows.into_iter().map(|(id, l)| (id, Labels::from_pairs(l))).collect();
        prop_assert_eq!(read(|o| put_series(o, &series)), Record::Series(series));
    }

    #[test]
    fn any_bytes_decode_or_fail(kind in 0u8..7, mut bytes: Vec<u8>) {
        bytes.insert(0, kind);
        prop_assert!(decode(&bytes).is_ok() || decode(&bytes).is_err());
    }
}

#[test]
fn a_scrape_of_small_integers_costs_two_bytes_a_sample() {
    let series: Vec<u64> = (0..1000).collect();
    let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 100)).collect();
    let mut out = Vec::new();
    put_samples(&mut out, 1_700_000_000_000, &series, &values);
    assert!(out.len() < 2000, "{} bytes", out.len());
}

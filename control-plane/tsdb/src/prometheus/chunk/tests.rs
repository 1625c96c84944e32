use super::*;
use crate::{
    bits::BitWriter,
    prometheus::varbit::{get_int, get_uint, put_int, put_time, put_uint, put_uvarint, put_varint},
};
use model::{STALE_NAN_BITS, stale_nan};
use proptest::prelude::*;

fn decoded(encoding: u8, data: &[u8]) -> Result<SampleColumns, Fault> {
    let mut into = SampleColumns::default();
    let all = (i64::MIN, i64::MAX);
    let mut taker =
        Taker { into: &mut into, wanted: all, claimed: all, deleted: &[], last: None, buckets: 0 };
    decode(encoding, data, &mut taker)?;
    Ok(into)
}

fn counted_bits(count: u16) -> BitWriter {
    BitWriter::after(count.to_be_bytes().to_vec())
}

#[test]
fn numbers_come_back_at_every_border_of_their_widths() {
    let mut all = vec![0, i64::MIN, i64::MAX];
    for width in 1..63 {
        for near in -2..=2 {
            all.extend([(1i64 << width) + near, -(1i64 << width) + near]);
        }
    }
    let mut bits = BitWriter::default();
    for v in &all {
        put_int(&mut bits, *v);
        put_uint(&mut bits, v.cast_unsigned());
        put_time(&mut bits, *v);
        put_varint(&mut bits, *v);
    }
    let mut reader = BitReader::new(bits.bytes());
    for v in &all {
        assert_eq!(get_int(&mut reader), Some(*v));
        assert_eq!(get_uint(&mut reader), Some(v.cast_unsigned()));
        assert_eq!(get_time(&mut reader), Some(*v));
        assert_eq!(get_varint(&mut reader), Some(*v));
    }
}

#[test]
fn the_widths_are_those_of_the_format() {
    let bits = |put: &dyn Fn(&mut BitWriter)| {
        let mut out = BitWriter::default();
        put(&mut out);
        out.bytes().iter().map(|b| format!("{b:08b}")).collect::<String>()
    };
    let check = |put: &dyn Fn(&mut BitWriter), expect: &str| {
        let got = bits(put);
        assert!(got.starts_with(expect) && got.len() - expect.len() < 8, "{got} instead of {expect}");
    };
    check(&|b| put_int(b, 0), "0");
    check(&|b| put_int(b, 4), "10100");
    check(&|b| put_int(b, -3), "10101");
    check(&|b| put_int(b, -4), "110111100");
    check(&|b| put_uint(b, 7), "10111");
    check(&|b| put_uint(b, 8), "110001000");
    check(&|b| put_time(b, 8192), &format!("10{:014b}", 8192));
    check(&|b| put_time(b, 8193), &format!("110{:017b}", 8193));
    check(&|b| put_time(b, -1), "1011111111111111");
}

#[test]
fn an_unknown_encoding_is_named() {
    let Err(Fault::Unknown(what)) = decoded(5, &[0, 1]) else { panic!() };
    assert!(what.contains("encoding 5"), "{what}");
    assert_eq!(decoded(0, &[0, 1]), Err(Fault::Malformed("chunk encoding 0 stands for none")));
    let mut bits = BitWriter::after(vec![0, 1, 0]);
    bits.put(0, 8);
    put_int(&mut bits, 60);
    let Err(Fault::Unknown(what)) = decoded(HISTOGRAM, bits.bytes()) else { panic!() };
    assert!(what.contains("schema 60"), "{what}");
}

#[test]
fn a_chunk_that_claims_more_than_it_has_is_malformed() {
    let mut bits = counted_bits(3);
    put_varint(&mut bits, 1000);
    bits.put(1f64.to_bits(), 64);
    assert_eq!(decoded(XOR, bits.bytes()), Err(Fault::cut()));
    // 65,535 histograms of 65,536 buckets in a few bytes.
    let mut bits = BitWriter::after(vec![0xff, 0xff, 0]);
    bits.put(0, 8);
    put_int(&mut bits, 0);
    put_uint(&mut bits, 1);
    put_uint(&mut bits, 65_536);
    put_int(&mut bits, 0);
    put_uint(&mut bits, 0);
    (0..10_000).for_each(|_| bits.put(0, 64));
    assert_eq!(
        decoded(HISTOGRAM, bits.bytes()),
        Err(Fault::Malformed("its histograms have too many buckets"))
    );
}

/// XOR2 as its description has it, without any of the shortcuts of a real writer.
fn xor2(samples: &[(i64, f64, i64)]) -> Vec<u8> {
    let mut bits = BitWriter::default();
    let (mut header, mut from) = (0u8, None);
    let (mut last, mut leading, mut trailing) = (0u64, 64u32, 0u32);
    let (mut before, mut delta, mut start, mut distance) = (0i64, 0i64, 0i64, 0i64);
    let mut window = |bits: &mut BitWriter, changed: u64, same: &[bool], new: &[bool]| {
        let (l, t) = (changed.leading_zeros().min(31), changed.trailing_zeros());
        let keep = leading < 64 && l >= leading && t >= trailing;
        (if keep { same } else { new }).iter().for_each(|b| bits.bit(*b));
        if !keep {
            (leading, trailing) = (l, t);
            bits.put(u64::from(l), 5);
            bits.put(u64::from(64 - l - t) & 63, 6);
        }
        bits.put(changed >> trailing, 64 - leading - trailing);
    };
    for (n, (at, value, begun)) in samples.iter().enumerate() {
        let now = value.to_bits();
        let stale = now == STALE_NAN_BITS;
        if n == 0 {
            put_varint(&mut bits, *at);
            bits.put(now, 64);
            if *begun != 0 {
                header = 0x80;
                put_varint(&mut bits, at - begun);
            }
            last = if stale { 0 } else { now };
        } else {
            let step = at - before;
            let change = step - delta;
            if n > 1 && change == 0 {
                match (stale, now == last) {
                    (true, _) => bits.put(0b11111, 5),
                    (_, true) => bits.bit(false),
                    _ => {
                        bits.put(0b10, 2);
                        window(&mut bits, now ^ last, &[false], &[true]);
                    }
                }
            } else {
                if n == 1 {
                    put_uvarint(&mut bits, step.cast_unsigned());
                } else if (-4096..4096).contains(&change) {
                    bits.put(0b110, 3);
                    bits.put(change.cast_unsigned(), 13);
                } else if (-524_288..524_288).contains(&change) {
                    bits.put(0b1110, 4);
                    bits.put(change.cast_unsigned(), 20);
                } else {
                    bits.put(0b11110, 5);
                    bits.put(change.cast_unsigned(), 64);
                }
                match (stale, now == last) {
                    (true, _) => bits.put(0b111, 3),
                    (_, true) => bits.bit(false),
                    _ => window(&mut bits, now ^ last, &[true, false], &[true, true, false]),
                }
            }
            delta = step;
            if !stale {
                last = now;
            }
            match from {
                None if *begun != start || n == 127 => {
                    from = Some(n);
                    distance = before - begun;
                    put_int(&mut bits, distance);
                }
                None => {}
                Some(_) => {
                    put_int(&mut bits, before - begun - distance);
                    distance = before - begun;
                }
            }
        }
        (before, start) = (*at, *begun);
    }
    header |= u8::try_from(from.unwrap_or(0)).unwrap();
    let mut out = u16::try_from(samples.len()).unwrap().to_be_bytes().to_vec();
    out.push(header);
    out.extend_from_slice(bits.bytes());
    out
}

fn check_xor2(samples: &[(i64, f64, i64)]) {
    let got = decoded(XOR2, &xor2(samples)).unwrap();
    let mut want = SampleColumns::default();
    for (at, value, start) in samples {
        want.push(*at, Value::Float(*value), (*start != 0).then_some(*start));
    }
    assert_eq!((&got.times, &got.starts), (&want.times, &want.starts));
    let bits = |c: &SampleColumns| c.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&got), bits(&want));
}

#[test]
fn xor2_gives_values_staleness_and_start_times() {
    let floats = [1.0, 1.0, 2.5, stale_nan(), 2.5, f64::NAN, -0.0, 1e300, stale_nan(), stale_nan(), 7.0];
    let times =
        [0, 15_000, 30_000, 45_000, 60_000, 60_001, 90_000, 10_000_000, 10_000_500, 10_001_000, 10_001_500];
    let with = |start: &dyn Fn(usize) -> i64| {
        let all: Vec<_> = (0..floats.len()).map(|i| (times[i], floats[i], start(i))).collect();
        check_xor2(&all);
        check_xor2(&all[..1]);
        check_xor2(&all[..2]);
    };
    with(&|_| 0);
    with(&|_| -500);
    with(&|i| if i < 5 { 0 } else { 44_000 });
    with(&|i| if i == 0 { 0 } else { times[i - 1] });
    with(&|i| times[i] - 1);
}

proptest! {
    #[test]
    fn xor2_comes_back(
        steps in prop::collection::vec((1i64..70_000, 0u8..8, -5000i64..5000), 1..300),
        from in -1_000_000i64..1_000_000,
    ) {
        let (mut at, mut value, mut start, mut samples) = (from, 0.0, 0, Vec::new());
        for (step, kind, more) in steps {
            at += if kind < 4 { 15_000 } else { step };
            value = match kind {
                0 => stale_nan(),
                1 | 4 => 42.0,
                2 => value + 1.0,
                _ => f64::from_bits(value.to_bits() ^ step.cast_unsigned() << 20),
            };
            if kind == 5 {
                start = at + more;
            }
            samples.push((at, value, start));
        }
        check_xor2(&samples);
    }
}

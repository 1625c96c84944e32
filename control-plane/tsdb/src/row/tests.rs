use super::*;
use proptest::prelude::*;

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (0u32..1000).prop_map(f64::from),
        4 => (-100_000i32..100_000).prop_map(|v| f64::from(v) / 1000.0),
        1 => any::<f64>(),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(ABSENT),
        1 => Just(model::stale_nan()),
        1 => Just(-0.0),
    ]
}

/// Rows that grow: each has at least as many columns as the one before.
fn table() -> impl Strategy<Value = Vec<Vec<f64>>> {
    (1usize..150, 0usize..80, 1usize..12).prop_flat_map(|(first, more, rows)| {
        (0..rows)
            .map(|r| prop::collection::vec(value(), if r < rows / 2 { first } else { first + more }))
            .collect::<Vec<_>>()
    })
}

proptest! {
    #[test]
    fn every_number_comes_back_by_row_and_by_column(table in table()) {
        let (mut states, mut rows) = (States::default(), Rows::default());
        let (mut back, mut copied, mut reading) = (States::default(), States::default(), Reading::default());
        for (at, values) in table.iter().enumerate() {
            let (row, written) = states.encode(at as i64, at, values);
            prop_assert_eq!(&back.restore(&written).expect("reads"), &row);
            let packed = Written { form: Form::Packed, bytes: row.bytes().to_vec(), ..written.clone() };
            prop_assert_eq!(&copied.restore(&packed).expect("reads"), &row);
            prop_assert_eq!(&copied.guesses, &back.guesses);
            let mut told = vec![ABSENT.to_bits(); values.len()];
            reading.next(&written, |c, v| told[c] = v.to_bits()).expect("reads");
            prop_assert_eq!(&told, &values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
            rows.push(Arc::new(row));
        }
        let columns = table.last().map_or(0, Vec::len);
        let mut strip = Vec::new();
        for c in 0..columns {
            let want: Vec<(i64, u64)> = table
                .iter()
                .enumerate()
                .filter_map(|(at, r)| Some((at as i64, r.get(c)?.to_bits())))
                .filter(|(_, bits)| *bits != ABSENT.to_bits())
                .collect();
            let mut got = Vec::new();
            rows.column(c, |at, v| { got.push((at, v.to_bits())); true }).expect("reads");
            prop_assert_eq!(&got, &want, "column {}", c);
            let mut back = Vec::new();
            let now = states.now(c).expect("a state for every column");
            let whole = rows.column_back(c, now, |at, v| { back.push((at, v.to_bits())); true }).expect("reads");
            back.reverse();
            prop_assert_eq!(&back[..], &want[want.len() - back.len()..], "column {} from behind", c);
            prop_assert!(back.len() == want.len() || !whole, "column {} ended early", c);
            rows.strip(c / BLOCK, &mut strip).expect("reads");
            let column = strip[c % BLOCK].iter().enumerate().map(|(at, v)| (at as i64, v.to_bits()));
            let got: Vec<_> = column.filter(|(_, bits)| *bits != ABSENT.to_bits()).collect();
            prop_assert_eq!(&got, &want, "strip of column {}", c);
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_a_row(bytes in prop::collection::vec(any::<u8>(), 0..300), columns in 0usize..200) {
        if let Ok(row) = Row::read(0, columns, &bytes) {
            let mut rows = Rows::default();
            rows.push(Arc::new(row));
            for c in 0..columns {
                rows.column(c, |_, _| true).expect("what was read whole can be read in parts");
            }
        }
    }
}

#[test]
fn counters_of_a_scrape_take_a_byte_in_memory_and_less_in_the_log() {
    let (mut states, mut values) = (States::default(), vec![1_000_000.0; 2000]);
    let mut last = None;
    for place in 0..12 {
        for (i, v) in values.iter_mut().enumerate() {
            *v += (i % 64) as f64;
        }
        last = Some(states.encode(place, usize::try_from(place).unwrap(), &values));
    }
    let (row, written) = last.unwrap();
    assert!(row.bytes().len() < 1700, "{}", row.bytes().len());
    assert!(written.bytes.len() < 1600, "{}", written.bytes.len());
}

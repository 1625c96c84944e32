use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn varints_read_back(u: u64, i: i64, s: String) {
        let mut out = Vec::new();
        put_uvarint(&mut out, u);
        put_ivarint(&mut out, i);
        put_str(&mut out, &s);
        let mut r = Reader::new(&out, "test");
        prop_assert_eq!(r.uvarint(), Ok(u));
        prop_assert_eq!(r.ivarint(), Ok(i));
        prop_assert_eq!(r.str(), Ok(&*s));
        prop_assert!(r.is_empty());
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(bytes: Vec<u8>) {
        let mut r = Reader::new(&bytes, "test");
        while r.uvarint().is_ok() && r.str().is_ok() {}
        prop_assert!(r.remaining() <= bytes.len());
    }
}

#[test]
fn a_length_beyond_the_bytes_is_refused() {
    let mut out = Vec::new();
    put_uvarint(&mut out, u64::MAX);
    assert_eq!(Reader::new(&out, "string").str(), Err(Malformed("string")));
}

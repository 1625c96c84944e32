use super::*;

#[test]
fn the_published_values_come_out() {
    // RFC 3720, B.4, and the check value of the catalogues of CRCs.
    let check = |bytes: &[u8], expect: u32| assert_eq!(crc32c(bytes), expect);
    check(b"123456789", 0xe306_9283);
    check(&[0; 32], 0x8a91_36aa);
    check(&[0xff; 32], 0x62a8_ab43);
    check(&(0..32).collect::<Vec<u8>>(), 0x46dd_794e);
    check(b"", 0);
}

#[test]
fn pieces_make_the_same_as_the_whole() {
    let bytes: Vec<u8> = (0..1000u32).map(|i| i.to_le_bytes()[0]).collect();
    for cut in [0, 1, 7, 8, 9, 500, 999, 1000] {
        let mut crc = Crc::new();
        crc.update(&bytes[..cut]);
        crc.update(&bytes[cut..]);
        assert_eq!(crc.value(), crc32c(&bytes), "cut at {cut}");
    }
}

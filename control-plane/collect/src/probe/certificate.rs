//! Until when a certificate is valid: `notAfter`, found in its DER bytes (RFC 5280, 4.1).

/// A DER element: its tag, its content, what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(b, _)| b.len() <= 4)?;
        (bytes.iter().fold(0, |n, b| (n << 8) | usize::from(*b)), rest)
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// Seconds since 1970 at which the certificate ends.
pub(super) fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(der)?;
    let (_, mut fields, _) = element(certificate)?;
    // version (optional, tag 0xa0), serial number, signature algorithm, issuer, validity
    if fields.first() == Some(&0xa0) {
        fields = element(fields)?.2;
    }
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// `YYMMDDHHMMSSZ` (tag 0x17, years 1950 to 2049) or `YYYYMMDDHHMMSSZ` (tag 0x18).
fn time(tag: u8, text: &str) -> Option<i64> {
    let (year, rest) = match tag {
        0x17 => {
            let (y, rest) = text.split_at_checked(2)?;
            let y: i16 = y.parse().ok()?;
            (if y < 50 { 2000 + y } else { 1900 + y }, rest)
        }
        0x18 => {
            let (y, rest) = text.split_at_checked(4)?;
            (y.parse().ok()?, rest)
        }
        _ => return None,
    };
    let digits = rest.strip_suffix('Z').filter(|d| d.len() == 10 && d.bytes().all(|b| b.is_ascii_digit()))?;
    let mut parts = digits.as_bytes().chunks(2).map(|c| std::str::from_utf8(c).ok()?.parse::<i8>().ok());
    let mut next = || parts.next().flatten();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    let date = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|z| z.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        if content.len() < 0x80 {
            out.push(content.len().to_le_bytes()[0]);
        } else {
            out.push(0x82);
            out.extend(&content.len().to_be_bytes()[6..]);
        }
        out.extend(content);
        out
    }

    fn certificate(version: bool, tag: u8, end: &str) -> Vec<u8> {
        let validity = [der(0x17, b"200101000000Z"), der(tag, end.as_bytes())].concat();
        let mut fields = if version { der(0xa0, &der(2, &[2])) } else { Vec::new() };
        fields.extend(der(2, &[1; 20]));
        fields.extend(der(0x30, &[0; 200]));
        fields.extend(der(0x30, b"issuer"));
        fields.extend(der(0x30, &validity));
        der(0x30, &der(0x30, &fields))
    }

    #[test]
    fn the_end_is_found_in_both_notations() {
        assert_eq!(not_after(&certificate(true, 0x17, "301231235959Z")), Some(1_924_991_999));
        assert_eq!(not_after(&certificate(false, 0x18, "20501231235959Z")), Some(2_556_143_999));
        assert_eq!(not_after(&certificate(true, 0x17, "3012312359Z")), None);
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_time_or_nothing(bytes: Vec<u8>, cut in 0usize..400) {
            let sound = certificate(true, 0x17, "301231235959Z");
            prop_assert!(not_after(&bytes).is_none_or(|t| t < i64::MAX));
            let cut = cut.min(sound.len());
            prop_assert!(not_after(&sound[..cut]).is_none_or(|t| t == 1_924_991_999));
        }
    }
}

use super::*;

#[test]
fn the_cookie_beats_the_browser_and_the_browser_beats_the_default() {
    let check = |cookies: &str, accepted: &str, expect: Locale| {
        assert_eq!(Locale::choose(cookies, accepted), expect, "{cookies} {accepted}");
    };
    check("", "", Locale::Fr);
    check("", "en-GB,en;q=0.9,fr;q=0.8", Locale::En);
    check("", "de, fr;q=0.5, en;q=0.7", Locale::En);
    check("", "en;q=0, fr;q=0.1", Locale::Fr);
    check("a=b; lang=fr", "en", Locale::Fr);
    check("lang=xx", "en", Locale::En);
}

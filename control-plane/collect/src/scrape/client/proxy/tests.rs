use super::*;

fn asked_directly(no_proxy: &str, url: &str) -> bool {
    Exceptions::parse(no_proxy).hold(&Url::parse(url).expect("an address"))
}

#[test]
fn exceptions_are_hosts_domains_networks_and_ports() {
    for (no_proxy, url, want) in [
        ("", "http://example.com/", false),
        ("", "http://localhost:9/", true),
        ("", "http://127.3.2.1/", true),
        ("", "http://[::1]/", true),
        ("*", "http://example.com/", true),
        ("a.test, *", "http://10.0.0.1/", true),
        ("example.com", "http://example.com/", true),
        (" Example.COM ,b", "http://sub.example.com/", true),
        ("example.com", "http://notexample.com/", false),
        (".example.com", "http://sub.example.com/", true),
        (".example.com", "http://example.com/", false),
        ("*.example.com", "http://sub.example.com/", true),
        ("*.example.com", "http://example.com/", false),
        ("example.com:9100", "http://example.com:9100/", true),
        ("example.com:9100", "http://example.com/", false),
        ("example.com:80", "http://example.com/", true),
        ("example.com:443", "https://example.com/", true),
        ("example.com:x", "http://example.com/", false),
        ("10.0.0.0/8", "http://10.9.8.7:9100/", true),
        ("10.0.0.0/8", "http://11.0.0.1/", false),
        ("0.0.0.0/0", "http://11.0.0.1/", true),
        ("10.0.0.1/32", "http://10.0.0.2/", false),
        ("10.0.0.1/33", "http://10.0.0.1/", false),
        ("fd00::/8", "http://[fd12::1]/", true),
        ("fd00::/8", "http://[fe80::1]/", false),
        ("10.0.0.1", "http://10.0.0.1:9100/", true),
        ("10.0.0.1:9100", "http://10.0.0.1:9100/", true),
        ("10.0.0.1:9100", "http://10.0.0.1/", false),
        ("[fd00::1]:9100", "http://[fd00::1]:9100/", true),
        ("fd00::1", "http://[fd00::1]/", true),
        ("10.0.0.1", "http://[::ffff:10.0.0.1]/", true),
        (",, :80,", "http://example.com/", false),
    ] {
        assert_eq!(asked_directly(no_proxy, url), want, "{no_proxy:?} {url}");
    }
}

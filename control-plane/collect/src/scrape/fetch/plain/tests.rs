use super::*;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::net::TcpListener;

/// A server that answers each request of a connection with the next of `answers`, in pieces of `step` bytes, and
/// then closes it; it counts connections.
async fn server(answers: Vec<Vec<u8>>, step: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let connections = Arc::clone(&count);
    #[expect(clippy::disallowed_methods, reason = "a server of a test ends with its runtime")]
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::Relaxed);
            for answer in &answers {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                for piece in answer.chunks(step) {
                    if stream.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    (port, count)
}

async fn ask(connection: &mut Connection, port: u16, limit: u64) -> Result<(u16, Vec<u8>), String> {
    let mut body = Vec::new();
    let host = url::Host::Ipv4(std::net::Ipv4Addr::LOCALHOST);
    let head = connection.ask((&host, port), b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", &mut body, limit).await;
    head.map(|h| (h.status, body)).map_err(|e| e.to_string())
}

#[tokio::test]
async fn bodies_of_every_kind_are_read_whole_in_any_pieces() {
    let answers: [(&str, &str, bool); 6] = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
            "hello",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\na: b\r\n\r\n",
            "hello",
            true,
        ),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
        ("HTTP/1.1 503 no\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno", "no", false),
    ];
    for (answer, want, kept) in answers {
        for step in [1, 7, 1000] {
            let (port, connections) = server(vec![answer.into(); 2], step).await;
            let mut connection = Connection::default();
            for _ in 0..2 {
                assert_eq!(ask(&mut connection, port, 100).await.unwrap().1, want.as_bytes(), "{answer}");
            }
            assert_eq!(connections.load(Ordering::Relaxed) == 1, kept, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na";
    let (port, connections) = server(vec![answer.to_vec()], 1000).await;
    let mut connection = Connection::default();
    for _ in 0..3 {
        assert_eq!(ask(&mut connection, port, 100).await.unwrap().1, b"a");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_is_no_answer_is_an_error() {
    for (answer, limit, expect) in [
        ("nonsense\r\n\r\n", 10, "not HTTP/1.1"),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", 10, "its length is no number"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 10, "two lengths"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n", 10, "too long"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n", 10, "too long"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 10, "no number"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", 10, "longer than its size"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", 10, "not known"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", 10, "ended early"),
    ] {
        let (port, _) = server(vec![answer.into()], 1000).await;
        let error = ask(&mut Connection::default(), port, limit).await.unwrap_err();
        assert!(error.contains(expect), "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    let (port, _) = server(vec![b"HTTP/1.0 200 OK\r\n\r\nhello".to_vec()], 2).await;
    assert_eq!(ask(&mut Connection::default(), port, 100).await.unwrap(), (200, b"hello".to_vec()));
}

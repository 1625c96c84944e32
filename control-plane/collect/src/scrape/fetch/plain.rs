//! HTTP/1.1 over a connection that a target keeps: what nearly every scrape is.
//!
//! A scrape of a near target is mostly the cost of its client, so this one does no more than the request needs:
//! no task, no pool, and no memory while nothing is on its way; the body goes from the socket into a buffer that
//! all targets share in turn. Heads are read by `httparse`. TLS, redirects and all else are left to the full
//! client. A kept connection that fails before its first byte is replaced once: the other side had closed it.

use std::{fmt, io, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Bytes of an answer's head, at most.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 100;
/// What is read at once.
const STEP: usize = 64 << 10;

/// A target's connection between its scrapes.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    stream: Option<TcpStream>,
    /// The bytes of the request, where they are the same every time.
    pub(super) request: Option<Vec<u8>>,
}

/// The parts of a head that matter.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) encoding: String,
    length: Option<u64>,
    chunked: bool,
    keep: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    Io(&'static str, io::Error),
    Head(String),
    /// The body passes the limit.
    Long,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Io(what, e) => write!(f, "{what}: {e}"),
            Fault::Head(what) => write!(f, "the answer is not HTTP/1.1: {what}"),
            Fault::Long => f.write_str("the body is too long"),
        }
    }
}

/// Where a host's name or address leads.
async fn connect(host: &url::Host<String>, port: u16) -> io::Result<TcpStream> {
    let stream = match host {
        url::Host::Domain(name) => TcpStream::connect((name.as_str(), port)).await?,
        url::Host::Ipv4(ip) => TcpStream::connect(SocketAddr::from((*ip, port))).await?,
        url::Host::Ipv6(ip) => TcpStream::connect(SocketAddr::from((*ip, port))).await?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Connection {
    /// Sends a request and reads the answer; the body, decoded from its chunks, is in `body` then. It may be as
    /// long as `limit`.
    pub(super) async fn ask(
        &mut self,
        (host, port): (&url::Host<String>, u16),
        request: &[u8],
        body: &mut Vec<u8>,
        limit: u64,
    ) -> Result<Head, Fault> {
        if let Some(stream) = self.stream.take() {
            match self.exchange(stream, request, body, limit).await {
                // It was closed while nothing was on its way.
                Err(Fault::Io(..)) if body.is_empty() => {}
                other => return other,
            }
        }
        let stream = connect(host, port).await.map_err(|e| Fault::Io("cannot connect", e))?;
        self.exchange(stream, request, body, limit).await
    }

    async fn exchange(
        &mut self,
        mut stream: TcpStream,
        request: &[u8],
        body: &mut Vec<u8>,
        limit: u64,
    ) -> Result<Head, Fault> {
        body.clear();
        stream.write_all(request).await.map_err(|e| Fault::Io("the request could not be sent", e))?;
        let (head, len) = read_head(&mut stream, body).await?;
        body.drain(..len);
        let whole = if head.chunked {
            read_chunked(&mut stream, body, limit).await?
        } else if let Some(length) = head.length {
            read_sized(&mut stream, body, length, limit).await?
        } else {
            read_to_end(&mut stream, body, limit).await?
        };
        if head.keep && whole {
            self.stream = Some(stream);
        }
        Ok(head)
    }
}

/// Reads more into `buffer`; the end of the stream is an error.
async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), Fault> {
    buffer.reserve(STEP);
    match stream.read_buf(buffer).await {
        Ok(0) => Err(Fault::Io("the connection ended early", io::ErrorKind::UnexpectedEof.into())),
        Ok(_) => Ok(()),
        Err(e) => Err(Fault::Io("the answer could not be read", e)),
    }
}

/// Reads the head of the final answer; returns it and its length in `buffer`.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(Head, usize), Fault> {
    loop {
        more(stream, buffer).await?;
        while let Some((head, len)) = parse_head(buffer)? {
            if head.status / 100 != 1 {
                return Ok((head, len));
            }
            // The answer proper follows.
            buffer.drain(..len);
        }
        if buffer.len() > MAX_HEAD {
            return Err(Fault::Head("its head is too long".to_owned()));
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(e) => return Err(Fault::Head(e.to_string())),
    };
    let mut head = Head {
        status: response.code.unwrap_or(0),
        content_type: String::new(),
        encoding: String::new(),
        length: None,
        chunked: false,
        keep: response.version == Some(1),
    };
    for header in response.headers.iter() {
        let value = String::from_utf8_lossy(header.value);
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-type") {
            head.content_type = value.into_owned();
        } else if is("content-encoding") {
            head.encoding = value.trim().to_ascii_lowercase();
        } else if is("content-length") {
            let length =
                value.trim().parse().map_err(|_| Fault::Head("its length is no number".to_owned()))?;
            if head.length.is_some_and(|have| have != length) {
                return Err(Fault::Head("it has two lengths".to_owned()));
            }
            head.length = Some(length);
        } else if is("transfer-encoding") {
            match value.trim() {
                v if v.eq_ignore_ascii_case("chunked") => head.chunked = true,
                v if v.eq_ignore_ascii_case("identity") => {}
                other => return Err(Fault::Head(format!("transfer encoding {other:?} is not known"))),
            }
        } else if is("connection") {
            head.keep &= !value.split(',').any(|v| v.trim().eq_ignore_ascii_case("close"));
        }
    }
    if matches!(head.status, 204 | 304) {
        (head.length, head.chunked) = (Some(0), false);
    }
    Ok(Some((head, len)))
}

fn check(len: u64, limit: u64) -> Result<(), Fault> {
    if len > limit { Err(Fault::Long) } else { Ok(()) }
}

/// Whether exactly the body was read.
async fn read_sized(
    stream: &mut TcpStream,
    body: &mut Vec<u8>,
    length: u64,
    limit: u64,
) -> Result<bool, Fault> {
    check(length, limit)?;
    let length = usize::try_from(length).map_err(|_| Fault::Long)?;
    body.reserve_exact((length + 1).saturating_sub(body.len()));
    while body.len() < length {
        let n = stream.read_buf(body).await.map_err(|e| Fault::Io("the answer could not be read", e))?;
        if n == 0 {
            return Err(Fault::Io("the connection ended early", io::ErrorKind::UnexpectedEof.into()));
        }
    }
    let whole = body.len() == length;
    body.truncate(length);
    Ok(whole)
}

async fn read_to_end(stream: &mut TcpStream, body: &mut Vec<u8>, limit: u64) -> Result<bool, Fault> {
    loop {
        check(body.len() as u64, limit)?;
        body.reserve(STEP);
        match stream.read_buf(body).await {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(e) => return Err(Fault::Io("the answer could not be read", e)),
        }
    }
}

/// Reads chunks, and moves their contents to the beginning of `body`.
async fn read_chunked(stream: &mut TcpStream, body: &mut Vec<u8>, limit: u64) -> Result<bool, Fault> {
    // Decoded so far, and read so far of what is not.
    let (mut done, mut at) = (0usize, 0usize);
    loop {
        let size = loop {
            match httparse::parse_chunk_size(&body[at..]) {
                Ok(httparse::Status::Complete((len, size))) => {
                    at += len;
                    break size;
                }
                Ok(httparse::Status::Partial) => more(stream, body).await?,
                Err(_) => return Err(Fault::Head("a chunk's size is no number".to_owned())),
            }
            if body.len() - at > MAX_HEAD + STEP {
                return Err(Fault::Head("a chunk's size does not end".to_owned()));
            }
        };
        if size == 0 {
            break;
        }
        check((done as u64).saturating_add(size), limit)?;
        let size = usize::try_from(size).map_err(|_| Fault::Long)?;
        while body.len() < at + size + 2 {
            more(stream, body).await?;
        }
        if body[at + size..at + size + 2] != *b"\r\n" {
            return Err(Fault::Head("a chunk is longer than its size".to_owned()));
        }
        body.copy_within(at..at + size, done);
        done += size;
        at += size + 2;
        // What was decoded leaves room for what is read next.
        if at - done > STEP {
            body.drain(done..at);
            at = done;
        }
    }
    // Trailers, up to an empty line.
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"\r\n") {
            let whole = rest.len() == 2;
            body.truncate(done);
            return Ok(whole);
        }
        if let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") {
            let whole = rest.len() == end + 4;
            body.truncate(done);
            return Ok(whole);
        }
        if rest.len() > MAX_HEAD {
            return Err(Fault::Head("its trailers are too long".to_owned()));
        }
        more(stream, body).await?;
    }
}

#[cfg(test)]
mod tests;

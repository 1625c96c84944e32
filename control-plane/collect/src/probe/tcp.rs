//! Probes of a port: that a connection can be made, what is said on it, and TLS where the port speaks it, at once
//! or after STARTTLS.

use super::{
    Found, Prober,
    condition::Answer,
    dialogue::{self, Lines, Step},
    net::Endpoint,
    tls::Tls,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TcpProbe {
    pub(super) endpoint: Endpoint,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TlsProbe {
    pub(super) endpoint: Endpoint,
    pub(super) tls: Tls,
    pub(super) starttls: Option<StartTls>,
    /// After the handshake.
    pub(super) steps: Vec<Step>,
}

/// A protocol that begins in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartTls {
    Smtp,
    Imap,
    Pop3,
    Ftp,
    Postgres,
}

impl StartTls {
    pub(super) const NAMES: [(&'static str, StartTls); 5] = [
        ("smtp", StartTls::Smtp),
        ("imap", StartTls::Imap),
        ("pop3", StartTls::Pop3),
        ("ftp", StartTls::Ftp),
        ("postgres", StartTls::Postgres),
    ];

    /// Greeting, then pairs of what is said and what must come back, by its beginning.
    fn steps(self) -> &'static [(&'static str, &'static str)] {
        match self {
            StartTls::Smtp => &[("", "220 "), ("EHLO vigie\r\n", "250 "), ("STARTTLS\r\n", "220 ")],
            StartTls::Imap => &[("", "* OK"), ("a STARTTLS\r\n", "a OK")],
            StartTls::Pop3 => &[("", "+OK"), ("STLS\r\n", "+OK")],
            StartTls::Ftp => &[("", "220 "), ("AUTH TLS\r\n", "234 ")],
            StartTls::Postgres => &[],
        }
    }

    /// Whether more of the same answer follows.
    fn goes_on(self, line: &str, wanted: &str) -> bool {
        match self {
            // `250-SIZE 100`, then `250 DSN`.
            StartTls::Smtp | StartTls::Ftp => line.get(..4) == Some(&*wanted.replace(' ', "-")),
            StartTls::Imap => line.starts_with("* "),
            StartTls::Pop3 | StartTls::Postgres => false,
        }
    }

    /// Asks for TLS on a connection in the clear.
    async fn ask(self, stream: &mut TcpStream) -> Result<(), String> {
        if self == StartTls::Postgres {
            // SSLRequest: a length of 8, then its number; one byte comes back.
            let request = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
            stream.write_all(&request).await.map_err(|e| format!("sending failed: {e}"))?;
            let answer = stream.read_u8().await.map_err(|e| format!("reading failed: {e}"))?;
            return if answer == b'S' {
                Ok(())
            } else {
                Err("the server refused TLS at SSLRequest".to_owned())
            };
        }
        let mut lines = Lines::new(stream);
        for (say, wanted) in self.steps() {
            if !say.is_empty() {
                lines.send(say).await?;
            }
            loop {
                let line = lines.next().await?.ok_or("the server hung up before TLS")?;
                if line.starts_with(wanted) || line == wanted.trim_end() {
                    break;
                }
                if !self.goes_on(&line, wanted) {
                    let line: String = line.chars().take(80).collect();
                    let said = if say.is_empty() { "the greeting" } else { say.trim_end() };
                    return Err(format!("the answer to {said} was {line:?}, wanted {:?}", wanted.trim_end()));
                }
            }
        }
        // What came early was not protected, and would pass for what was said after the handshake.
        if lines.is_spent() { Ok(()) } else { Err("the server said more before TLS than it may".to_owned()) }
    }
}

pub(super) async fn run(prober: &Prober, probe: &TcpProbe, found: &mut Found) -> Result<Answer, String> {
    if !probe.steps.is_empty() {
        found.set("probe_failed_due_to_regex", 0.0);
    }
    let mut stream = prober.connect(&probe.endpoint, found).await?.stream;
    dialogue::hold(&probe.steps, &mut stream, found).await?;
    Ok(Answer::default())
}

pub(super) async fn run_tls(prober: &Prober, probe: &TlsProbe, found: &mut Found) -> Result<Answer, String> {
    if !probe.steps.is_empty() {
        found.set("probe_failed_due_to_regex", 0.0);
    }
    let mut stream = prober.connect(&probe.endpoint, found).await?.stream;
    if let Some(starttls) = probe.starttls {
        starttls.ask(&mut stream).await?;
    }
    let mut secured = prober.secure(&probe.tls, &probe.endpoint.host, stream, found).await?;
    dialogue::hold(&probe.steps, &mut secured.stream, found).await?;
    Ok(Answer { certificate_left: secured.certificate_left, ..Answer::default() })
}

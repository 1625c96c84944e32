//! How large answers leave: piece by piece, for as long as their client takes them.
//!
//! An answer is in memory until it is sent, and nothing makes a client read. What a query took of the memory that all
//! queries share is therefore held until its answer is gone; and an answer whose next piece nobody takes is broken
//! off, so that neither is held for ever: no client takes that for the end.

use crate::Plane;
use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    response::Response,
};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderValue, header};
use promql::Lease;
use std::{io, time::Duration};
use tokio::sync::mpsc;

/// What is no longer than this leaves in one piece, and is held to nothing.
const PIECE: usize = 1 << 20;

/// How long a piece may wait for its client.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets an answer leave in pieces if it is large. `lease` is what was taken for it.
pub(crate) async fn in_pieces(plane: &Plane, response: Response, mut lease: Lease) -> Response {
    let (mut parts, body) = response.into_parts();
    let length = body.size_hint().exact().and_then(|n| usize::try_from(n).ok());
    let Some(length) = length.filter(|n| *n > PIECE) else { return Response::from_parts(parts, body) };
    // It is there as a whole: nothing is copied, and nothing can fail.
    let mut rest = to_bytes(body, length).await.unwrap_or_default();
    lease.keep(length);
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let (send, pieces) = mpsc::channel::<Bytes>(1);
    let clock = plane.clock.clone();
    plane.tasks.spawn("answer", async move {
        let _held = lease;
        while !rest.is_empty() {
            // A copy: a part of the whole would keep all of it.
            let piece = Bytes::copy_from_slice(&rest.split_to(rest.len().min(PIECE)));
            tokio::select! {
                sent = send.send(piece) => if sent.is_err() { break },
                () = clock.sleep(PATIENCE) => break,
            }
        }
    });
    Response::from_parts(parts, Body::from_stream(all(pieces, length)))
}

/// The pieces of so many bytes. That they end too early is an error, also to who compresses them on their way: else
/// what it makes of them would have an end.
fn all(pieces: mpsc::Receiver<Bytes>, length: usize) -> impl Stream<Item = io::Result<Bytes>> {
    let pieces = stream::unfold((pieces, length), |(mut pieces, left)| async move {
        match pieces.recv().await {
            Some(piece) => {
                let left = left.saturating_sub(piece.len());
                Some((Ok(piece), (pieces, left)))
            }
            None if left > 0 => Some((Err(io::Error::other("nobody took the answer")), (pieces, 0))),
            None => None,
        }
    });
    // Who compresses them asks once more.
    pieces.fuse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_broken_off_does_not_look_whole() {
        for (sent, expect) in [(2, &[true, true][..]), (1, &[true, false])] {
            let (send, pieces) = mpsc::channel(2);
            for _ in 0..sent {
                send.send(Bytes::from_static(b"half")).await.expect("room");
            }
            drop(send);
            let found: Vec<bool> = all(pieces, 8).map(|piece| piece.is_ok()).collect().await;
            assert_eq!(found, expect);
        }
    }
}

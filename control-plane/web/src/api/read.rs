//! `POST /api/v1/read`: remote read, in samples or in a stream of chunks, whichever the client prefers.

use super::{ApiFailure, pieces::in_pieces, query::bounded};
use crate::{Plane, Routes, access::Need, params::body_of};
use axum::{
    body::Body,
    extract::Request as HttpRequest,
    response::{IntoResponse, Response},
};
use collect::remote_read::{ReadError, ReadLimits, Request, chunks, samples};
use futures_util::{StreamExt, stream};
use http::{Method, header};
use promql::{EvalError, Lease};
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::mpsc};

/// Frames that wait for a slow client.
const FRAMES: usize = 4;

/// How long one frame may wait for its client.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let own = plane.clone();
    routes.add(Method::POST, "/api/v1/read", need, move |request: HttpRequest| {
        let plane = own.clone();
        async move {
            let body = body_of(request).await?;
            let request = Request::read(&body).map_err(|e| ApiFailure::bad_data(e.to_string()))?;
            let request = request.under(plane.about.external_labels());
            if request.chunks { streamed(&plane, request).await } else { sampled(&plane, request).await }
        }
    });
}

fn failed(e: ReadError) -> EvalError {
    match e {
        ReadError::TooManySamples(_) => EvalError::BadData(e.to_string()),
        ReadError::Select(e) => e.into(),
        ReadError::Encode(_) => EvalError::Execution(e.to_string()),
        ReadError::Gone => EvalError::Cancelled,
    }
}

async fn sampled(plane: &Plane, request: Request) -> Result<Response, ApiFailure> {
    let select = Arc::clone(&plane.select);
    let body = bounded(plane, plane.query_timeout, move |cancel, _| {
        let body = samples(&*select, &request, &ReadLimits::default(), cancel).map_err(failed)?;
        let packed = snap::raw::Encoder::new().compress_vec(&body);
        packed.map_err(|e| EvalError::Execution(format!("the answer could not be compressed: {e}")))
    })
    .await?;
    let headers = [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CONTENT_ENCODING, "snappy")];
    Ok(in_pieces(plane, (headers, body).into_response(), Lease::default()).await)
}

/// The stream begins with its first frame, so that what fails before it is answered as an error; what fails
/// later breaks the stream off, which no client takes for its end.
async fn streamed(plane: &Plane, request: Request) -> Result<Response, ApiFailure> {
    let (send, mut frames) = mpsc::channel::<Result<Vec<u8>, ApiFailure>>(FRAMES);
    let (select, own) = (Arc::clone(&plane.select), plane.clone());
    plane.tasks.spawn("remote read", async move {
        let (out, clock, runtime) = (send.clone(), own.clock.clone(), Handle::current());
        let outcome = bounded(&own, own.query_timeout, move |cancel, _| {
            // Whoever does not take what comes gives its place to others.
            let each = |frame| {
                runtime.block_on(async {
                    tokio::select! {
                        sent = out.send(Ok(frame)) => sent.is_ok(),
                        () = clock.sleep(PATIENCE) => false,
                    }
                })
            };
            chunks(&*select, &request, &ReadLimits::default(), cancel, each).map_err(failed)
        })
        .await;
        if let Err(e) = outcome {
            // Whoever asked may have gone.
            let _gone = send.send(Err(e)).await.is_err();
        }
    });
    let first = match frames.recv().await {
        Some(Err(e)) => return Err(e),
        Some(Ok(frame)) => Some(Ok(frame)),
        None => None,
    };
    let rest = stream::unfold(frames, |mut frames| async move { Some((frames.recv().await?, frames)) });
    let body =
        stream::iter(first).chain(rest).map(|frame| frame.map_err(|e| std::io::Error::other(e.message)));
    let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response())
}

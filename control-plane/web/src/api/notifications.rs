//! `notifications` and `notifications/live`: what whoever looks at the server should know of it.

use super::success;
use crate::{Plane, Routes, access::Need};
use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::stream;
use http::{Method, StatusCode};
use kit::telemetry::rfc3339;
use serde_json::{Value, json};
use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Who may listen at the same time.
const LISTENERS: usize = 16;

/// How often it is looked for what changed.
const BEAT: Duration = Duration::from_secs(1);

pub(super) fn add(routes: &mut Routes, plane: &Plane, need: Need) {
    let own = plane.clone();
    routes.add(Method::GET, "/api/v1/notifications", need, move || {
        let plane = own.clone();
        async move { success(current(&plane)) }
    });
    let (own, places) = (plane.clone(), Arc::new(Semaphore::new(LISTENERS)));
    routes.add(Method::GET, "/api/v1/notifications/live", need, move || {
        let (plane, places) = (own.clone(), Arc::clone(&places));
        async move { live(plane, places) }
    });
}

/// What holds now.
fn current(plane: &Plane) -> Vec<Value> {
    let about = plane.about.runtime();
    let mut all = Vec::new();
    if !about.reloaded {
        let text = "Configuration reload has failed.";
        all.push(json!({"text": text, "date": rfc3339(about.reload_tried), "active": true}));
    }
    all
}

/// Tells what holds, and from then on what begins and ends to hold.
fn live(plane: Plane, places: Arc<Semaphore>) -> Response {
    let Ok(place) = places.try_acquire_owned() else {
        // As elsewhere: a page that cannot listen asks again later.
        return StatusCode::NO_CONTENT.into_response();
    };
    let stop = plane.tasks.stopping();
    let begin = (plane, stop, place, Vec::new(), VecDeque::new());
    let events = stream::unfold(begin, |(plane, stop, place, mut told, mut queue)| async move {
        loop {
            if let Some(next) = queue.pop_front() {
                let event = Event::default().data(Value::to_string(&next));
                return Some((Ok::<Event, Infallible>(event), (plane, stop, place, told, queue)));
            }
            let now = current(&plane);
            for ended in told.iter().filter(|n: &&Value| !now.contains(n)) {
                let mut ended = ended.clone();
                ended["active"] = false.into();
                queue.push_back(ended);
            }
            queue.extend(now.iter().filter(|n| !told.contains(n)).cloned());
            told = now;
            if queue.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => return None,
                    () = plane.clock.sleep(BEAT) => {}
                }
            }
        }
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

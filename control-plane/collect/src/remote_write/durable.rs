//! One sync for all who wait for one.
//!
//! Whoever appended waits here until the log is on disk. The first who comes starts a sync on a thread that may
//! block; those who come while it runs share the next one.

use model::{Append, AppendError};
use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// Why what was appended may not survive a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unsynced {
    /// There is no room: later there may be.
    Full,
    /// The store is being closed.
    Closed,
    Failed(String),
}

impl Unsynced {
    pub(super) fn of(e: &AppendError) -> Unsynced {
        match e {
            AppendError::Closed => Unsynced::Closed,
            AppendError::Io(e) if e.kind() == std::io::ErrorKind::StorageFull => Unsynced::Full,
            other => Unsynced::Failed(crate::scrape::fetch::chain(other)),
        }
    }
}

type Told = Result<(), Unsynced>;

#[derive(Debug, Default)]
struct State {
    waiting: Vec<oneshot::Sender<Told>>,
    running: bool,
}

#[derive(Debug)]
pub(super) struct Durable {
    append: Arc<dyn Append>,
    state: Arc<Mutex<State>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the next who comes begin anew, should a sync panic. Those whose answer is lost see their channel close.
struct Running {
    state: Arc<Mutex<State>>,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            *lock(&self.state) = State::default();
        }
    }
}

impl Durable {
    pub(super) fn new(append: Arc<dyn Append>) -> Durable {
        Durable { append, state: Arc::default() }
    }

    /// Returns when everything appended before the call is on disk.
    pub(super) async fn sync(&self) -> Told {
        let (tell, told) = oneshot::channel();
        let leads = {
            let mut state = lock(&self.state);
            state.waiting.push(tell);
            !mem::replace(&mut state.running, true)
        };
        if leads {
            let append = Arc::clone(&self.append);
            let running = Running { state: Arc::clone(&self.state), ended: false };
            // Whoever began it may go away: the others still wait for it.
            drop(tokio::task::spawn_blocking(move || serve(&*append, running)));
        }
        told.await.unwrap_or_else(|_| Err(Unsynced::Failed("syncing the log broke off".to_owned())))
    }
}

fn serve(append: &dyn Append, mut running: Running) {
    loop {
        let waiting = {
            let mut state = lock(&running.state);
            if state.waiting.is_empty() {
                state.running = false;
                drop(state);
                running.ended = true;
                return;
            }
            mem::take(&mut state.waiting)
        };
        let outcome = append.sync().map_err(|e| Unsynced::of(&e));
        for tell in waiting {
            // Who went away does not want to know.
            drop(tell.send(outcome.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Appended, Batch, Labels, SeriesRef};
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    /// A store whose syncs wait until they are let go.
    #[derive(Debug)]
    struct Slow {
        syncs: AtomicUsize,
        begun: mpsc::SyncSender<()>,
        go: Mutex<mpsc::Receiver<bool>>,
    }

    impl Append for Slow {
        fn resolve(&self, _: &Labels) -> Result<SeriesRef, AppendError> {
            Err(AppendError::Closed)
        }
        fn append(&self, _: &Batch) -> Result<Appended, AppendError> {
            Err(AppendError::Closed)
        }
        fn sync(&self) -> Result<(), AppendError> {
            self.syncs.fetch_add(1, Ordering::SeqCst);
            self.begun.send(()).expect("somebody listens");
            let good = self.go.lock().expect("a lock").recv().expect("somebody says so");
            if good { Ok(()) } else { Err(AppendError::Poisoned) }
        }
    }

    #[tokio::test]
    async fn all_who_wait_share_a_sync() {
        let (begun, began) = mpsc::sync_channel(10);
        let (go, gone) = mpsc::sync_channel(10);
        let slow = Arc::new(Slow { syncs: AtomicUsize::new(0), begun, go: Mutex::new(gone) });
        let durable = Durable::new(Arc::clone(&slow) as Arc<dyn Append>);
        let mut first = Box::pin(durable.sync());
        assert!(futures_util::poll!(&mut first).is_pending());
        let began = tokio::task::spawn_blocking(move || began.recv().map(|()| began));
        let _listens = began.await.expect("runs").expect("begins");
        let mut later: Vec<_> = (0..100).map(|_| Box::pin(durable.sync())).collect();
        for waits in &mut later {
            assert!(futures_util::poll!(waits).is_pending());
        }
        go.send(true).expect("it waits");
        assert_eq!(first.await, Ok(()));
        go.send(false).expect("it waits");
        for waits in later {
            assert!(matches!(waits.await, Err(Unsynced::Failed(_))), "the second sync failed");
        }
        assert_eq!(slow.syncs.load(Ordering::SeqCst), 2);
    }
}

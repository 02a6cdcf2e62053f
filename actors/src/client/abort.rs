//! Aborting requests from outside: a handle and its signals, on one thread.
//!
//! Invariant: a signal that was aborted stays so; a request that knows it is reset with CANCEL once.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

/// What a signal ends.
pub(super) trait Abort {
    fn abort(&self);
}

#[derive(Default)]
struct Shared {
    aborted: Cell<bool>,
    listeners: RefCell<Vec<Weak<dyn Abort>>>,
}

/// Aborts every request that was given one of its signals. Dropping it aborts nothing.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/in_memory.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # actix_rt::System::new().block_on(async {
/// # use stagedoor_actors::facade::{HttpRequest, local_handler};
/// # let service = local_handler(async |_: HttpRequest| "hello");
/// # let (_host, session) = in_memory(service)?;
/// use stagedoor_actors::client::{AbortHandle, RequestError, RequestOptions};
///
/// let abort = AbortHandle::new();
/// abort.abort();
/// let options = RequestOptions { signal: Some(abort.signal()), ..RequestOptions::default() };
/// assert!(matches!(session.request("/", options), Err(RequestError::Aborted)));
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, Default)]
pub struct AbortHandle(Rc<Shared>);

impl AbortHandle {
    /// A handle nobody listens to yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A signal to give to requests.
    pub fn signal(&self) -> AbortSignal {
        AbortSignal(Rc::clone(&self.0))
    }

    /// Aborts: requests under way are reset with CANCEL, later ones are not made.
    pub fn abort(&self) {
        if self.0.aborted.replace(true) {
            return;
        }
        for listener in self.0.listeners.take() {
            if let Some(listener) = listener.upgrade() {
                listener.abort();
            }
        }
    }
}

/// Tells requests of an abort.
///
/// ```
/// use stagedoor_actors::client::AbortHandle;
///
/// let abort = AbortHandle::new();
/// let signal = abort.signal();
/// assert!(!signal.is_aborted());
/// abort.abort();
/// assert!(signal.is_aborted());
/// ```
#[derive(Clone)]
pub struct AbortSignal(Rc<Shared>);

impl AbortSignal {
    /// Whether it was aborted.
    pub fn is_aborted(&self) -> bool {
        self.0.aborted.get()
    }

    pub(super) fn attach(&self, listener: Weak<dyn Abort>) {
        let mut listeners = self.0.listeners.borrow_mut();
        if listeners.len() == listeners.capacity() {
            // Requests that are over leave no trace.
            listeners.retain(|listener| listener.strong_count() > 0);
        }
        listeners.push(listener);
    }
}

impl std::fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AbortHandle").field("aborted", &self.0.aborted.get()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AbortSignal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AbortSignal").field("aborted", &self.is_aborted()).finish_non_exhaustive()
    }
}

//! Sends requests on to an upstream and their answers back.

use std::rc::Rc;
use std::sync::Arc;

use stagedoor_actors::{Request, Response};

use crate::fault::Fault;
use crate::upstream::Upstream;

/// The proxy of one worker.
#[derive(Debug, Default)]
pub struct Proxy {}

impl Proxy {
    /// The proxy of the calling thread.
    #[must_use]
    pub fn here() -> Rc<Self> {
        Rc::default()
    }

    /// Sends a request on as its head stands (edits and forwarding fields are made already; hop-by-hop fields are this
    /// function's business) and gives the answer back. Tunnels, trailers and informational heads pass.
    /// # Errors
    /// What kept an answer from coming.
    pub async fn exchange(&self, request: Request, to: &Arc<Upstream>) -> Result<Response, Fault> {
        let _ = (request, to);
        Err(Fault::new(502, "destination_unavailable", "not built yet"))
    }
}

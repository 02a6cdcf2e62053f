//! Brings a server up where it can live: in the actix `System` there is, or on a thread that becomes one.
//!
//! Invariant: a thread that was started for a server ends when the server has stopped.

use actix_rt::System;
use stagedoor_actors::{ServerBuilder, ServerHandle};
use tokio::sync::oneshot;

use super::Server;
use super::error::{Error, Result};

/// See the module.
pub(super) async fn start(server: Server) -> Result<ServerHandle> {
    let builder = server.builder()?;
    let (tell, told) = oneshot::channel();
    let job = Job { builder, tell };
    let job = match System::try_current() {
        Some(system) => {
            // Whether it still runs shows when it is given something to do.
            let (give, taken) = oneshot::channel::<Job>();
            let given = system.arbiter().spawn(async move {
                if let Ok(job) = taken.await {
                    job.run().await;
                }
            });
            if given { give.send(job).err() } else { Some(job) }
        }
        None => Some(job),
    };
    if let Some(job) = job {
        own_thread(job)?;
    }
    told.await.unwrap_or(Err(Error::Stopped))
}

/// A server to be started on an arbiter.
struct Job {
    builder: ServerBuilder,
    tell: oneshot::Sender<Result<ServerHandle>>,
}

impl Job {
    /// Starts it and says how that went; then sees that it lives on until it is stopped.
    async fn run(self) {
        let started = self.builder.start().await.map_err(Error::Start);
        let running = started.as_ref().ok().cloned();
        self.tell.send(started).ok();
        if let Some(server) = running {
            server.stopped().await;
        }
    }
}

/// The system is this thread, for as long as the server runs.
fn own_thread(job: Job) -> Result<()> {
    let run = move || {
        let system = System::new();
        system.block_on(job.run());
    };
    std::thread::Builder::new().name("stagedoor".to_owned()).spawn(run).map(drop).map_err(Error::Thread)
}

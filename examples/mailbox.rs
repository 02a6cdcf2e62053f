//! An actor that answers requests out of its mailbox: `cargo run --example mailbox`, then
//! `curl -d 'paint the door' http://127.0.0.1:7777/jobs` and `curl http://127.0.0.1:7777/jobs/1`.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::prelude::*;
use stagedoor::actor::{StreamRequest, mailbox};
use stagedoor::{SendBody, Server, StatusCode};

/// Its state is its own: no lock, whoever asks from whatever thread.
#[derive(Default)]
struct Jobs {
    count: usize,
    todo: BTreeMap<usize, String>,
}

impl Actor for Jobs {
    type Context = Context<Self>;
}

impl Handler<StreamRequest> for Jobs {
    type Result = ();

    fn handle(&mut self, request: StreamRequest, ctx: &mut Self::Context) {
        let wanted = request.params.get("number").and_then(|number| number.parse::<usize>().ok());
        let method = request.head.method().to_owned();
        let answered = match (method.as_str(), wanted.map(|number| self.todo.get(&number))) {
            ("POST", None) => return self.add(request, ctx),
            ("GET", Some(Some(job))) => request.respond(format!("{job}\n")),
            ("GET", Some(None)) => request.respond((StatusCode::NOT_FOUND, "no such job\n")),
            _ => request.respond((StatusCode::METHOD_NOT_ALLOWED, "POST /jobs, GET /jobs/1\n")),
        };
        // Who asked may be gone meanwhile; there is nothing to be done about it.
        answered.ok();
    }
}

impl Jobs {
    /// Keeps a job once its body has come; the mailbox goes on meanwhile.
    fn add(&mut self, mut request: StreamRequest, ctx: &mut Context<Self>) {
        let body = std::mem::replace(&mut request.body, SendBody::empty()).collect_up_to(1000);
        let kept = body.into_actor(self).map(|body, jobs, _| {
            let answered = match body {
                Ok((job, _)) => {
                    jobs.count += 1;
                    jobs.todo.insert(jobs.count, String::from_utf8_lossy(&job).into_owned());
                    request.respond((StatusCode::CREATED, format!("job {}\n", jobs.count)))
                }
                Err(_) => request.respond((StatusCode::PAYLOAD_TOO_LARGE, "at most 1000 octets a job\n")),
            };
            answered.ok();
        });
        ctx.spawn(kept);
    }
}

fn main() -> stagedoor::Result<()> {
    System::new().block_on(async {
        let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
        let jobs = mailbox(Jobs::default().start().recipient());
        let server = Server::new().listen(address).route("/jobs", jobs.clone()).route("/jobs/{number}", jobs);
        let server = server.start().await?;
        println!("http://{}/jobs", server.addresses()[0].1);
        let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
        server.run_until(ctrl_c, Duration::from_secs(10)).await;
        Ok(())
    })
}

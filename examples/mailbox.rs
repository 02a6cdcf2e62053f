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

    fn handle(&mut self, mut request: StreamRequest, ctx: &mut Self::Context) {
        let wanted = request.params.get("number").and_then(|number| number.parse().ok());
        // Whoever asked may be gone; nothing is to be done about it then.
        match (request.head.method(), wanted.map(|number: usize| self.todo.get(&number).cloned())) {
            ("POST", None) => {
                // The mailbox goes on while the body comes.
                let body = std::mem::replace(&mut request.body, SendBody::empty()).collect_up_to(1000);
                ctx.spawn(body.into_actor(self).map(|body, jobs, _| jobs.add(body.ok(), request)));
            }
            ("GET", Some(Some(job))) => drop(request.respond(format!("{job}\n"))),
            ("GET", Some(None)) => drop(request.respond((StatusCode::NOT_FOUND, "no such job\n"))),
            _ => drop(request.respond((StatusCode::METHOD_NOT_ALLOWED, "POST /jobs, GET /jobs/1\n"))),
        }
    }
}

impl Jobs {
    fn add(&mut self, body: Option<(bytes::Bytes, Option<http::HeaderMap>)>, request: StreamRequest) {
        let Some((job, _)) = body else {
            drop(request.respond((StatusCode::PAYLOAD_TOO_LARGE, "a job has 1000 octets at most\n")));
            return;
        };
        self.count += 1;
        self.todo.insert(self.count, String::from_utf8_lossy(&job).into_owned());
        drop(request.respond((StatusCode::CREATED, format!("job {}\n", self.count))));
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

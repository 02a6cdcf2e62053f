//! actix-web and stagedoor in one actix `System`, and an actor that both ask: `cargo run --example actix_web`, then
//! `curl --http2-prior-knowledge http://127.0.0.1:7777/` and `curl` on the other address it prints.

use std::io;
use std::time::Duration;

use actix::prelude::*;
use actix_web::{App, HttpServer, web};
use stagedoor::actor::OnArbiters as _;
use stagedoor::{Server, State, get};

/// Counts visitors, whoever serves them.
#[derive(Default)]
struct Counter(usize);

struct Visit;

impl Message for Visit {
    type Result = usize;
}

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Visit> for Counter {
    type Result = usize;

    fn handle(&mut self, _: Visit, _: &mut Self::Context) -> usize {
        self.0 += 1;
        self.0
    }
}

async fn by_stagedoor(State(counter): State<Addr<Counter>>) -> Result<String, MailboxError> {
    Ok(format!("stagedoor serves visitor {}\n", counter.send(Visit).await?))
}

async fn by_actix_web(counter: web::Data<Addr<Counter>>) -> String {
    match counter.send(Visit).await {
        Ok(number) => format!("actix-web serves visitor {number}\n"),
        Err(error) => format!("{error}\n"),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    System::new().block_on(async {
        let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
        // The actor and our sessions share this arbiter: a message between them crosses no thread.
        let arbiter = Arbiter::new();
        let counter = Counter::start_in_arbiter(&arbiter.handle(), |_| Counter::default());
        let ours = Server::new()
            .listen(address)
            .route("/", get(by_stagedoor))
            .state(counter.clone())
            .on_arbiters([arbiter.handle()])
            .start()
            .await?;
        // Ctrl-C is for main to hear.
        let theirs = HttpServer::new(move || {
            App::new().app_data(web::Data::new(counter.clone())).route("/", web::get().to(by_actix_web))
        });
        let theirs = theirs.workers(1).disable_signals().bind("127.0.0.1:0")?;
        let there = theirs.addrs().first().copied().ok_or_else(|| io::Error::other("no address"))?;
        let theirs = theirs.run();
        let handle = theirs.handle();
        actix_rt::spawn(theirs);
        println!("http://{}/ is stagedoor, http://{there}/ is actix-web", ours.addresses()[0].1);
        let ctrl_c = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
        ours.run_until(ctrl_c, Duration::from_secs(10)).await;
        handle.stop(true).await;
        Ok(())
    })
}

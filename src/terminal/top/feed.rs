//! What `top` hears of the gateway, and what it tells it: one task that listens, and reconnects, and one for each order.
//!
//! Invariant: after [`Feed::watch`] nothing of what was watched before is heard.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use tokio::sync::mpsc;

use super::Watch;
use super::state::Order;
use crate::failure::Failure;
use crate::terminal::args::AdminArgs;
use crate::terminal::connection::{Admin, Events, Query, Trouble, not_understood};
use crate::terminal::shapes::{Overview, Session};
use crate::terminal::text::plain;

/// How long a gateway that cannot be reached is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Events that wait to be painted; more than one are seldom there.
const QUEUE: usize = 4;

/// Orders whose outcome waits to be shown.
const ORDERS: usize = 16;

/// What was heard.
pub(super) enum News {
    Overview(Box<Overview>),
    Session(Box<Session>),
    /// This session is not there.
    Gone(String),
    /// The gateway cannot be heard; it is tried again.
    Lost(String),
    /// The gateway does not take what is asked; it is not tried again.
    Refused(String),
    /// What came of an order, in words.
    Told(String),
}

/// See the module.
pub(super) struct Feed {
    line: Rc<Line>,
    news: mpsc::Receiver<News>,
    task: JoinHandle<()>,
    outcomes: mpsc::Receiver<News>,
    tell: mpsc::Sender<News>,
}

/// The connection, made again when it is gone.
struct Line {
    args: AdminArgs,
    admin: RefCell<Option<Admin>>,
}

impl Line {
    async fn admin(&self) -> Result<Admin, Failure> {
        let there = self.admin.borrow().clone().filter(Admin::is_up);
        if let Some(admin) = there {
            return Ok(admin);
        }
        let admin = Admin::connect(&self.args).await?;
        *self.admin.borrow_mut() = Some(admin.clone());
        Ok(admin)
    }
}

impl Feed {
    /// Connects and listens.
    ///
    /// # Errors
    /// The first time everything that fails is told here.
    pub(super) async fn open(args: &AdminArgs, watch: &Watch) -> Result<Self, Failure> {
        let line = Rc::new(Line { args: args.clone(), admin: RefCell::default() });
        let events = line.admin().await?.events(watch.query().text()).await?;
        let (task, news) = listen(&line, watch.clone(), Some(events));
        let (tell, outcomes) = mpsc::channel(ORDERS);
        Ok(Self { line, news, task, outcomes, tell })
    }

    /// Listens to something else.
    pub(super) fn watch(&mut self, watch: Watch) {
        self.task.abort();
        (self.task, self.news) = listen(&self.line, watch, None);
    }

    /// What is heard next; `None` when the task is gone, which is a bug. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<News> {
        let news = tokio::select! {
            news = self.news.recv() => news,
            // A sender is held here.
            outcome = self.outcomes.recv() => outcome,
        };
        news
    }

    /// Gives an order; what comes of it is heard later.
    pub(super) fn give(&self, order: Order) {
        let (line, tell) = (Rc::clone(&self.line), self.tell.clone());
        actix_rt::spawn(async move {
            let words = match carry_out(&line, &order).await {
                Ok(()) => done(&order),
                Err(failure) => failure.message().to_owned(),
            };
            let _ = tell.send(News::Told(words)).await;
        });
    }

    /// Says good-bye.
    pub(super) async fn part(self) {
        self.task.abort();
        let admin = self.line.admin.take();
        if let Some(admin) = admin {
            admin.part().await;
        }
    }
}

async fn carry_out(line: &Line, order: &Order) -> Result<(), Failure> {
    let query = match order {
        Order::Close { session, now } => Query::new(&["api", "sessions", session])
            .with("reason", "closed from stagedoor top")
            .with_some("now", now.then_some("true")),
        Order::Reset { session, stream } => {
            Query::new(&["api", "sessions", session, "streams", &stream.to_string()])
        }
    };
    line.admin().await?.call("DELETE", query.text(), None).await?;
    Ok(())
}

fn done(order: &Order) -> String {
    match order {
        Order::Close { session, now: false } => format!("session {} is drained", plain(session)),
        Order::Close { session, now: true } => format!("session {} is closed", plain(session)),
        Order::Reset { session, stream } => format!("stream {stream} of session {} is reset", plain(session)),
    }
}

fn listen(line: &Rc<Line>, watch: Watch, events: Option<Events>) -> (JoinHandle<()>, mpsc::Receiver<News>) {
    let (tell, news) = mpsc::channel(QUEUE);
    let line = Rc::clone(line);
    let task = actix_rt::spawn(async move {
        let mut events = events;
        loop {
            let heard = match events.take() {
                Some(events) => follow(events, &tell).await,
                None => begin(&line, &watch, &tell).await,
            };
            let news = match heard {
                Ok(()) => News::Lost("the gateway ended the stream of events".to_owned()),
                // Nothing changes by asking again.
                Err(Trouble::Refused { status, words }) if status < 500 => {
                    let _ = tell.send(News::Refused(words)).await;
                    // The receiver tells a task that is gone from one that waits.
                    return std::future::pending().await;
                }
                Err(trouble) => News::Lost(Failure::from(trouble).message().to_owned()),
            };
            if tell.send(news).await.is_err() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    (task, news)
}

async fn begin(line: &Line, watch: &Watch, tell: &mpsc::Sender<News>) -> Result<(), Trouble> {
    let admin = line.admin().await.map_err(Trouble::Failed)?;
    let events = admin.events(watch.query().text()).await?;
    follow(events, tell).await
}

async fn follow(mut events: Events, tell: &mpsc::Sender<News>) -> Result<(), Trouble> {
    #[derive(serde::Deserialize)]
    struct Gone {
        id: String,
    }
    while let Some(event) = events.next().await? {
        let news = match &*event.name {
            "overview" => serde_json::from_str(&event.data).map(News::Overview),
            "session" => serde_json::from_str(&event.data).map(News::Session),
            "gone" => serde_json::from_str::<Gone>(&event.data).map(|gone| News::Gone(gone.id)),
            // What a newer gateway says beside them.
            _ => continue,
        };
        if tell.send(news.map_err(|error| not_understood(&error))?).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

//! `top` on a terminal: keys, news and signals in, one screen out.

use std::io;

use ratatui::crossterm::event::{self, Event};
use rustix::process::{Signal, kill_current_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::Watch;
use super::draw::{self, Theme};
use super::feed::{Feed, News};
use super::screen::Screen;
use super::state::{Command, Model};
use crate::banner::Colour;
use crate::failure::{Exit, Failure};
use crate::terminal::args::AdminArgs;

/// Keys that wait for the screen.
const KEYS: usize = 64;

/// Runs until `q`, a signal, or the end of the terminal.
///
/// # Errors
/// A gateway that cannot be reached or refuses `watch`; later on, a terminal that is gone.
pub(super) async fn run(args: &AdminArgs, watch: Watch) -> Result<(), Failure> {
    // Before the terminal changes, so that what fails is said on it.
    let mut feed = Feed::open(args, &watch).await?;
    let interrupted = interruption()?;
    let mut screen = Screen::take().map_err(terminal_gone)?;
    let result = tokio::select! {
        result = turn(&mut screen, &mut feed, watch) => result,
        name = interrupted => Err(Failure::new(Exit::Interrupted, format!("stopped by {name}"))),
    };
    drop(screen);
    feed.part().await;
    result
}

async fn turn(screen: &mut Screen, feed: &mut Feed, watch: Watch) -> Result<(), Failure> {
    let theme = Theme { colour: Colour::of_stdout() == Colour::On };
    let mut model = Model::new(watch);
    let mut keys = keys();
    loop {
        // Keys that came meanwhile are heard first, or a slow terminal would lag behind them.
        if keys.is_empty() {
            screen
                .paint(|frame| {
                    let area = frame.area();
                    draw::measure(&mut model, area);
                    draw::draw(&model, theme, area, frame.buffer_mut());
                })
                .map_err(terminal_gone)?;
        }
        let command = tokio::select! {
            news = feed.next() => match news {
                Some(news) => hear(&mut model, news),
                None => return Err(Failure::new(Exit::Bug, "the task that hears the gateway is gone")),
            },
            key = keys.recv() => match key {
                Some(Event::Key(key)) => model.press(key),
                // The next turn paints as large as the terminal is.
                Some(_) => None,
                None => return Err(terminal_gone(io::ErrorKind::UnexpectedEof.into())),
            },
        };
        match command {
            None => {}
            Some(Command::Quit) => return Ok(()),
            Some(Command::Watch(watch)) => feed.watch(watch),
            Some(Command::Order(order)) => feed.give(order),
            Some(Command::Repaint) => screen.forget().map_err(terminal_gone)?,
            Some(Command::Suspend) => screen.lend(suspend).map_err(terminal_gone)?,
        }
    }
}

fn hear(model: &mut Model, news: News) -> Option<Command> {
    match news {
        News::Overview(overview) => return model.hear_overview(*overview),
        News::Session(session) => model.hear_session(*session),
        News::Gone(id) => model.hear_gone(&id),
        News::Lost(why) => model.hear_lost(why),
        News::Refused(words) => return model.hear_refused(words),
        News::Told(words) => model.hear_told(words),
    }
    None
}

/// Stops as Ctrl-Z stops other programs; goes on when it is continued.
fn suspend() {
    // Where nobody could continue us the system does not stop us either.
    let _ = kill_current_process_group(Signal::TSTP);
}

/// What is typed. The thread ends with the process: nothing else ends its wait for a key.
fn keys() -> mpsc::Receiver<Event> {
    let (tell, keys) = mpsc::channel(KEYS);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if tell.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

/// Ends with the name of the signal that asks to stop.
fn interruption() -> Result<impl Future<Output = &'static str>, Failure> {
    let take =
        |kind| signal(kind).map_err(|error| Failure::new(Exit::Bug, format!("cannot take signals: {error}")));
    let (mut int, mut term) = (take(SignalKind::interrupt())?, take(SignalKind::terminate())?);
    let mut hup = take(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = int.recv() => "INT",
            _ = term.recv() => "TERM",
            _ = hup.recv() => "HUP",
        }
    })
}

fn terminal_gone(error: io::Error) -> Failure {
    Failure::new(Exit::Reach, format!("cannot use the terminal: {error}"))
        .with_way_out("stagedoor top --once needs none")
}

//! `stagedoor top`: the live sessions of a gateway on a screen.
//!
//! `state.rs` knows what is shown and what keys mean, `draw.rs` paints it, `feed.rs` listens to the gateway, `run.rs` has the
//! terminal and puts them together. Without a terminal, or with `--once` or `--json`, this file prints what came.

mod cursor;
mod draw;
mod feed;
mod run;
mod screen;
mod state;

use std::io::{self, IsTerminal as _};

use super::args::TopArgs;
use super::connection::{Admin, Query, not_understood};
use super::shapes::Overview;
use super::tables::{self, SESSIONS, Table};
use super::text::{self, cut};
use super::{commands, print, room};
use crate::failure::{Exit, Failure};
use crate::output::{Output, Written};

/// Rows that are asked for at once.
const ROWS: u64 = 200;

/// What is asked of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Watch {
    filter: String,
    sort: String,
    offset: u64,
    limit: u64,
    /// A session that is looked at alone.
    session: Option<String>,
}

impl Watch {
    fn query(&self) -> Query {
        Query::new(&["api", "events"])
            .with_some("filter", Some(&self.filter).filter(|filter| !filter.is_empty()))
            .with("sort", &self.sort)
            .with("limit", self.limit)
            .with("offset", self.offset)
            .with_some("session", self.session.as_deref())
    }
}

/// Runs until it is told to end.
///
/// # Errors
/// What the gateway refused, a gateway that cannot be reached, a terminal that is gone.
pub(super) async fn run(args: &TopArgs) -> Result<(), Failure> {
    let watch =
        Watch { filter: args.filter.clone(), sort: args.sort.clone(), offset: 0, limit: ROWS, session: None };
    if args.json || args.once || !io::stdout().is_terminal() {
        return print_overviews(args, &watch).await;
    }
    run::run(&args.admin, watch).await
}

/// Without a screen.
async fn print_overviews(args: &TopArgs, watch: &Watch) -> Result<(), Failure> {
    let admin = Admin::connect(&args.admin).await?;
    let mut events = admin.events(watch.query().text()).await?;
    let mut output = Output::open(None)?;
    while let Some(event) = events.next().await? {
        if event.name != "overview" {
            continue;
        }
        if !args.json {
            let overview = serde_json::from_str(&event.data).map_err(|error| not_understood(&error))?;
            print(page(&overview, room())).await?;
            drop(events);
            admin.part().await;
            return Ok(());
        }
        let line = text::json(&event.data).replace('\n', " ") + "\n";
        if output.write(line.into()).await? == Written::NobodyReads {
            return Ok(());
        }
        if args.once {
            drop(events);
            admin.part().await;
            return output.finish().await;
        }
    }
    Err(Failure::new(Exit::Reach, "the gateway ended the stream of events"))
}

/// The overview as `--once` prints it.
fn page(overview: &Overview, room: usize) -> String {
    let head = tables::overview(overview);
    let mut page = format!("{}\n\n", cut(head.trim_end(), room));
    page.push_str(&commands::table(&Table::new(SESSIONS, &overview.rows, room, None)));
    let shown = overview.rows.len() as u64;
    if overview.total > shown {
        page.push_str(&cut(&format!("{shown} of {}; --filter says which", overview.total), room));
        page.push('\n');
    }
    page
}

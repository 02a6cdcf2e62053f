//! Whether messages flow: how long they wait, which take long, what was refused, what panicked.

use stagedoor_metrics::catalogue as c;

use crate::dashboards::board::{Board, Panel, Row, Thresholds, Unit};
use crate::dashboards::query::{all, max, quantile, rate, sum};

pub(super) fn board() -> Board {
    Board {
        uid: "stagedoor-actors",
        title: "Stagedoor / Actors",
        description: "Listeners, workers, sessions and streams as actors: mailboxes, messages, restarts \
             and panics.",
        rows: vec![
            Row::new("Actors", actors()),
            Row::new("Mailboxes", mailboxes()),
            Row::new("Messages and workers", messages()),
        ],
    }
}

fn actors() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Live actors",
            Unit::Count,
            "Actors by kind. Streams follow the open requests, workers the cores.",
        )
        .query("{{actor}}", sum("actor", &all(&c::ACTORS))),
        Panel::lines("Actors started", Unit::Events, "Starts a second by kind.")
            .query("{{actor}}", sum("actor", &rate(&c::ACTOR_STARTED))),
        Panel::lines(
            "Restarts and panics",
            Unit::Events,
            "A panic ends the actor it happens in and nothing else. Any of them is a bug: the log \
             names the place.",
        )
        .query("{{actor}} restarts", sum("actor", &rate(&c::ACTOR_RESTARTS)))
        .query("{{actor}} panics", sum("actor", &rate(&c::ACTOR_PANICS))),
        Panel::lines(
            "Refused sends",
            Unit::Events,
            "Messages a second that found the mailbox full and were not taken.",
        )
        .query("{{actor}}", sum("actor", &rate(&c::ACTOR_MAILBOX_FULL))),
    ]
}

fn mailboxes() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Mailbox wait p99",
            Unit::Seconds,
            "From the sending of a message to its handling, the slowest one of a hundred. It \
             grows before anything else does when a worker is too busy.",
        )
        .query("{{actor}}", quantile("0.99", &c::ACTOR_MAILBOX_WAIT, "actor"))
        .judged(Thresholds::Rising(0.01, 0.1)),
        Panel::lines(
            "Mailbox depth",
            Unit::Count,
            "Messages that wait now: all of a kind, and the deepest single mailbox. Deepest near \
             the total: one actor is stuck. Far below: all are behind.",
        )
        .query("{{actor}} total", sum("actor", &all(&c::ACTOR_MAILBOX_MESSAGES)))
        .query("{{actor}} deepest", max("actor", &all(&c::ACTOR_MAILBOX_MESSAGES_MAX))),
    ]
}

fn messages() -> Vec<Panel> {
    let time_each = format!(
        "{} / {}",
        sum("message", &rate(&c::ACTOR_MESSAGE_BUSY_SECONDS)),
        sum("message", &rate(&c::ACTOR_MESSAGES))
    );
    vec![
        Panel::lines("Messages handled", Unit::Events, "Messages a second by type.")
            .query("{{message}}", sum("message", &rate(&c::ACTOR_MESSAGES))),
        Panel::lines("Time a message takes", Unit::Seconds, "Mean time spent handling one, by type.")
            .query("{{message}}", time_each),
        Panel::lines(
            "Workers' time by message",
            Unit::Count,
            "Seconds a second spent handling each type: what the cores do.",
        )
        .query("{{message}}", sum("message", &rate(&c::ACTOR_MESSAGE_BUSY_SECONDS))),
        Panel::lines(
            "Worker loop lag p99",
            Unit::Seconds,
            "How late a tick of 100 ms comes on each worker. Late: something on that thread does not let go.",
        )
        .query("worker {{worker}}", quantile("0.99", &c::WORKER_LOOP_LAG, "worker"))
        .judged(Thresholds::Rising(0.01, 0.1)),
    ]
}

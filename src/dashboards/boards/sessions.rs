//! Who is connected, how sessions and streams end, what they wait for, and which of them stand out now.

use stagedoor_metrics::catalogue as c;

use crate::dashboards::board::{Board, Panel, Row, Shape, Unit};
use crate::dashboards::query::{all, buckets, mean, quantile, rate, sum, top};

pub(super) fn board() -> Board {
    Board {
        uid: "stagedoor-sessions",
        title: "Stagedoor / Sessions and streams",
        description: "Connections and the streams on them: how many, how they end, what they wait for, \
             which stand out.",
        rows: vec![
            Row::new("Where the time went", waits()),
            Row::new("Sessions", sessions()),
            Row::new("Streams", streams()),
            Row::new("Deadlines and limits", limits()),
            Row::new("Now, one by one (never sum these: the tables are capped)", tables()),
        ],
    }
}

fn waits() -> Vec<Panel> {
    let by_cause = sum("on", &rate(&c::STREAM_WAIT_SECONDS));
    let all_causes = sum("", &rate(&c::STREAM_WAIT_SECONDS));
    let upstream_or_handler = sum("route, on", &rate(&c::STREAM_WAIT_SECONDS));
    vec![
        Panel::new(
            Shape::Parts,
            "Where the time went",
            Unit::Count,
            "Seconds of stream life a second, by what they were spent on. The height is the mean \
             number of open streams; docs/observability.md says what each cause means and whose \
             it is.",
        )
        .query("{{on}}", by_cause.clone()),
        Panel::new(
            Shape::Parts,
            "Where the time went, in shares",
            Unit::Share,
            "The same as parts of the whole.",
        )
        .query("{{on}}", format!("{by_cause} / on () group_left () {all_causes}")),
        Panel::lines(
            "By route and cause",
            Unit::Count,
            "The same for each route: a slow handler and a slow client look alike in a duration \
             and not here.",
        )
        .query("{{route}} {{on}}", upstream_or_handler),
        Panel::lines(
            "Flow-control stall",
            Unit::Count,
            "Seconds a second that senders stood before a closed window with octets queued. One: \
             one sender stood all the time.",
        )
        .query("{{scope}}", sum("scope", &rate(&c::H2_FLOW_STALLED_SECONDS))),
    ]
}

fn sessions() -> Vec<Panel> {
    vec![
        Panel::new(Shape::Parts, "Sessions by protocol", Unit::Count, "Open connections.")
            .query("{{protocol}}", sum("protocol", &all(&c::SESSIONS_ACTIVE))),
        Panel::lines(
            "Sessions opened and closed",
            Unit::Events,
            "Starts a second, and ends a second by cause. The causes are in docs/metrics.md.",
        )
        .query("opened", sum("", &rate(&c::SESSIONS_OPENED)))
        .query("closed: {{reason}}", sum("reason", &rate(&c::SESSIONS_CLOSED))),
        Panel::new(
            Shape::Heatmap,
            "Session lifetime",
            Unit::Seconds,
            "How old sessions were when they closed.",
        )
        .query("{{le}}", buckets(&c::SESSION_LIFETIME, "")),
        Panel::lines(
            "Streams a session carried",
            Unit::Count,
            "Mean over the sessions that closed. About one: clients do not reuse their \
             connections.",
        )
        .query("{{listener}}", mean(&c::SESSION_LIFETIME_STREAMS, "listener")),
        Panel::lines(
            "Unsent octets and memory",
            Unit::Bytes,
            "Octets accepted for sending and not yet written, and memory charged to sessions, of \
             all sessions.",
        )
        .query("{{listener}} unsent", sum("listener", &all(&c::WRITE_QUEUE_BYTES)))
        .query("{{listener}} memory", sum("listener", &all(&c::SESSION_MEMORY))),
        Panel::lines(
            "PING round trip p95",
            Unit::Seconds,
            "Of our own PING frames, sent when a session with open streams was silent for a \
             minute.",
        )
        .query("p95", quantile("0.95", &c::H2_PING_RTT, "")),
    ]
}

fn streams() -> Vec<Panel> {
    vec![
        Panel::new(Shape::Parts, "Streams by protocol", Unit::Count, "Open streams.")
            .query("{{protocol}}", sum("protocol", &all(&c::STREAMS_ACTIVE))),
        Panel::lines(
            "Streams closed by outcome",
            Unit::Events,
            "Ends a second by how they came. Anything but complete cost somebody an answer.",
        )
        .query("{{outcome}}", sum("outcome", &rate(&c::STREAMS_CLOSED))),
        Panel::lines(
            "HTTP/2 errors",
            Unit::Events,
            "RST_STREAM and GOAWAY a second by reach, by who sent them (local: we did) and by code.",
        )
        .query("{{scope}} {{origin}} {{code}}", sum("scope, origin, code", &rate(&c::H2_ERRORS))),
        Panel::lines("Frames", Unit::Events, "HTTP/2 frames a second by direction and type.")
            .query("{{direction}} {{type}}", sum("direction, type", &rate(&c::H2_FRAMES))),
    ]
}

fn limits() -> Vec<Panel> {
    vec![
        Panel::lines(
            "Timeouts",
            Unit::Events,
            "Deadlines that passed: closed what they guard, or were extended because octets had moved.",
        )
        .query("{{kind}} {{action}}", sum("kind, action", &rate(&c::TIMEOUTS))),
        Panel::lines(
            "Protective limits",
            Unit::Events,
            "Limits that tripped, by kind. docs/security.md says what each protects.",
        )
        .query("{{kind}}", sum("kind", &rate(&c::ABUSE))),
    ]
}

fn tables() -> Vec<Panel> {
    let busiest = sum("instance, session", &rate(&c::SESSION_BYTES));
    vec![
        Panel::table(
            "Busiest sessions",
            Unit::BytesPerSecond,
            "Tracked sessions by octets a second, both ways.",
        )
        .query("", top(&busiest)),
        Panel::table(
            "Largest unsent queues",
            Unit::Bytes,
            "Tracked sessions by octets that wait to be sent.",
        )
        .query("", top(&all(&c::SESSION_WRITE_QUEUE_BYTES))),
        Panel::table("Most open streams", Unit::Count, "Tracked sessions by open streams.")
            .query("", top(&all(&c::SESSION_STREAMS_ACTIVE))),
        Panel::table(
            "Longest silent sessions",
            Unit::Seconds,
            "Tracked sessions by the time since they last moved an octet.",
        )
        .query("", top(&all(&c::SESSION_IDLE_SECONDS))),
        Panel::table(
            "Longest stalled streams",
            Unit::Seconds,
            "Tracked streams by how long they have waited for a window; zero where they do not.",
        )
        .query("", top(&all(&c::STREAM_STALLED_SECONDS))),
        Panel::table("Oldest streams", Unit::Seconds, "Tracked streams by age.")
            .query("", top(&all(&c::STREAM_AGE_SECONDS))),
        Panel::lines("Rows in the tables", Unit::Count, "Rows shown now.")
            .query("{{scope}}", sum("scope", &all(&c::METRICS_TRACKED))),
        Panel::lines(
            "Left out of the tables",
            Unit::Events,
            "Sessions and streams that ended without a row, by cause. Short ones are left out on \
             purpose; those left out for cap or churn are in the admin API while they live.",
        )
        .query("{{scope}} {{result}}", sum("scope, result", &rate(&c::METRICS_UNTRACKED))),
    ]
}

//! The servers behind the gateway: which take traffic, how they answer, how long they take.

use stagedoor_metrics::catalogue as c;

use crate::dashboards::board::{Board, Panel, Row, Shape, Unit};
use crate::dashboards::query::{all, quantile, rate, sum};

pub(super) fn board() -> Board {
    Board {
        uid: "stagedoor-upstreams",
        title: "Stagedoor / Upstreams",
        description: "The servers behind the gateway. Without proxying these panels have no data.",
        rows: vec![
            Row::new("Endpoints", endpoints()),
            Row::new("Requests", requests()),
            Row::new("Connections", connections()),
        ],
    }
}

fn endpoints() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::States,
            "Endpoint takes traffic",
            Unit::State,
            "No: it fails its checks or was ejected.",
        )
        .query("{{instance}} {{endpoint}}", all(&c::UPSTREAM_ENDPOINT_UP)),
        Panel::lines("Health checks", Unit::Events, "Active checks a second by result.")
            .query("{{endpoint}} {{result}}", sum("endpoint, result", &rate(&c::UPSTREAM_HEALTH_CHECKS))),
        Panel::lines(
            "Ejections",
            Unit::Events,
            "Endpoints put aside because of how they answered, by reason.",
        )
        .query("{{upstream}} {{reason}}", sum("upstream, reason", &rate(&c::UPSTREAM_EJECTIONS))),
    ]
}

fn requests() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Parts,
            "Requests by code",
            Unit::Requests,
            "Finished requests a second; 0 where no answer came.",
        )
        .query("{{upstream}} {{code}}", sum("upstream, code", &rate(&c::UPSTREAM_REQUESTS))),
        Panel::lines("Duration", Unit::Seconds, "From the request sent to the last octet from the upstream.")
            .query_with_exemplars(
                "{{upstream}} p50",
                quantile("0.5", &c::UPSTREAM_REQUEST_DURATION, "upstream"),
            )
            .query_with_exemplars(
                "{{upstream}} p95",
                quantile("0.95", &c::UPSTREAM_REQUEST_DURATION, "upstream"),
            ),
        Panel::lines(
            "In flight and waiting",
            Unit::Count,
            "Requests on their way, and requests that wait for a free stream. Waiting ones ask \
             for more connections or more streams on each.",
        )
        .query("{{upstream}} in flight", sum("upstream", &all(&c::UPSTREAM_REQUESTS_ACTIVE)))
        .query("{{upstream}} waiting", sum("upstream", &all(&c::UPSTREAM_REQUESTS_PENDING))),
        Panel::lines(
            "Failures",
            Unit::Events,
            "Tries that came to nothing a second, retried or not, by the error types of RFC 9209. The route's clients \
             saw those that no retry made good, as 502, 503 or 504.",
        )
        .query("{{upstream}} {{reason}}", sum("upstream, reason", &rate(&c::UPSTREAM_FAILURES))),
        Panel::lines("Retries", Unit::Events, "Decisions about a second attempt, by outcome.")
            .query("{{upstream}} {{result}}", sum("upstream, result", &rate(&c::UPSTREAM_RETRIES))),
    ]
}

fn connections() -> Vec<Panel> {
    vec![
        Panel::new(Shape::Parts, "Connections", Unit::Count, "Open connections to upstreams.").query(
            "{{upstream}} {{protocol}}",
            sum("upstream, protocol", &all(&c::UPSTREAM_CONNECTIONS_ACTIVE)),
        ),
        Panel::lines("Connections closed", Unit::Events, "Ends a second by cause.").query(
            "{{upstream}} {{reason}}",
            sum("upstream, reason", &rate(&c::UPSTREAM_CONNECTIONS_CLOSED)),
        ),
        Panel::lines("Connect time p95", Unit::Seconds, "TCP and TLS together.")
            .query("{{upstream}}", quantile("0.95", &c::UPSTREAM_CONNECT_DURATION, "upstream")),
    ]
}

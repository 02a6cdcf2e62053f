//! What a viewer of a board can choose, and the marks that every board draws across its panels.
//!
//! Invariant: a variable is fed from a family that is there before the first request, and "All" is an expression of
//! its own, so a board shows data at once and with every value chosen.

use stagedoor_metrics::catalogue::{self as c, Family};

use super::board::Board;

/// A choice among the values of a label.
pub(super) struct Variable {
    /// Name of the variable and of the label.
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// The family that has the label.
    pub(super) family: &'static Family,
    /// What stands for all values.
    pub(super) every: &'static str,
}

/// All of them, in the order in which they narrow each other.
pub(super) static VARIABLES: [Variable; 4] = [
    Variable { name: "job", label: "Job", family: &c::BUILD_INFO, every: ".+" },
    Variable { name: "instance", label: "Instance", family: &c::BUILD_INFO, every: ".+" },
    Variable { name: "listener", label: "Listener", family: &c::LISTENER_INFO, every: ".+" },
    Variable { name: "route", label: "Route", family: &c::RATE_LIMITED, every: ".*" },
];

impl Variable {
    /// The question that gives its values.
    pub(super) fn query(&self) -> String {
        let series = match self.name {
            "job" => self.family.name.to_owned(),
            "instance" => format!(r#"{}{{job=~"$job"}}"#, self.family.name),
            _ => format!(r#"{}{{job=~"$job",instance=~"$instance"}}"#, self.family.name),
        };
        format!("label_values({series}, {})", self.name)
    }
}

/// The variables that the queries of a board follow.
pub(super) fn of(board: &Board) -> impl Iterator<Item = &'static Variable> {
    VARIABLES.iter().filter(|variable| {
        let used = format!("${}\"", variable.name);
        board.panels().flat_map(|panel| &panel.queries).any(|query| query.expr.contains(&used))
    })
}

/// Moments drawn across the panels.
pub(super) struct Mark {
    pub(super) name: &'static str,
    pub(super) colour: &'static str,
    pub(super) expr: &'static str,
    pub(super) title: &'static str,
    pub(super) text: &'static str,
}

pub(super) static MARKS: [Mark; 2] = [
    Mark {
        name: "Alerts",
        colour: "red",
        expr: r#"ALERTS{alertname=~"Stagedoor.+",alertstate="firing"}"#,
        title: "{{alertname}}",
        text: "{{instance}} {{severity}}",
    },
    Mark {
        name: "Starts",
        colour: "blue",
        expr: r#"changes(process_start_time_seconds{job=~"$job",instance=~"$instance"}[$__rate_interval]) > 0"#,
        title: "started",
        text: "{{instance}}",
    },
];

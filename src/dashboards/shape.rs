//! Tests of what is printed: the JSON has the shape that Grafana reads, every expression stands on the catalogue, and
//! each alert can be looked up.

use std::collections::BTreeSet;

use serde_json::Value;
use stagedoor_metrics::catalogue::{self, Zeros};

use super::board::{Board, Shape};
use super::check::{Known, Labels};
use super::{boards, json, rules, variables};

/// What may be asked for once the recording rules run.
fn known() -> Known {
    let mut known = Known::of(catalogue::families());
    for rule in rules::recordings() {
        let labels = known.check(&rule.expr).unwrap_or_else(|error| panic!("{}: {error}", rule.name));
        let level: Labels = rule.name.split(':').next().unwrap().split('_').map(str::to_owned).collect();
        assert_eq!(level, labels, "{} says by its name which labels it has", rule.name);
        known.add_recorded(&rule.name, labels);
    }
    known
}

/// The labels that `text` puts in, between `open` and `}}`.
fn mentioned<'a>(text: &'a str, open: &str) -> Vec<&'a str> {
    text.split(open).skip(1).map(|rest| rest.split([' ', '}']).next().unwrap()).collect()
}

fn documents() -> Vec<(Board, Value)> {
    let document = |board: Board| {
        let text = json::board(&board);
        (board, serde_json::from_str(&text).unwrap())
    };
    boards::all().into_iter().map(document).collect()
}

#[test]
fn every_expression_of_a_board_can_have_an_answer() {
    let known = known();
    for board in boards::all() {
        for panel in board.panels() {
            let place = format!("{} / {}", board.uid, panel.title);
            assert!(!panel.queries.is_empty(), "{place} asks nothing");
            for query in &panel.queries {
                let labels = known.check(&query.expr).unwrap_or_else(|error| panic!("{place}: {error}"));
                for label in mentioned(query.legend, "{{") {
                    assert!(
                        labels.contains(label),
                        "{place}: the legend names {label}, the answer has {labels:?}"
                    );
                }
                assert_eq!(
                    query.legend.is_empty(),
                    panel.shape == Shape::Table,
                    "{place}: a legend, but for tables"
                );
                let shows_duration = query.expr.contains("request_duration_seconds_bucket");
                assert!(query.exemplars || !shows_duration, "{place}: durations come with exemplars");
            }
        }
    }
    for mark in &variables::MARKS {
        let labels = known.check(mark.expr).unwrap();
        for label in mentioned(mark.title, "{{").iter().chain(&mentioned(mark.text, "{{")) {
            assert!(labels.contains(*label), "{}: {label}", mark.name);
        }
    }
}

#[test]
fn every_panel_says_what_it_shows() {
    let mut uids = BTreeSet::new();
    for board in boards::all() {
        assert!(uids.insert(board.uid) && board.uid.starts_with("stagedoor-"), "{}", board.uid);
        assert!(board.title.starts_with("Stagedoor / ") && board.description.ends_with('.'), "{}", board.uid);
        let mut titles = BTreeSet::new();
        for panel in board.panels() {
            assert!(titles.insert(panel.title), "{} twice on {}", panel.title, board.uid);
            assert!(panel.description.ends_with('.'), "{}: {}", panel.title, panel.description);
        }
    }
}

#[test]
fn variables_have_values_from_the_start() {
    let known = known();
    for variable in &variables::VARIABLES {
        assert_eq!(variable.family.zeros, Zeros::Shown, "{} may have no values yet", variable.name);
        let query = variable.query();
        let series = query.strip_prefix("label_values(").and_then(|rest| rest.split_once(", ")).unwrap().0;
        assert!(known.check(series).unwrap().contains(variable.name), "{query}");
        assert!(!variable.every.is_empty());
    }
    for (board, document) in documents() {
        let defined: BTreeSet<_> =
            document["templating"]["list"].as_array().unwrap().iter().map(|one| text(one, "name")).collect();
        let used: BTreeSet<_> = board
            .panels()
            .flat_map(|panel| &panel.queries)
            .flat_map(|query| mentioned(&query.expr, "=~\"$"))
            .map(|name| name.split('"').next().unwrap())
            .chain(["datasource"])
            .collect();
        assert_eq!(defined, used, "{}", board.uid);
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} of {value}"))
}

/// The keys of an object are these and no others.
fn keys(value: &Value, wanted: &[&str]) {
    let there: BTreeSet<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(there, wanted.iter().copied().collect(), "{value}");
}

const BOARD: &[&str] = &[
    "uid",
    "title",
    "description",
    "tags",
    "schemaVersion",
    "version",
    "editable",
    "fiscalYearStartMonth",
    "graphTooltip",
    "liveNow",
    "refresh",
    "time",
    "timepicker",
    "timezone",
    "weekStart",
    "templating",
    "annotations",
    "links",
    "panels",
];

const PANEL: &[&str] = &[
    "id",
    "type",
    "title",
    "description",
    "datasource",
    "gridPos",
    "fieldConfig",
    "options",
    "transformations",
    "targets",
];

const TARGET: &[&str] =
    &["refId", "datasource", "editorMode", "expr", "legendFormat", "exemplar", "instant", "range", "format"];

/// Units of Grafana that we use.
const UNITS: &[&str] = &["short", "ops", "reqps", "s", "bytes", "binBps", "percentunit", "none"];

#[test]
fn the_json_has_the_shape_that_grafana_reads() {
    let source = serde_json::json!({ "type": "prometheus", "uid": "${datasource}" });
    for (board, document) in documents() {
        keys(&document, BOARD);
        assert_eq!(document["tags"], serde_json::json!(["stagedoor"]));
        assert_eq!((text(&document, "uid"), number(&document, "schemaVersion")), (board.uid, 39));
        assert_eq!(
            (text(&document["links"][0], "type"), &document["links"][0]["tags"]),
            ("dashboards", &document["tags"])
        );
        for one in document["templating"]["list"].as_array().unwrap() {
            assert!(
                matches!((text(one, "type"), text(one, "name")), ("datasource", "datasource") | ("query", _)),
                "{one}"
            );
            if text(one, "type") == "query" {
                assert_eq!(
                    (&one["datasource"], &one["includeAll"], &one["multi"]),
                    (&source, &true.into(), &true.into())
                );
                assert_eq!(text(one, "definition"), text(&one["query"], "query"));
                assert!(!text(one, "allValue").is_empty());
            }
        }
        for one in document["annotations"]["list"].as_array().unwrap() {
            assert_eq!(one["datasource"], source);
        }
        let mut ids = BTreeSet::new();
        let mut cells = BTreeSet::new();
        let panels = document["panels"].as_array().unwrap();
        for panel in panels {
            assert!(ids.insert(number(panel, "id")), "{panel}");
            let place = &panel["gridPos"];
            keys(place, &["x", "y", "w", "h"]);
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| number(place, key));
            assert!(x + w <= 24 && w > 0 && h > 0, "{panel}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(cells.insert(cell), "{} lies on another", panel["title"]);
            }
            if text(panel, "type") == "row" {
                keys(panel, &["id", "type", "title", "collapsed", "panels", "gridPos"]);
                continue;
            }
            keys(panel, PANEL);
            assert!(
                ["stat", "timeseries", "heatmap", "table", "state-timeline"].contains(&text(panel, "type"))
            );
            assert_eq!(panel["datasource"], source);
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(UNITS.contains(&text(defaults, "unit")), "{defaults}");
            let steps = defaults["thresholds"]["steps"].as_array().unwrap();
            let values: Vec<_> = steps.iter().map(|step| step["value"].as_f64()).collect();
            assert!(values[0].is_none() && values.is_sorted(), "{values:?}");
            let mut refs = BTreeSet::new();
            for target in panel["targets"].as_array().unwrap() {
                keys(target, TARGET);
                assert!(refs.insert(text(target, "refId")) && target["datasource"] == source);
                assert_ne!(target["instant"], target["range"]);
                assert_eq!(target["instant"] == true, text(panel, "type") == "table");
            }
        }
        let shown = panels.iter().filter(|panel| text(panel, "type") != "row").count();
        assert_eq!(shown, board.panels().count());
    }
}

#[test]
fn every_alert_can_fire_and_be_looked_up() {
    let known = known();
    let runbook = include_str!("../../docs/runbook.md");
    let tested = include_str!("../../grafana/tests/stagedoor.rules.test.yml");
    let alerts = rules::alerts();
    assert_eq!(alerts.len(), 12);
    for alert in &alerts {
        let labels = known.check(&alert.expr).unwrap_or_else(|error| panic!("{}: {error}", alert.name));
        for label in [alert.summary, alert.description].iter().flat_map(|text| mentioned(text, "$labels.")) {
            assert!(labels.contains(label), "{}: {label} is none of {labels:?}", alert.name);
        }
        assert!(
            runbook.lines().any(|line| line == format!("## {}", alert.name)),
            "docs/runbook.md has no {}",
            alert.name
        );
        assert!(tested.contains(alert.name), "{} is not tested", alert.name);
    }
    let headings = runbook.lines().filter(|line| line.starts_with("## Stagedoor")).count();
    assert_eq!(headings, alerts.len(), "docs/runbook.md tells of alerts that are not there");
}

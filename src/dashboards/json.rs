//! Boards in the JSON of Grafana (schema version 39, which Grafana 10.4 and later read).
//!
//! Asks nothing and checks nothing. Invariant: the same board is the same text, so the committed files can be compared
//! with what is written here.

use serde_json::{Value, json};

use super::board::{Board, Panel, Query, Shape, Thresholds, Unit};
use super::variables;

/// What every board of ours is found by.
const TAG: &str = "stagedoor";

/// Columns of Grafana's grid.
const GRID: u32 = 24;

/// The data source that a viewer chose.
fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// A board as Grafana's provisioning reads it.
pub(super) fn board(board: &Board) -> String {
    let document = json!({
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": [TAG],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "liveNow": false,
        "refresh": "30s",
        "time": { "from": "now-1h", "to": "now" },
        "timepicker": {},
        "timezone": "browser",
        "weekStart": "",
        "templating": { "list": templating(board) },
        "annotations": { "list": annotations() },
        "links": [{
            "type": "dashboards", "title": "Stagedoor", "tags": [TAG], "asDropdown": true, "icon": "external link",
            "includeVars": true, "keepTime": true, "targetBlank": false, "tooltip": "", "url": "",
        }],
        "panels": panels(board),
    });
    format!("{document:#}\n")
}

fn templating(board: &Board) -> Vec<Value> {
    let mut list = vec![json!({
        "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
        "current": {}, "hide": 0, "includeAll": false, "multi": false, "options": [], "refresh": 1, "regex": "",
        "skipUrlSync": false,
    })];
    list.extend(variables::of(board).map(|variable| {
        let query = variable.query();
        json!({
            "name": variable.name, "label": variable.label, "type": "query", "datasource": source(),
            "definition": query, "query": { "query": query, "refId": variable.name },
            "allValue": variable.every, "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
            "hide": 0, "includeAll": true, "multi": true, "options": [], "refresh": 2, "regex": "", "skipUrlSync": false,
            "sort": 1,
        })
    }));
    list
}

/// Marks across all panels: firing alerts and restarts.
fn annotations() -> Vec<Value> {
    let mark = |name: &str, colour: &str, expr: &str, title: &str, text: &str| {
        json!({
            "name": name, "datasource": source(), "enable": true, "hide": false, "iconColor": colour,
            "expr": expr, "titleFormat": title, "textFormat": text, "step": "30s", "useValueForTime": false,
        })
    };
    variables::MARKS.iter().map(|one| mark(one.name, one.colour, one.expr, one.title, one.text)).collect()
}

fn panels(board: &Board) -> Vec<Value> {
    let mut out = Vec::new();
    let mut y = 0;
    for row in &board.rows {
        out.push(json!({
            "id": out.len() + 1, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": { "x": 0, "y": y, "w": GRID, "h": 1 },
        }));
        y += 1;
        let (mut x, mut deepest) = (0, 0);
        for one in &row.panels {
            let (width, height) = size(one.shape);
            if x + width > GRID {
                (x, y, deepest) = (0, y + deepest, 0);
            }
            let mut value = panel(one);
            value["id"] = json!(out.len() + 1);
            value["gridPos"] = json!({ "x": x, "y": y, "w": width, "h": height });
            out.push(value);
            x += width;
            deepest = deepest.max(height);
        }
        y += deepest;
    }
    out
}

const fn size(shape: Shape) -> (u32, u32) {
    match shape {
        Shape::Stat | Shape::Name => (4, 4),
        Shape::Lines | Shape::Parts | Shape::Heatmap | Shape::Table => (12, 8),
        Shape::States => (24, 8),
    }
}

fn panel(panel: &Panel) -> Value {
    let targets: Vec<_> =
        panel.queries.iter().zip('A'..='Z').map(|(query, id)| target(panel, query, id)).collect();
    json!({
        "type": kind(panel.shape),
        "title": panel.title,
        "description": panel.description,
        "datasource": source(),
        "fieldConfig": { "defaults": defaults(panel), "overrides": overrides(panel) },
        "options": options(panel.shape),
        "transformations": transformations(panel),
        "targets": targets,
    })
}

const fn kind(shape: Shape) -> &'static str {
    match shape {
        Shape::Stat | Shape::Name => "stat",
        Shape::Lines | Shape::Parts => "timeseries",
        Shape::Heatmap => "heatmap",
        Shape::Table => "table",
        Shape::States => "state-timeline",
    }
}

fn target(panel: &Panel, query: &Query, id: char) -> Value {
    let now = panel.shape == Shape::Table;
    let format = match panel.shape {
        Shape::Table => "table",
        Shape::Heatmap => "heatmap",
        _ => "time_series",
    };
    json!({
        "refId": id, "datasource": source(), "editorMode": "code", "expr": query.expr, "legendFormat": query.legend,
        "exemplar": query.exemplars, "instant": now, "range": !now, "format": format,
    })
}

fn defaults(panel: &Panel) -> Value {
    let mut defaults = json!({
        "unit": panel.unit.id(),
        "color": { "mode": if matches!(panel.shape, Shape::Stat | Shape::Table | Shape::States) { "thresholds" } else { "palette-classic" } },
        "thresholds": { "mode": "absolute", "steps": steps(panel.thresholds) },
        "custom": custom(panel.shape),
        "mappings": [],
    });
    if matches!(panel.shape, Shape::Lines | Shape::Parts) {
        defaults["min"] = json!(0);
    }
    if panel.unit == Unit::State {
        defaults["mappings"] = json!([{ "type": "value", "options": {
            "0": { "text": "no", "color": "red", "index": 0 }, "1": { "text": "yes", "color": "green", "index": 1 },
        } }]);
    }
    defaults
}

fn steps(thresholds: Thresholds) -> Value {
    let steps = match thresholds {
        Thresholds::None => vec![("green", None)],
        Thresholds::Rising(notice, bad) => {
            vec![("green", None), ("orange", Some(notice)), ("red", Some(bad))]
        }
        Thresholds::Falling(bad, notice) => {
            vec![("red", None), ("orange", Some(bad)), ("green", Some(notice))]
        }
        Thresholds::Least(least) => vec![("red", None), ("green", Some(least))],
        Thresholds::Below(bad) => vec![("green", None), ("red", Some(bad))],
    };
    steps.iter().map(|(colour, value)| json!({ "color": colour, "value": value })).collect()
}

fn custom(shape: Shape) -> Value {
    match shape {
        Shape::Lines | Shape::Parts => json!({
            "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "showPoints": "never",
            "spanNulls": false, "axisPlacement": "auto", "axisLabel": "", "scaleDistribution": { "type": "linear" },
            "fillOpacity": if shape == Shape::Parts { 60 } else { 8 },
            "stacking": { "group": "A", "mode": if shape == Shape::Parts { "normal" } else { "none" } },
        }),
        Shape::Table => json!({ "align": "auto", "cellOptions": { "type": "auto" }, "filterable": true }),
        Shape::States => json!({ "fillOpacity": 70, "lineWidth": 0 }),
        Shape::Heatmap => json!({ "scaleDistribution": { "type": "linear" } }),
        Shape::Stat | Shape::Name => json!({}),
    }
}

fn options(shape: Shape) -> Value {
    let legend = json!({ "showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": [] });
    match shape {
        Shape::Stat | Shape::Name => json!({
            "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false }, "orientation": "auto",
            "colorMode": "value", "graphMode": if shape == Shape::Name { "none" } else { "area" },
            "justifyMode": "auto", "textMode": if shape == Shape::Name { "name" } else { "auto" },
        }),
        Shape::Lines | Shape::Parts => {
            json!({ "legend": legend, "tooltip": { "mode": "multi", "sort": "desc" } })
        }
        Shape::Heatmap => json!({
            "calculate": false, "cellGap": 1, "cellValues": { "unit": "ops" }, "color": {
                "mode": "scheme", "scheme": "Oranges", "exponent": 0.5, "fill": "dark-orange", "reverse": false, "scale": "exponential", "steps": 64,
            },
            "exemplars": { "color": "rgba(255,0,255,0.7)" }, "filterValues": { "le": 1e-9 }, "legend": { "show": true },
            "rowsFrame": { "layout": "auto" }, "showValue": "never", "tooltip": { "mode": "single", "showColorScale": false, "yHistogram": false },
            "yAxis": { "axisPlacement": "left", "reverse": false, "unit": "s" },
        }),
        Shape::Table => json!({
            "showHeader": true, "cellHeight": "sm", "footer": { "show": false, "reducer": ["sum"], "countRows": false, "fields": "" },
            "sortBy": [{ "displayName": "Value", "desc": true }],
        }),
        Shape::States => json!({
            "alignValue": "left", "mergeValues": true, "rowHeight": 0.9, "showValue": "auto", "legend": legend,
            "tooltip": { "mode": "single", "sort": "none" },
        }),
    }
}

/// A session in a table leads to the admin API of its instance, which shows it whole while it lives.
fn overrides(panel: &Panel) -> Value {
    if panel.shape != Shape::Table {
        return json!([]);
    }
    json!([{
        "matcher": { "id": "byName", "options": "session" },
        "properties": [{ "id": "links", "value": [{
            "title": "This session in the admin API", "targetBlank": true,
            "url": "http://${__data.fields.instance}/api/sessions/${__data.fields.session}",
        }] }],
    }])
}

fn transformations(panel: &Panel) -> Value {
    if panel.shape != Shape::Table {
        return json!([]);
    }
    json!([{
        "id": "organize",
        "options": {
            "excludeByName": { "Time": true, "__name__": true, "job": true },
            "indexByName": { "instance": 0, "session": 1, "stream": 2, "Value": 9 },
            "renameByName": {},
        },
    }])
}

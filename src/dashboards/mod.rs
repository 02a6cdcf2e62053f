//! `stagedoor dashboards DIR`: boards for Grafana, rules and alerts for Prometheus, and the files to start both with.
//!
//! Boards (`boards/`) and rules (`rules.rs`) are data; `json.rs`, `rules.rs` and `kubernetes.rs` write them, `check.rs` holds each
//! expression against the catalogue of `stagedoor_metrics`. The folder `grafana/` of the repository is what this prints,
//! and a test compares them (`STAGEDOOR_BLESS=1` writes it). Nothing here asks a gateway or a Prometheus.

mod board;
mod boards;
#[cfg(test)]
mod check;
mod json;
mod kubernetes;
#[cfg(test)]
mod promql;
mod query;
mod rules;
#[cfg(test)]
mod shape;
mod variables;
mod write;

use std::borrow::Cow;

pub(crate) use write::run;

/// A file below the folder.
struct Output {
    path: String,
    text: Cow<'static, str>,
}

/// Files that are the same for everybody, kept as they are in `grafana/`.
const FIXED: &[(&str, &str)] = &[
    ("README.md", include_str!("../../grafana/README.md")),
    ("prometheus.yml", include_str!("../../grafana/prometheus.yml")),
    (
        "provisioning/datasources/prometheus.yml",
        include_str!("../../grafana/provisioning/datasources/prometheus.yml"),
    ),
    (
        "provisioning/dashboards/stagedoor.yml",
        include_str!("../../grafana/provisioning/dashboards/stagedoor.yml"),
    ),
    ("tests/stagedoor.rules.test.yml", include_str!("../../grafana/tests/stagedoor.rules.test.yml")),
];

/// Every file, in the order of their paths.
fn outputs() -> Vec<Output> {
    let printed = |path: &str, text: String| Output { path: path.to_owned(), text: text.into() };
    let mut outputs = vec![
        printed("rules/stagedoor.rules.yml", rules::recordings_yaml()),
        printed("alerts/stagedoor.alerts.yml", rules::alerts_yaml()),
        printed("kustomization.yaml", kubernetes::kustomization()),
        printed("prometheusrule.yaml", kubernetes::prometheus_rule()),
    ];
    for board in boards::all() {
        outputs.push(printed(&format!("dashboards/{}.json", board.uid), json::board(&board)));
    }
    outputs
        .extend(FIXED.iter().map(|(path, text)| Output { path: (*path).to_owned(), text: (*text).into() }));
    outputs.sort_by(|one, other| one.path.cmp(&other.path));
    outputs
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_folder_is_what_is_printed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
        let bless = std::env::var_os("STAGEDOOR_BLESS").is_some();
        let mut stale = Vec::new();
        for Output { path, text } in outputs() {
            let file = folder.join(&path);
            if std::fs::read_to_string(&file).is_ok_and(|there| there == text) {
                continue;
            }
            if bless {
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(&file, &*text).unwrap();
            } else {
                stale.push(path);
            }
        }
        assert!(stale.is_empty(), "not what is printed (STAGEDOOR_BLESS=1 writes them): {stale:?}");
    }

    #[test]
    fn the_folder_has_nothing_else() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana");
        let printed: Vec<_> = outputs().into_iter().map(|output| output.path).collect();
        let mut places = vec![folder.clone()];
        while let Some(place) = places.pop() {
            for entry in std::fs::read_dir(place).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    places.push(path);
                } else {
                    let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
                    assert!(printed.contains(&name), "{name} is not printed");
                }
            }
        }
    }

    #[test]
    fn the_step_of_boards_is_the_interval_of_scrapes() {
        let text = |path: &str| outputs().into_iter().find(|output| output.path == path).unwrap().text;
        let value = |text: &str, key: &str| {
            let line = text
                .lines()
                .find_map(|line| line.trim().strip_prefix(key))
                .unwrap_or_else(|| panic!("no {key}"));
            line.trim_matches([' ', ':', '"']).to_owned()
        };
        assert_eq!(
            value(&text("prometheus.yml"), "scrape_interval"),
            value(&text("provisioning/datasources/prometheus.yml"), "timeInterval")
        );
        assert!(text("prometheus.yml").contains(&format!("job_name: {}\n", rules::JOB)));
    }
}

//! The same boards and rules for a cluster: `kubectl apply -k`, or a resource of another kustomization, takes the folder.
//!
//! Says nothing of its own: rules are those of `rules.rs` under another head, boards are the files beside it.
//! Invariant: a board or rule that is printed is applied.

use std::fmt::Write as _;

use super::boards;
use super::rules;

/// kustomization.yaml: the rules, and a ConfigMap for each board, with the label that Grafana's side-car looks for.
pub(super) fn kustomization() -> String {
    let mut text = "\
# The boards and rules in a cluster with the operator of Prometheus and the side-car of Grafana, printed by `stagedoor dashboards`:
#   kubectl apply --server-side -k .
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - prometheusrule.yaml
generatorOptions:
  disableNameSuffixHash: true
  labels:
    grafana_dashboard: \"1\"
  annotations:
    grafana_folder: Stagedoor
configMapGenerator:
"
    .to_owned();
    for board in boards::all() {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  - name: {uid}\n    files:\n      - dashboards/{uid}.json", uid = board.uid);
    }
    text
}

/// prometheusrule.yaml: every group of `rules/` and `alerts/` in the shape of the operator.
pub(super) fn prometheus_rule() -> String {
    let mut text = "\
# The rules and alerts of rules/ and alerts/ for the operator of Prometheus, printed by `stagedoor dashboards`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: stagedoor
  labels:
    app.kubernetes.io/name: stagedoor
spec:
  groups:
"
    .to_owned();
    for file in [rules::recordings_yaml(), rules::alerts_yaml()] {
        for line in file.lines().skip_while(|line| *line != "groups:").skip(1) {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_and_board_is_in_it() {
        let text = prometheus_rule();
        for rule in rules::recordings() {
            assert!(text.contains(&format!("\n        - record: {}\n", rule.name)), "{}", rule.name);
        }
        for alert in rules::alerts() {
            assert!(text.contains(&format!("\n        - alert: {}\n", alert.name)), "{}", alert.name);
        }
        let text = kustomization();
        for board in boards::all() {
            assert!(text.contains(&format!("\n      - dashboards/{}.json\n", board.uid)), "{}", board.uid);
        }
    }
}

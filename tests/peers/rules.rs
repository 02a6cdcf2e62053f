//! `promtool` judges the committed rules and alerts: that it can read them, and that each alert fires when it should.

use crate::support::peers::{find, stdout};
use crate::support::prometheus::grafana;

/// Where a file of the folder lies.
fn place(path: &str) -> String {
    grafana().join(path).to_str().unwrap().to_owned()
}

#[test]
fn promtool_can_read_rules_and_alerts() {
    let Some(promtool) = find("promtool") else { return };
    let [rules, alerts] = ["rules/stagedoor.rules.yml", "alerts/stagedoor.alerts.yml"].map(place);
    let said = stdout(&promtool, &["check", "rules", "--lint-fatal", &rules, &alerts]);
    assert_eq!(said.matches("SUCCESS").count(), 2, "{said}");
    assert!(said.contains("SUCCESS: 12 rules found"), "{said}");
}

#[test]
fn every_alert_fires_when_it_should_and_not_before() {
    let Some(promtool) = find("promtool") else { return };
    let said = stdout(&promtool, &["test", "rules", &place("tests/stagedoor.rules.test.yml")]);
    assert!(said.contains("SUCCESS"), "{said}");
}

#[test]
fn prometheus_takes_the_configuration() {
    let Some(promtool) = find("promtool") else { return };
    let said = stdout(&promtool, &["check", "config", &place("prometheus.yml")]);
    assert!(
        said.contains("is valid prometheus config file syntax") && said.contains("2 rule files found"),
        "{said}"
    );
}

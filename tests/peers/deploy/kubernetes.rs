//! The manifests: what Kubernetes knows of their fields, and what they say of each other and of the gateway.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{at, binds, document, drain, port, python, read, script, takes, toml};
use crate::support::peers::{output, stdout};

const CONFIG: &str = "deploy/kubernetes/stagedoor.toml";

/// The manifests of the folder, without the kustomization.
fn manifests() -> Vec<String> {
    let folder = std::fs::read_dir(at("deploy/kubernetes")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        names.filter(|name| name.ends_with(".yaml") && name != "kustomization.yaml").collect();
    names.sort();
    names
}

/// Whether files fit, and what is in them or what is wrong.
fn validated(python: &PathBuf, files: &[String]) -> Result<String, String> {
    let rest = [&[at("tests/peers/deploy/crds.json").display().to_string()], files].concat();
    let args = script("validate", &rest);
    let ran = output(python, &args.iter().map(String::as_str).collect::<Vec<_>>());
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    if ran.status.success() { Ok(text(ran.stdout)) } else { Err(text(ran.stderr)) }
}

fn named(python: &PathBuf, name: &str) -> Value {
    document(python, &format!("deploy/kubernetes/{name}.yaml"))
}

#[test]
fn kubernetes_knows_every_field() {
    let Some(python) = python() else { return };
    let mut files: Vec<_> =
        manifests().iter().map(|name| at("deploy/kubernetes").join(name).display().to_string()).collect();
    files.push(at("grafana/prometheusrule.yaml").display().to_string());
    let said = validated(&python, &files).unwrap();
    for object in [
        "Deployment",
        "Service",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodMonitor",
        "PrometheusRule",
    ] {
        assert!(said.lines().any(|line| line == format!("{object}/stagedoor")), "{object}: {said}");
    }
}

#[test]
fn a_field_that_kubernetes_does_not_know_is_found() {
    let Some(python) = python() else { return };
    let place = tempfile::tempdir().unwrap();
    for (manifest, right, wrong) in [
        ("deployment.yaml", "readinessProbe", "readynessProbe"),
        ("podmonitor.yaml", "podMetricsEndpoints", "podMetricEndpoints"),
        ("autoscaler.yaml", "maxReplicas: 10", "maxReplicas: ten"),
    ] {
        let text = read(&format!("deploy/kubernetes/{manifest}"));
        assert!(text.contains(right));
        let file = place.path().join(manifest);
        std::fs::write(&file, text.replace(right, wrong)).unwrap();
        let said = validated(&python, &[file.display().to_string()]).unwrap_err();
        assert!(said.contains(wrong.split(": ").last().unwrap()), "{said}");
    }
}

#[test]
fn the_kustomization_takes_every_file_and_every_board() {
    let Some(python) = python() else { return };
    let kustomization = named(&python, "kustomization");
    let mut resources: Vec<_> =
        kustomization["resources"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(resources.pop(), Some("../../grafana"));
    resources.sort_unstable();
    assert_eq!(resources, manifests());
    let boards = document(&python, "grafana/kustomization.yaml");
    let files: Vec<_> = boards["configMapGenerator"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|map| map["files"].as_array().unwrap())
        .map(|file| file.as_str().unwrap())
        .collect();
    for file in &files {
        // A ConfigMap holds 1 MiB, an annotation of `kubectl apply` a quarter of it.
        let size = std::fs::metadata(at("grafana").join(file)).unwrap().len();
        assert!(size < 250_000, "{file}: {size}");
    }
    assert_eq!(files.len(), std::fs::read_dir(at("grafana/dashboards")).unwrap().count());
    for file in kustomization["configMapGenerator"][0]["files"].as_array().unwrap() {
        assert!(at("deploy/kubernetes").join(file.as_str().unwrap()).exists(), "{file}");
    }
    // kubectl is no package of Debian that is new enough: where there is one, it renders the whole.
    let Some(kubectl) = ["/usr/bin/kubectl", "/usr/local/bin/kubectl"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
    else {
        return;
    };
    let rendered = stdout(&kubectl, &["kustomize", at("deploy/kubernetes").to_str().unwrap()]);
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("all.yaml");
    std::fs::write(&file, rendered).unwrap();
    let said = validated(&python, &[file.display().to_string()]).unwrap();
    assert_eq!(said.lines().count(), manifests().len() + 2 + files.len(), "{said}");
}

#[test]
fn the_operator_gets_the_rules_that_prometheus_gets() {
    let Some(python) = python() else { return };
    let mut groups = Vec::new();
    for file in ["grafana/rules/stagedoor.rules.yml", "grafana/alerts/stagedoor.alerts.yml"] {
        groups.extend(document(&python, file)["groups"].as_array().unwrap().clone());
    }
    let rule = document(&python, "grafana/prometheusrule.yaml");
    assert_eq!(rule["spec"]["groups"], Value::from(groups));
}

#[test]
fn the_pod_is_what_the_configuration_says() {
    let Some(python) = python() else { return };
    let config = toml(CONFIG);
    let deployment = named(&python, "deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let ports = container["ports"].as_array().unwrap();
    let open = |name: &str| ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].as_u64();
    for (listener, bind) in binds(&config) {
        let name = match &*listener {
            "public" => "https",
            "plain" => "http",
            other => other,
        };
        assert_eq!(open(name), Some(port(&bind)), "{listener}");
    }
    // Each file that the configuration names lies in a folder that is mounted, and so does the configuration.
    let mounts: Vec<_> = container["volumeMounts"].as_array().unwrap().iter().collect();
    let args: Vec<_> =
        container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
    let text = read(CONFIG);
    let named = text.split('"').filter(|part| part.starts_with("/etc/")).chain([args[2]]);
    for file in named {
        let mount = mounts.iter().find(|mount| file.starts_with(mount["mountPath"].as_str().unwrap()));
        let mount = mount.unwrap_or_else(|| panic!("{file} is not mounted"));
        assert_eq!((&mount["readOnly"], mount.get("subPath")), (&json!(true), None), "{file}");
        let volumes = pod["volumes"].as_array().unwrap();
        assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
    }
    // Workers are the cores that are asked for, and an address that is no loopback has a token.
    let cores = container["resources"]["requests"]["cpu"].as_str().unwrap();
    assert_eq!(config["server"]["workers"].as_integer().unwrap().to_string(), cores);
    assert!(config["admin"]["token_file"].is_str());
}

#[test]
fn the_command_line_is_one_that_there_is() {
    let Some(python) = python() else { return };
    let deployment = named(&python, "deployment");
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap().clone();
    takes(&args.iter().map(|arg| arg.as_str().unwrap()).collect::<Vec<_>>());
}

#[test]
fn a_pod_ends_in_order() {
    let Some(python) = python() else { return };
    let config = toml(CONFIG);
    let deployment = named(&python, "deployment");
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let pod = &deployment["spec"]["template"]["spec"];
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(drain(&config) + 10 <= grace, "{} s of {grace} s", drain(&config));
    let container = &pod["containers"][0];
    let probe = |name: &str| {
        let probe = &container[name];
        assert_eq!(probe["httpGet"]["port"], "admin", "{name}");
        let path = probe["httpGet"]["path"].as_str().unwrap().to_owned();
        (path, probe["periodSeconds"].as_u64().unwrap(), probe["failureThreshold"].as_u64().unwrap())
    };
    assert_eq!(probe("startupProbe"), ("/readyz".to_owned(), 1, 30));
    assert_eq!(probe("livenessProbe"), ("/livez".to_owned(), 10, 3));
    let (path, period, failures) = probe("readinessProbe");
    assert_eq!((&*path, period, failures), ("/readyz", 2, 1));
    // Who asks whether we are ready has noticed while connections are still accepted.
    let accepting = super::seconds(&config["server"]["drain"]["min_accept"]);
    assert!(accepting > 2 * period * failures, "{accepting} s");
}

#[test]
fn the_pod_may_do_nothing_but_serve() {
    let Some(python) = python() else { return };
    let deployment = named(&python, "deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert!(pod["securityContext"]["runAsUser"].as_u64().unwrap() > 0);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    // STAGEDOOR_PORT and the like of a Service of this name are no settings of ours.
    assert_eq!(pod["enableServiceLinks"], false);
    assert_eq!(
        pod["containers"][0]["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        })
    );
    for name in manifests() {
        assert!(
            !read(&format!("deploy/kubernetes/{name}")).contains("kind: Secret"),
            "{name} holds a secret"
        );
    }
}

#[test]
fn those_who_point_at_the_pod_find_it() {
    let Some(python) = python() else { return };
    let deployment = named(&python, "deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let [service, disruption, autoscaler, network, monitor] =
        ["service", "disruption", "autoscaler", "network", "podmonitor"].map(|name| named(&python, name));
    for selector in [
        &deployment["spec"]["selector"]["matchLabels"],
        &service["spec"]["selector"],
        &disruption["spec"]["selector"]["matchLabels"],
        &network["spec"]["podSelector"]["matchLabels"],
        &monitor["spec"]["selector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    let ports = deployment["spec"]["template"]["spec"]["containers"][0]["ports"].as_array().unwrap().clone();
    let is_open = |name: &Value| ports.iter().any(|port| port["name"] == *name);
    for port in service["spec"]["ports"].as_array().unwrap() {
        assert!(is_open(&port["targetPort"]) && port["targetPort"] != "admin", "{port}");
    }
    for rule in network["spec"]["ingress"].as_array().unwrap() {
        for port in rule["ports"].as_array().unwrap() {
            assert!(is_open(&port["port"]), "{port}");
            // Nobody reaches it who is not named.
            assert!(port["port"] != "admin" || rule.get("from").is_some());
        }
    }
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert!(is_open(&endpoint["port"]));
    // Its secret is the one that the pod reads its token from.
    let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    let secret = &volumes.iter().find(|volume| volume["name"] == "admin").unwrap()["secret"]["secretName"];
    assert_eq!(&endpoint["authorization"]["credentials"]["name"], secret);
    let file = toml(CONFIG)["admin"]["token_file"].as_str().unwrap().to_owned();
    assert!(
        file.ends_with(&format!("/{}", endpoint["authorization"]["credentials"]["key"].as_str().unwrap()))
    );
    // Alerts name the job.
    let job = labels[monitor["spec"]["jobLabel"].as_str().unwrap()].as_str().unwrap();
    assert!(read("grafana/prometheus.yml").contains(&format!("job_name: {job}\n")));
    // What is scaled is this, by a family that there is.
    assert_eq!(autoscaler["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
    let metric = autoscaler["spec"]["metrics"][0]["pods"]["metric"]["name"].as_str().unwrap();
    assert_eq!(metric, stagedoor_metrics::catalogue::STREAMS_ACTIVE.name);
    assert!(deployment["spec"].get("replicas").is_none(), "two would decide how many there are");
}

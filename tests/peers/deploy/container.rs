//! The image and the demo with Prometheus and Grafana, as far as files tell.

use std::path::Path;
use std::process::Command;

use super::{at, binds, document, drain, port, python, read, takes, toml};
use crate::support::Gateway;
use crate::support::command::stagedoor;

const FILE: &str = "deploy/container/Containerfile";

/// The instructions, lines joined, without comments: keyword and rest.
fn instructions() -> Vec<(String, String)> {
    let text = read(FILE).replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (keyword, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line} alone"));
            (keyword.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

/// The rest of the one instruction of a kind in the last stage.
fn last_stage(keyword: &str) -> String {
    let all = instructions();
    let begin = all.iter().rposition(|(keyword, _)| keyword == "FROM").expect("a stage");
    let found: Vec<_> = all[begin..].iter().filter(|(found, _)| found == keyword).collect();
    assert_eq!(found.len(), 1, "{keyword}");
    found[0].1.clone()
}

fn words(exec_form: &str) -> Vec<String> {
    serde_json::from_str(exec_form).unwrap_or_else(|error| panic!("{exec_form} is no list: {error}"))
}

/// What a COPY from the repository takes.
fn copied() -> Vec<String> {
    let mut copied = Vec::new();
    for (_, rest) in
        instructions().iter().filter(|(keyword, rest)| keyword == "COPY" && !rest.starts_with("--from"))
    {
        let mut places: Vec<_> = rest.split(' ').map(str::to_owned).collect();
        places.pop();
        copied.extend(places);
    }
    copied
}

#[test]
fn the_image_is_made_of_known_instructions() {
    let known = [
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "USER",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ];
    let all = instructions();
    for (keyword, rest) in &all {
        assert!(known.contains(&&**keyword), "{keyword} {rest}");
    }
    let stages: Vec<_> = all.iter().filter(|(keyword, _)| keyword == "FROM").map(|(_, rest)| rest).collect();
    assert_eq!(stages.len(), 2);
    for stage in &stages {
        let image = stage.split(' ').next().unwrap();
        assert!(image.matches('/').count() >= 2 && image.contains(':'), "{image}: registry and tag are said");
    }
    let (user, _) = last_stage("USER").split_once(':').map(|(u, g)| (u.to_owned(), g.to_owned())).unwrap();
    assert!(user.parse::<u32>().is_ok_and(|user| user > 0), "{user}: a number, and not root");
    for secret in [".pem", ".key", "token", "PASSWORD", "SECRET", "ARG "] {
        assert!(!read(FILE).contains(secret), "{secret}");
    }
}

#[test]
fn what_is_copied_is_there_and_not_ignored() {
    let ignored = read("deploy/container/Containerfile.dockerignore");
    let kept: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for path in copied() {
        assert!(at(&path).exists(), "{path}");
        let is_kept = kept.iter().any(|kept| match kept.strip_suffix('*') {
            Some(begin) => path.starts_with(begin),
            None => path == *kept,
        });
        assert!(is_kept, "{path} is ignored");
    }
    for kept in kept.iter().filter(|kept| !kept.ends_with('*')) {
        assert!(copied().iter().any(|path| path == kept), "{kept} is kept and not copied");
    }
}

#[test]
fn cargo_finds_a_workspace_in_what_is_copied() {
    let place = tempfile::tempdir().unwrap();
    for path in copied() {
        copy(&at(&path), &place.path().join(&path));
    }
    let cargo = std::env::var_os("CARGO").expect("cargo runs tests");
    let ran = Command::new(cargo)
        .args(["metadata", "--no-deps", "--locked", "--offline", "--format-version=1"])
        .current_dir(place.path())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    // Of the sources only what tests look at may lie outside of it.
    let mut sources = vec![place.path().join("src"), place.path().join("actors/src")];
    while let Some(source) = sources.pop() {
        if source.is_dir() {
            sources.extend(std::fs::read_dir(&source).unwrap().map(|entry| entry.unwrap().path()));
        } else if source.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&source).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for included in code.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let file = source.parent().unwrap().join(included);
                assert!(
                    file.exists() || included.contains("/docs/"),
                    "{} wants {included}",
                    source.display()
                );
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    }
}

#[test]
fn ports_and_files_are_those_of_the_configuration() {
    let config = toml("deploy/container/stagedoor.toml");
    let bound = binds(&config);
    let listened: Vec<_> =
        bound.iter().filter(|(name, _)| name != "admin").map(|(_, bind)| port(bind).to_string()).collect();
    let exposed = last_stage("EXPOSE");
    assert_eq!(exposed.split(' ').collect::<Vec<_>>(), listened);
    let admin = &bound.iter().find(|(name, _)| name == "admin").unwrap().1;
    assert!(last_stage("HEALTHCHECK").contains(&format!("http://{admin}/livez")), "{admin}");
    let command = words(&last_stage("CMD"));
    assert!(read(FILE).contains(&format!("COPY deploy/container/stagedoor.toml {}\n", command[2])));
    // Docker waits ten seconds.
    assert!(drain(&config) < 10);
}

#[test]
fn the_command_line_is_one_that_there_is() {
    assert_eq!(words(&last_stage("ENTRYPOINT")), ["/usr/bin/stagedoor"]);
    let command = words(&last_stage("CMD"));
    takes(&command.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn the_health_check_knows_a_gateway_from_none() {
    let check = last_stage("HEALTHCHECK");
    let command = words(check.split_once(" CMD ").expect("a command").1);
    assert_eq!(command[0], "/usr/bin/stagedoor");
    let gateway = Gateway::start();
    let url = command.last().unwrap().replace("127.0.0.1:9901", &gateway.admin.to_string());
    let mut args: Vec<_> = command[1..command.len() - 1].iter().map(String::as_str).collect();
    args.push(&url);
    let place = tempfile::tempdir().unwrap();
    let well = stagedoor(place.path(), &args);
    assert_eq!(well.code, Some(0), "{well:?}");
    drop(gateway);
    let gone = stagedoor(place.path(), &args);
    assert!(gone.code.is_some_and(|code| code != 0), "{gone:?}");
}

#[test]
fn the_demo_uses_files_that_are_there() {
    let Some(python) = python() else { return };
    let path = "deploy/container/compose.yaml";
    let compose = document(&python, path);
    let services = compose["services"].as_object().unwrap();
    let volumes = compose["volumes"].as_object().unwrap();
    let folder = at("deploy/container");
    for (name, service) in services {
        for volume in service["volumes"].as_array().unwrap() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            let there = if source.starts_with('.') {
                folder.join(source).exists()
            } else {
                volumes.contains_key(source)
            };
            assert!(there, "{name}: {source}");
        }
        assert!(service.get("privileged").is_none());
        let image = service["image"].as_str().unwrap();
        assert!(image.contains(':') && !image.ends_with(":latest"), "{image}");
    }
    let ours = &services["stagedoor"];
    let built = &ours["build"];
    assert!(
        folder.join(built["context"].as_str().unwrap()).join(built["dockerfile"].as_str().unwrap()).exists()
    );
    // The others share its network: what is published there reaches them all, from this machine alone.
    for (name, service) in services.iter().filter(|(name, _)| *name != "stagedoor") {
        assert_eq!(service["network_mode"], "service:stagedoor", "{name}");
    }
    let published: Vec<_> =
        ours["ports"].as_array().unwrap().iter().map(|port| port.as_str().unwrap()).collect();
    for port in &published {
        assert!(port.starts_with("127.0.0.1:"), "{port}");
    }
    for port in last_stage("EXPOSE").split(' ') {
        assert!(published.iter().any(|published| published.ends_with(&format!(":{port}"))), "{port}");
    }
    // grafana/ is used as it is: its targets are loopback addresses of that network.
    let admin = binds(&toml("deploy/container/stagedoor.toml")).pop().unwrap().1;
    assert!(read("grafana/prometheus.yml").contains(&format!("\"{admin}\"")));
}

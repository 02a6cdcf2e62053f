//! What the command says when it starts, and when it cannot.

use std::net::TcpListener;

use crate::support::client::{Client, Speaks};
use crate::support::{Gateway, Process, address_of, run};

fn fails(args: &[&str], code: i32) -> String {
    let (status, stderr) = Process::spawn(args).ended();
    assert_eq!(status.code(), Some(code), "{stderr}");
    assert!(!stderr.contains("panic"), "{stderr}");
    stderr
}

#[test]
fn the_banner_names_what_is_there_and_nothing_else() {
    let gateway = Gateway::start();
    let stderr = gateway.process.stderr();
    let rows: Vec<_> = stderr.lines().take(9).collect();
    assert!(
        rows[0].starts_with("stagedoor ")
            && rows[0].ends_with("2 workers   config: built-in demo   (write your own: stagedoor init)"),
        "{stderr}"
    );
    for (row, start) in rows[1..].iter().zip([
        "  certificate   self-signed for localhost, made now   ",
        "  public        https://127.0.0.1:",
        "  plain         http://127.0.0.1:",
        "  admin         http://127.0.0.1:",
        "  metrics       http://127.0.0.1:",
        "try   curl --cacert ",
        "      stagedoor top --admin http://127.0.0.1:",
        "ready in ",
    ]) {
        assert!(row.starts_with(start), "{row:?} should start with {start:?}");
    }
    assert!(rows[8].ends_with(" ms   Ctrl-C drains, twice stops"));
    assert!(!stderr.contains('\x1b'));
}

#[test]
fn with_nothing_said_taken_ports_are_left_to_others() {
    // Whoever has them, they are taken from here on.
    let _taken: Vec<_> = [8443, 8080, 9901].map(|port| TcpListener::bind(("127.0.0.1", port))).into();
    let process = Process::spawn(&[]);
    process.line(|line| line.starts_with("ready in "));
    let stderr = process.stderr();
    for (name, usual) in [("public", 8443), ("plain", 8080), ("admin", 9901)] {
        assert_ne!(address_of(&stderr, name).unwrap().port(), usual);
        assert!(stderr.contains(&format!("(port {usual} was taken)")), "{stderr}");
    }
    assert!(stderr.contains("https://localhost:") && stderr.contains("http://localhost:"), "{stderr}");
    let gateway = Gateway::of(process);
    run(async {
        assert_eq!(Client::connect(&gateway, Speaks::H2).await.get("/").await.status, 200);
        assert_eq!(Client::admin(&gateway).await.get("/readyz").await.status, 200);
    });
}

#[test]
fn localhost_with_port_0_is_one_port_on_every_loopback_address() {
    let process = Process::spawn(&[
        "serve",
        "--public",
        "localhost:0",
        "--plain",
        "localhost:0",
        "--admin",
        "localhost:0",
    ]);
    let gateway = Gateway::of(process);
    run(async {
        assert_eq!(Client::connect(&gateway, Speaks::Http1).await.get("/bytes/1").await.status, 200);
    });
    if TcpListener::bind("[::1]:0").is_ok() {
        std::net::TcpStream::connect(("::1", gateway.plain.port())).expect("::1 answers too");
    }
}

#[test]
fn an_explicit_port_that_is_taken_is_exit_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--public", "--plain", "--admin"] {
        let mut args = vec!["serve"];
        for other in ["--public", "--plain", "--admin"] {
            args.extend([other, if other == flag { address.as_str() } else { "127.0.0.1:0" }]);
        }
        let stderr = fails(&args, 3);
        let name = &flag[2..];
        assert_eq!(
            stderr,
            format!(
                "stagedoor: cannot serve {name} on {address}: the port is taken\n  \
                 choose another with {flag} ADDR; port 0 takes a free one"
            )
        );
    }
}

#[test]
fn bad_flags_are_exit_2() {
    for (args, said) in [
        (&["serve", "--publik", "x"][..], "--publik"),
        (&["serve", "--watch"], "--config"),
        (&["serve", "--workers", "0"], "--workers"),
        (&["serve", "--plain", "8080"], "an address looks like 127.0.0.1:8443"),
        (&["serve", "--admin", "127.0.0.1:0", "--no-observe"], "--no-observe"),
        (&["sreve"], "sreve"),
        (&["serve", "--log", "info,hyper=loud"], "column 6: 'hyper=loud'"),
    ] {
        let stderr = fails(args, 2);
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[test]
fn an_admin_address_that_others_reach_wants_a_token() {
    let stderr = fails(&["serve", "--admin", "0.0.0.0:0"], 1);
    assert!(
        stderr.contains("can be reached from other machines") && stderr.contains("--admin-token"),
        "{stderr}"
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let with = |file: &std::path::Path| {
        fails(&["serve", "--admin", "0.0.0.0:0", "--admin-token", file.to_str().unwrap()], 1)
    };
    assert!(with(&file).contains("cannot read the token"));
    std::fs::write(&file, "short\n").unwrap();
    assert!(with(&file).contains("holds no token"));
}

#[test]
fn who_has_the_token_looks_and_others_see_that_it_lives() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "a-token-of-some-length\n").unwrap();
    let gateway = Gateway::start_with(&["--admin-token", file.to_str().unwrap()]);
    run(async {
        let mut admin = Client::admin(&gateway).await;
        for (path, status) in
            [("/livez", 200), ("/readyz", 200), ("/metrics", 401), ("/api/sessions", 401), ("/", 401)]
        {
            let answer = admin.get(path).await;
            assert_eq!(answer.status, status, "{path}");
            if status == 401 {
                assert_eq!(answer.header("www-authenticate"), "Bearer");
            }
        }
        for (token, status) in [("a-token-of-some-length", 200), ("another-token-of-a-length", 401)] {
            let request =
                admin.request("GET", "/api/sessions").header("authorization", format!("Bearer {token}"));
            let answer = admin.whole(request.body(crate::support::client::nothing()).unwrap()).await;
            assert_eq!(answer.map(|answer| answer.status).unwrap(), status, "{token}");
        }
    });
}

#[test]
fn a_state_directory_that_cannot_be_is_exit_1() {
    let process = {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(state.path().join("dev"), "a file where the directory should be").unwrap();
        Process::spawn_in(
            state,
            &["serve", "--public", "127.0.0.1:0", "--plain", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
        )
    };
    let (status, stderr) = process.ended();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("cannot keep the development certificate in")
            && stderr.contains("STAGEDOOR_STATE_DIR")
    );
}

#[test]
fn without_observation_there_is_no_admin() {
    let gateway = Gateway::start_with(&["--no-observe"]);
    let stderr = gateway.process.stderr();
    assert!(!stderr.contains("admin") && !stderr.contains("metrics"), "{stderr}");
    run(async {
        assert_eq!(Client::connect(&gateway, Speaks::H2c).await.get("/session").await.status, 200);
    });
}

#[test]
fn one_worker_is_enough() {
    let gateway = Gateway::start_with(&["--workers", "1"]);
    assert!(gateway.process.stderr().contains("   1 worker   "));
    run(async {
        for speaks in Speaks::ALL {
            assert_eq!(Client::connect(&gateway, speaks).await.get("/bytes/1").await.status, 200);
        }
    });
}

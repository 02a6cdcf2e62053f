//! grpcio on both sides of the gateway, which speaks h2c to the server: calls are as they are without it, and its own
//! errors are statuses that a client of gRPC understands.

use crate::grpc::{Server, called, scenario, server};
use crate::support::Gateway;
use crate::support::configured::Configured;
use crate::support::nobody::nobody;
use crate::support::peers::Certificate;

/// A gateway before `server`; the routes under `/gone`, `/late`, `/whole` and `/busy` fail as gateways do.
///
/// The development authority would not do: it vouches for some addresses alone, and BoringSSL, which is in grpcio, takes
/// no authority that is narrowed so.
fn gateway(server: &Server, gone: &str, own: &Certificate) -> Gateway {
    let Server { address, .. } = server;
    let (certificate, key) = own.paths();
    let tls = format!("[[listener.tls.certificate]]\ncert = \"{certificate}\"\nkey = \"{key}\"");
    Configured { tls, ..Configured::default() }.start(&format!(
        r#"
        [[upstream]]
        name = "calls"
        endpoints = ["http://{address}"]
        protocol = "h2c"
        [[upstream]]
        name = "gone"
        endpoints = ["http://{gone}"]
        protocol = "h2c"
        [[upstream]]
        name = "late"
        endpoints = ["http://{address}"]
        protocol = "h2c"
        timeouts = {{ response = "300ms" }}
        [[route]]
        name = "calls"
        proxy = {{ upstream = "calls" }}
        [[route]]
        name = "gone"
        match = {{ path = "/gone/{{*method}}" }}
        proxy = {{ upstream = "gone" }}
        [[route]]
        name = "late"
        match = {{ path = "/late/{{*method}}" }}
        rewrite = "/stage.Door/{{method}}"
        proxy = {{ upstream = "late" }}
        [[route]]
        name = "whole"
        match = {{ path = "/whole/{{*method}}" }}
        rewrite = "/stage.Door/{{method}}"
        timeout = "300ms"
        proxy = {{ upstream = "calls" }}
        [[route]]
        name = "busy"
        match = {{ path = "/busy/{{*method}}" }}
        rewrite = "/stage.Door/{{method}}"
        rate_limit = {{ per = "client", rate = 0.001, burst = 1 }}
        proxy = {{ upstream = "calls" }}
        "#
    ))
}

#[test]
fn calls_through_the_gateway_are_as_without_it() {
    let Some(server) = server() else { return };
    let own = Certificate::new();
    let gateway = gateway(&server, &nobody().to_string(), &own);
    scenario(&server, &gateway.plain.to_string(), None);
    let public = format!("localhost:{}", gateway.public.port());
    scenario(&server, &public, Some(&own.certificate));
}

#[test]
fn what_the_gateway_refuses_is_a_status_of_grpc() {
    let Some(server) = server() else { return };
    let own = Certificate::new();
    let gateway = gateway(&server, &nobody().to_string(), &own);
    let public = format!("localhost:{}", gateway.public.port());
    for (target, ca) in [(gateway.plain.to_string(), None), (public, Some(&*own.certificate))] {
        let called = |method: &str| called(&server, &target, ca, method);
        assert_eq!(called("/gone/Unary"), "UNAVAILABLE");
        assert_eq!(called("/late/Silent"), "DEADLINE_EXCEEDED");
        assert_eq!(called("/whole/Silent"), "DEADLINE_EXCEEDED");
        // One call is allowed to each address; both sites are of one client.
        let first = if ca.is_none() { "OK" } else { "RESOURCE_EXHAUSTED" };
        assert_eq!(called("/busy/Unary"), first);
        assert_eq!(called("/busy/Unary"), "RESOURCE_EXHAUSTED");
        // What was refused hurt nothing else.
        assert_eq!(called("/stage.Door/Unary"), "OK");
    }
}

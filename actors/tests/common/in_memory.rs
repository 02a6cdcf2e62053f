// What examples of the documentation begin with: a session of our client with a service, in memory.

/// The host that serves it, and the session.
fn in_memory(
    service: std::rc::Rc<dyn stagedoor_actors::Service>,
) -> Result<
    (std::rc::Rc<stagedoor_actors::Host>, stagedoor_actors::client::ClientSession),
    Box<dyn std::error::Error>,
> {
    let metrics = stagedoor_metrics::Metrics::new("stagedoor");
    let config = stagedoor_actors::ListenerConfig::new("memory", ([127, 0, 0, 1], 0).into());
    let host = stagedoor_actors::Host::new(&metrics, 0, config, service);
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    host.spawn_session(ours, None);
    let over = stagedoor_actors::client::Connector::over(theirs);
    let over = stagedoor_actors::client::Options::with_connector(over);
    Ok((host, stagedoor_actors::client::connect("http://memory", over)?))
}

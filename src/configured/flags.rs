//! What the command line says beside a configuration, or in place of one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use stagedoor::config::{self, Bind, Config, Defaults};

use super::Blueprint;
use crate::banner::Colour;
use crate::cli::{Endpoint, ProxyArgs, ServeArgs};
use crate::configure;
use crate::failure::{Exit, Failure};
use crate::resources;
use crate::say::say;

/// Flags that go before what a file says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    public: Option<Endpoint>,
    plain: Option<Endpoint>,
    admin: Option<SocketAddr>,
    admin_token: Option<std::path::PathBuf>,
    workers: Option<u16>,
    log: bool,
}

impl Flags {
    fn of(args: &ServeArgs) -> Self {
        Self {
            public: args.public,
            plain: args.serving.plain,
            admin: args.serving.admin,
            admin_token: args.serving.admin_token.clone(),
            workers: args.serving.workers,
            log: args.serving.log.is_some(),
        }
    }

    /// The filter of the log is the command line's.
    pub(super) fn says_log(&self) -> bool {
        self.log
    }

    /// Puts what the flags say in the place of what the file says.
    /// # Errors
    /// A flag of a listener that the file does not have.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), Failure> {
        for (name, flag, endpoint) in [("public", "--public", self.public), ("plain", "--plain", self.plain)]
        {
            let Some(endpoint) = endpoint else { continue };
            let known: Vec<String> = config.listeners.iter().map(|listener| listener.name.clone()).collect();
            let listener =
                config.listeners.iter_mut().find(|listener| listener.name == name).ok_or_else(|| {
                    Failure::new(
                        Exit::Input,
                        format!("{flag} moves the listener {name:?}, and the configuration has none"),
                    )
                    .with_way_out(format!("its listeners are {}", known.join(", ")))
                })?;
            listener.bind = match endpoint {
                Endpoint::Localhost(port) => vec![Bind::Tcp((Ipv4Addr::LOCALHOST, port).into())],
                Endpoint::Address(address) => vec![Bind::Tcp(address)],
            };
        }
        if let Some(address) = self.admin {
            config.admin.bind = Some(Bind::Tcp(address));
        }
        if let Some(file) = &self.admin_token {
            config.admin.token_file = Some(file.clone());
        }
        if let Some(workers) = self.workers {
            config.server.workers = Some(workers);
        }
        Ok(())
    }
}

/// `serve -c FILE`. Warnings are said, errors end it.
///
/// # Errors
/// All that is wrong with the file.
pub(crate) fn loaded(args: &ServeArgs, file: &Path, colour: Colour) -> Result<Blueprint, Failure> {
    let loaded = configure::load(file, colour)?;
    for warning in &loaded.warnings {
        say(warning.render(colour == Colour::On).trim_end());
    }
    let flags = Flags::of(args);
    let mut config = loaded.config.clone();
    flags.apply(&mut config)?;
    Ok(Blueprint {
        config,
        file: Some((file.to_owned(), Box::new(loaded))),
        flags,
        logs: args.serving.logs.clone(),
        sessions: resources::raise_and_count_sessions(),
        observed: !args.no_observe,
        watch: args.watch,
    })
}

/// `proxy FROM TO`.
///
/// # Errors
/// What is no address, or no URL.
pub(crate) fn proxied(args: &ProxyArgs) -> Result<Blueprint, Failure> {
    let sessions = resources::raise_and_count_sessions();
    let defaults = Defaults { sessions: u32::try_from(sessions).unwrap_or(u32::MAX) };
    // Written as anybody would write it, and read by the one reader there is.
    let text = document(&args.from, &args.to)?;
    let loaded = config::parse("proxy", text, &defaults)
        .map_err(|faults| Failure::new(Exit::Bug, format!("proxy makes no configuration: {faults}")))?;
    let mut config = loaded.config;
    config.admin.bind = args.admin.map(Bind::Tcp);
    config.admin.token_file.clone_from(&args.admin_token);
    config.server.workers = args.workers;
    // Nobody asks whether it is ready: Ctrl-C is not waited for.
    config.server.drain.min_accept = Duration::ZERO;
    Ok(Blueprint {
        config,
        file: None,
        flags: Flags { log: args.log.is_some(), ..Flags::default() },
        logs: args.logs.clone(),
        sessions,
        observed: true,
        watch: false,
    })
}

/// The configuration of `proxy FROM TO`.
fn document(from: &str, to: &str) -> Result<String, Failure> {
    let (bind, secure) = listen(from)?;
    let (url, protocol) = target(to)?;
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let tls = if secure { "[listener.tls]\n" } else { "" };
    Ok(format!(
        "[[listener]]\nname = \"proxy\"\nbind = [{}]\n{tls}\
         [[upstream]]\nname = \"to\"\nendpoints = [{}]\nprotocol = \"{protocol}\"\n\
         [[route]]\nname = \"proxy\"\nproxy = {{ upstream = \"to\" }}\n",
        quoted(&bind),
        quoted(&url),
    ))
}

/// Where to listen, and whether by TLS.
fn listen(text: &str) -> Result<(String, bool), Failure> {
    let wrong = || {
        Failure::new(Exit::Input, format!("{text:?} is no address to listen on")).with_way_out(
            "FROM looks like 127.0.0.1:8080, localhost:8080, https://localhost:8443 or unix:/run/a.sock",
        )
    };
    if text.starts_with("unix:/") {
        return Ok((text.to_owned(), false));
    }
    let (rest, secure) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        (None, None) => (text, false),
    };
    let address = match rest.trim_end_matches('/').parse().map_err(|_| wrong())? {
        Endpoint::Localhost(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        Endpoint::Address(address) => address,
    };
    Ok((address.to_string(), secure))
}

/// Where to send to, and what is spoken there.
fn target(text: &str) -> Result<(String, &'static str), Failure> {
    let wrong = |why: String| {
        Failure::new(Exit::Input, format!("{text:?} is no URL to send to: {why}")).with_way_out(
            "TO looks like http://127.0.0.1:3000, https://api.internal, h2c://127.0.0.1:50051 or unix:/run/a.sock",
        )
    };
    if text.starts_with("unix:/") {
        return Ok((text.to_owned(), "auto"));
    }
    let (scheme, rest, protocol) = if let Some(rest) = text.strip_prefix("https://") {
        ("https", rest, "auto")
    } else if let Some(rest) = text.strip_prefix("h2c://") {
        ("http", rest, "h2c")
    } else if let Some(rest) = text.strip_prefix("http://") {
        ("http", rest, "auto")
    } else {
        return Err(wrong("it begins with none of http://, https://, h2c:// and unix:/".to_owned()));
    };
    let path = rest.find('/').map(|at| &rest[at..]).unwrap_or_default();
    if !matches!(path, "" | "/") {
        return Err(wrong("requests keep their own path, so it has none".to_owned()));
    }
    let url = format!("{scheme}://{}", rest.trim_end_matches('/'));
    stagedoor::client::Target::parse(&url, stagedoor::client::Scheme::Http)
        .map_err(|error| wrong(error.to_string()))?;
    Ok((url, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(from: &str, to: &str) -> Config {
        let text = document(from, to).unwrap();
        config::parse("proxy", text, &Defaults::default()).unwrap().config
    }

    #[test]
    fn a_proxy_is_a_configuration() {
        let config = made("localhost:8080", "h2c://127.0.0.1:50051");
        assert_eq!(config.listeners[0].bind, [Bind::Tcp("127.0.0.1:8080".parse().unwrap())]);
        assert!(config.listeners[0].tls.is_none());
        assert_eq!(config.upstreams[0].protocol, config::UpstreamProtocol::H2c);
        let config = made("https://[::1]:8443/", "https://api.internal/");
        assert!(config.listeners[0].tls.is_some());
        assert_eq!(config.upstreams[0].protocol, config::UpstreamProtocol::Auto);
        assert_eq!(
            made("unix:/run/a.sock", "unix:/run/b.sock").listeners[0].bind,
            [Bind::Unix("/run/a.sock".into())]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_a_way_out() {
        for (from, to, word) in [
            ("8080", "http://a", "no address to listen on"),
            ("localhost:1", "127.0.0.1:80", "begins with none"),
            ("localhost:1", "ftp://a", "begins with none"),
            ("localhost:1", "http://a/b", "requests keep their own path"),
            ("localhost:1", "http://a b", "no URL to send to"),
        ] {
            let error = document(from, to).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("looks like"), "{error}");
        }
    }
}

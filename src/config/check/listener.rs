//! Listeners: addresses that do not meet, limits that fit.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use stagedoor_actors::{Limits, ListenerConfig, MaxAge, Problem as Unfit, Timeouts, Windows};
use stagedoor_protocol::Window;

use super::super::at::At;
use super::super::diagnostic::Code;
use super::super::file::{self, File};
use super::super::model::{Bind, Listener, ProxyProtocol};
use super::super::problem::Problem;
use super::super::source::{NOWHERE, Span};
use super::super::word::{Int, Size};
use super::Check;

impl Check<'_> {
    pub(super) fn listeners(&mut self, file: &File) -> Vec<Listener> {
        let mut names = BTreeSet::new();
        let mut binds: Vec<(Bind, String)> = Vec::new();
        if let Some(bind) = &file.admin.bind.0 {
            binds.push((bind.clone(), "admin".to_owned()));
        }
        let mut listeners = Vec::new();
        for (index, written) in file.listener.iter().enumerate() {
            let name = self.name("listener", index, &written.span, written.name.as_ref(), &mut names);
            let whose = super::whose("listener", index, written.name.as_ref());
            if written.bind.0.is_empty() {
                let help = "say where: bind = \"[::]:8443\"";
                self.missing("listener", index, &written.span, &whose, "bind", help);
            }
            for bind in &written.bind.0 {
                let taken = binds.iter().find(|(other, _)| same_place(other, &bind.value.0));
                if let Some((_, owner)) = taken {
                    let label = format!("{owner} is there already");
                    let message = format!("{whose} cannot be at {}", bind.value);
                    self.error(&bind.span, message, Problem::new(Code::DuplicateBind, "", label));
                }
                binds.push((bind.value.0.clone(), whose.clone()));
            }
            listeners.push(self.listener(index, name, written, file));
        }
        let whole = !self.broken.iter().any(|path| super::tree::written(path).starts_with("listener"));
        if file.listener.is_empty() && whole {
            let problem = Problem::new(Code::NoListener, "", "there is no [[listener]]")
                .help("`stagedoor init` writes a configuration to begin with");
            self.error(&NOWHERE, "nothing is listened on", problem);
        }
        listeners
    }

    fn listener(
        &mut self,
        index: usize,
        name: String,
        written: &At<file::Listener>,
        file: &File,
    ) -> Listener {
        let whose = super::whose("listener", index, written.name.as_ref());
        let speaks = |protocol| written.protocols.iter().any(|one| one.value == protocol);
        let proxy_protocol = match written.proxy_protocol.value {
            file::ProxyHeader::Off => ProxyProtocol::Off,
            file::ProxyHeader::V1 => ProxyProtocol::V1,
            file::ProxyHeader::V2 => ProxyProtocol::V2,
            file::ProxyHeader::Any => ProxyProtocol::Any,
        };
        let unix_alone = written.bind.0.iter().all(|bind| matches!(bind.value.0, Bind::Unix(_)));
        if proxy_protocol != ProxyProtocol::Off && file.server.trusted_proxies.is_empty() && !unix_alone {
            let problem = Problem::new(Code::NoTrustedProxies, "", "from whom?")
                .help("name the senders: [server] trusted_proxies = [\"10.0.0.0/8\"]");
            let message = format!("{whose} wants PROXY headers, and nobody is trusted to send one");
            self.warning(&written.proxy_protocol.span, message, problem);
        }
        let tls = written.tls.as_ref().map(|tls| self.listener_tls(index, &whose, tls));
        let mut told = ListenerConfig::new(name.clone(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        told.http2 = speaks(file::Protocol::H2);
        told.http1 = speaks(file::Protocol::Http1);
        told.limits = limits(written);
        told.windows = windows(written);
        told.timeouts = timeouts(written);
        told.timeouts.drain = file.server.drain.timeout.0;
        self.fits(index, &whose, written, told.clone());
        Listener {
            name,
            bind: written.bind.0.iter().map(|bind| bind.value.0.clone()).collect(),
            http2: told.http2,
            http1: told.http1,
            proxy_protocol,
            reuse_port: written.reuse_port,
            tls,
            limits: told.limits,
            windows: told.windows,
            timeouts: told.timeouts,
        }
    }

    /// What the engine would refuse. It says one thing at a time, so what it said is mended in the copy.
    fn fits(&mut self, index: usize, whose: &str, written: &file::Listener, mut told: ListenerConfig) {
        while let Err(error) = told.check() {
            let (key, span) = mend(&mut told, error.option, written);
            if error.problem == Unfit::Mute && !self.is_whole("listener", index) {
                continue;
            }
            let (code, message, label) = match error.problem {
                Unfit::Mute => {
                    (Code::MissingKey, format!("{whose} speaks nothing"), "no protocol is left".to_owned())
                }
                Unfit::Shrinks(_) => {
                    (Code::BadWindow, format!("{whose}: {key} does not fit"), error.problem.to_string())
                }
                Unfit::Zero => (
                    Code::OutOfRange,
                    format!("{whose}: {key} is out of range"),
                    "must be more than 0".to_owned(),
                ),
                Unfit::OutOfRange { least, most, .. } => {
                    let label = match u32::try_from(most) {
                        Ok(most) => format!("must be between {least} and {most}"),
                        Err(_) => format!("must be {least} or more"),
                    };
                    (Code::OutOfRange, format!("{whose}: {key} is out of range"), label)
                }
                problem => (Code::OutOfRange, format!("{whose}: {key} does not fit"), problem.to_string()),
            };
            let mut problem = Problem::new(code, "", label);
            if code == Code::MissingKey {
                problem = problem.help("protocols = [\"h2\", \"http/1.1\"]");
            }
            self.error(&span, message, problem);
            if key.is_empty() {
                return;
            }
        }
    }
}

/// The key and the place of an option of the engine; puts its default in.
fn mend(told: &mut ListenerConfig, option: &str, written: &file::Listener) -> (&'static str, Span) {
    let (limits, windows, timeouts) = (&written.limits, &written.windows, &written.timeouts);
    let defaults = Timeouts::default();
    match option {
        "http2" => {
            told.http2 = true;
            ("protocols", written.protocols.span.clone())
        }
        "limits.session_memory" => {
            told.limits.session_memory = Limits::default().session_memory;
            ("limits.session_memory", limits.session_memory.span.clone())
        }
        "limits.header_bytes" => {
            told.limits.header_bytes = Limits::default().header_bytes;
            ("limits.header_bytes", limits.header_bytes.span.clone())
        }
        "limits.session_max_age.after" => {
            let after = limits.session_max_age.as_ref().map_or(NOWHERE, |age| age.after.span.clone());
            told.limits.session_max_age = None;
            ("limits.session_max_age.after", after)
        }
        "windows.stream" => {
            told.windows.stream = Windows::default().stream;
            ("windows.stream", super::first_written([&windows.stream.start.span, &windows.stream.max.span]))
        }
        "windows.connection" => {
            told.windows.connection = Windows::default().connection;
            let spans = [&windows.connection.start.span, &windows.connection.max.span];
            ("windows.connection", super::first_written(spans))
        }
        "timeouts.handshake" => {
            told.timeouts.handshake = defaults.handshake;
            ("timeouts.handshake", timeouts.handshake.span.clone())
        }
        "timeouts.preface" => {
            told.timeouts.preface = defaults.preface;
            ("timeouts.preface", timeouts.preface.span.clone())
        }
        "timeouts.header" => {
            told.timeouts.header = defaults.header;
            ("timeouts.header", timeouts.header.span.clone())
        }
        "timeouts.settings" => {
            told.timeouts.settings = defaults.settings;
            ("timeouts.settings", timeouts.settings.span.clone())
        }
        "timeouts.keepalive_timeout" => {
            told.timeouts.keepalive_timeout = defaults.keepalive_timeout;
            ("timeouts.keepalive.timeout", timeouts.keepalive.timeout.span.clone())
        }
        // A table of header compression larger than the memory of a session: its default is what does not fit.
        "options.header_table_size" => {
            told.limits.session_memory = Limits::default().session_memory;
            ("limits.session_memory", limits.session_memory.span.clone())
        }
        _ => ("", NOWHERE),
    }
}

/// Two sockets that cannot be both.
fn same_place(one: &Bind, other: &Bind) -> bool {
    match (one, other) {
        // A port that the system picks is another each time.
        (Bind::Tcp(one), Bind::Tcp(other)) => one == other && one.port() != 0,
        _ => one == other,
    }
}

fn limits(written: &file::Listener) -> Limits {
    let limits = &written.limits;
    let count = |number: u32| number as usize;
    Limits {
        sessions: limits.sessions.as_ref().map_or(Limits::default().sessions, |sessions| count(sessions.0)),
        handshakes: count(limits.handshakes.0),
        sessions_per_address: match limits.sessions_per_address.value {
            Int(0) => None,
            Int(number) => Some(count(number)),
        },
        streams_per_session: limits.streams_per_session.0,
        session_memory: usize::try_from(limits.session_memory.0).unwrap_or(usize::MAX),
        header_bytes: octets(limits.header_bytes.value),
        header_fields: count(limits.header_fields.0),
        session_max_age: limits.session_max_age.as_ref().map(|age| MaxAge {
            after: age.after.0,
            jitter: age.jitter.0,
            grace: age.grace.0,
        }),
    }
}

/// More than fits is out of every range.
fn octets(size: Size) -> u32 {
    u32::try_from(size.0).unwrap_or(u32::MAX)
}

fn windows(written: &file::Listener) -> Windows {
    let (stream, connection) = (&written.windows.stream, &written.windows.connection);
    Windows {
        stream: Window { start: octets(stream.start.value), max: octets(stream.max.value) },
        connection: Window { start: octets(connection.start.value), max: octets(connection.max.value) },
    }
}

fn timeouts(written: &file::Listener) -> Timeouts {
    let timeouts = &written.timeouts;
    Timeouts {
        handshake: timeouts.handshake.0,
        preface: timeouts.preface.0,
        header: timeouts.header.0,
        settings: timeouts.settings.0,
        unknown_protocol: timeouts.unknown_protocol.0,
        idle: timeouts.idle.0,
        stall: timeouts.stall.0,
        stream_idle: timeouts.stream_idle.0,
        hard: timeouts.hard.0,
        min_rate: timeouts.min_rate.0,
        keepalive_ping: timeouts.keepalive.ping.0,
        keepalive_without_streams: timeouts.keepalive.without_streams,
        keepalive_timeout: timeouts.keepalive.timeout.0,
        linger: timeouts.linger.0,
        ..Timeouts::default()
    }
}

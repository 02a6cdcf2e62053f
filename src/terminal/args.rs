//! The arguments of the commands that look at a running gateway. Checks each by itself; the gateway judges filters and ids.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::reach::Url;

/// A command that looks at a running gateway.
#[derive(Debug, Subcommand)]
pub(crate) enum Look {
    /// Show the live sessions and streams of a running gateway.
    #[cfg(feature = "top")]
    Top(TopArgs),
    /// List the sessions of a running gateway.
    Sessions(SessionsArgs),
    /// Show one session: streams, windows, queues, waits, flight recorder.
    Session(SessionArgs),
    /// Close a session, or reset one of its streams.
    Close(CloseArgs),
    /// Show the frames that cross a running gateway, decoded and redacted.
    Tap(TapArgs),
    /// Show or set what a running gateway logs.
    Log(LogArgs),
    /// Let a running gateway finish what it has and take nothing new.
    Drain(DrainArgs),
    /// Let a draining gateway take sessions again.
    Resume(ResumeArgs),
    /// Let a running gateway load its configuration again, all or nothing.
    Reload(ReloadArgs),
    /// List the upstreams of a running gateway and how their endpoints stand.
    Upstreams(UpstreamsArgs),
    /// List the certificates of a running gateway and how long they are good for.
    Certs(CertsArgs),
}

/// Where the gateway is.
#[derive(Args, Clone, Debug)]
pub(crate) struct AdminArgs {
    /// The admin address of the gateway, or unix:/path
    #[arg(
        long,
        value_name = "URL",
        env = "STAGEDOOR_ADMIN",
        default_value = "http://127.0.0.1:9901",
        hide_env_values = true
    )]
    pub(crate) admin: AdminAddress,
    /// A file with the token that the gateway asks for
    #[arg(long, value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
}

/// An admin address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminAddress {
    Url(Url),
    Unix(PathBuf),
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            // unix:///run/x is how some programs write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.is_empty() {
                true => Err("unix: is followed by the path of a socket".to_owned()),
                false => Ok(Self::Unix(path.into())),
            };
        }
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&url, false).map_err(|error| error.to_string())?;
        match &*url.path {
            "/" => Ok(Self::Url(url)),
            path => Err(format!("an admin address has no path, and this one has {path}")),
        }
    }
}

#[cfg(feature = "top")]
#[derive(Args, Debug)]
#[command(after_help = "\
In the screen, ? shows the keys. Where stdout is no terminal it is as with --once.

  stagedoor top --sort -bytes.out --filter 'age > 90s and protocol = h2'")]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// Print one table and end
    #[arg(long)]
    pub(crate) once: bool,
    /// What the gateway says, a line of JSON about once a second
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the sessions that match, as in 'protocol = h2 and age > 90s'
    #[arg(long, value_name = "EXPR", default_value = "", hide_default_value = true)]
    pub(crate) filter: String,
    /// Order by a field; -FIELD has the largest first
    #[arg(long, value_name = "FIELD", default_value = "id", allow_hyphen_values = true)]
    pub(crate) sort: String,
}

#[derive(Args, Debug)]
#[command(after_help = "\
A filter is 'field op value', joined by ' and '. Ops: = != ~ < > (~ contains). Fields: id role listener protocol peer state age \
idle bytes.in bytes.out streams_open streams_total write_queue_bytes send_window memory_bytes wait route method. \
Times look like 90s or 5m, sizes like 64KiB or 10MiB.")]
pub(crate) struct SessionsArgs {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// The sessions as JSON, their streams with them
    #[arg(long)]
    pub(crate) json: bool,
    /// List the sessions that match, as in 'protocol = h2 and age > 90s'
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    /// Order by a field; -FIELD has the largest first [default: id]
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct SessionArgs {
    /// The session, as in 0-1a
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// The session as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CloseArgs {
    /// A session, as in 0-1a, or one of its streams, as in 0-1a/5
    #[arg(value_name = "ID[/STREAM]")]
    pub(crate) target: CloseTarget,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// Cut its streams off; without it they may finish
    #[arg(long)]
    pub(crate) now: bool,
    /// What the peer and the log are told
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The HTTP/2 error code, a number or a name as in ENHANCE_YOUR_CALM
    #[arg(long, value_name = "N")]
    pub(crate) code: Option<String>,
}

/// What is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CloseTarget {
    Session(String),
    Stream { session: String, stream: u32 },
}

impl FromStr for CloseTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str = "a session looks like 0-1a, a stream of it like 0-1a/5";
        let (session, stream) = match text.split_once('/') {
            None => (text, None),
            Some((session, stream)) => (
                session,
                Some(stream.parse().map_err(|_| format!("{stream:?} is no number of a stream; {HELP}"))?),
            ),
        };
        if session.is_empty() {
            return Err(HELP.to_owned());
        }
        let session = session.to_owned();
        Ok(match stream {
            None => Self::Session(session),
            Some(stream) => Self::Stream { session, stream },
        })
    }
}

#[derive(Args, Debug)]
#[command(after_help = "\
The gateway redacts what it shows: no credentials, no queries, no bodies. < is what it received, > what it sent. \
Ctrl-C ends it.")]
pub(crate) struct TapArgs {
    /// Frames of this session; without it those of every session
    #[arg(value_name = "SESSION")]
    pub(crate) session: Option<String>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// Frames of streams that this route serves; not with SESSION
    #[arg(long, value_name = "R", conflicts_with = "session")]
    pub(crate) route: Option<String>,
    /// A line of JSON a frame
    #[arg(long)]
    pub(crate) json: bool,
    /// Show at most so many requests a second, each whole or not at all; not with SESSION
    #[arg(long, value_name = "N", conflicts_with = "session", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) max_rps: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// A level, or targets with levels, as in info,hyper=debug; without it the filter is shown
    #[arg(value_name = "LEVEL|FILTER")]
    pub(crate) filter: Option<String>,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DrainArgs {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// One listener; without it all that serve
    #[arg(long, value_name = "L")]
    pub(crate) listener: Option<String>,
    /// How long streams may go on, as in 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Args, Debug)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// One listener; without it all that serve
    #[arg(long, value_name = "L")]
    pub(crate) listener: Option<String>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Sessions survive: new streams see the new routes, running streams keep the old ones. What is wrong is told with file, line \
and column, and nothing changes.

Exit codes:
  0    the configuration is in force
  1    it has errors, or there is no file; the one before stays in force
  3    the gateway could not be reached")]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

#[derive(Args, Debug)]
pub(crate) struct UpstreamsArgs {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// The upstreams as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CertsArgs {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// The certificates as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_address_is_a_url_or_a_socket() {
        let url = |text: &str| match text.parse::<AdminAddress>() {
            Ok(AdminAddress::Url(url)) => url.origin,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(url("http://127.0.0.1:9901"), "http://127.0.0.1:9901");
        assert_eq!(url("http://[::1]:9901/"), "http://[::1]:9901");
        assert_eq!(url("localhost:9902"), "http://localhost:9902");
        for text in ["unix:/run/a.sock", "unix:///run/a.sock"] {
            assert_eq!(text.parse(), Ok(AdminAddress::Unix("/run/a.sock".into())), "{text}");
        }
        assert_eq!("unix:a.sock".parse(), Ok(AdminAddress::Unix("a.sock".into())));
        for (text, words) in [
            ("unix:", "the path of a socket"),
            ("http://a/metrics", "has /metrics"),
            ("ftp://a", "not supported"),
            ("", "no host"),
            ("http://a:99999", "the port"),
        ] {
            let error = text.parse::<AdminAddress>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_closed_is_a_session_or_a_stream_of_one() {
        assert_eq!("0-1a".parse(), Ok(CloseTarget::Session("0-1a".to_owned())));
        assert_eq!("0-1a/5".parse(), Ok(CloseTarget::Stream { session: "0-1a".to_owned(), stream: 5 }));
        for text in ["", "/5", "0-1a/", "0-1a/x", "0-1a/5/6", "0-1a/-1"] {
            assert!(text.parse::<CloseTarget>().unwrap_err().contains("looks like 0-1a"), "{text}");
        }
    }
}

//! The command line. Checks each flag by itself; what only the system can tell (a taken port) comes later.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::logs::LogArgs;
use crate::terminal::args::Look;

/// An HTTP/2 gateway built of actors: every session and every stream visible while it lives.
#[derive(Debug, Parser)]
#[command(name = "stagedoor", version, after_help = "Without a command: serve, on the built-in demo.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

impl Cli {
    /// The command to run; `serve` when none is given.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or_else(|| Command::Serve(ServeArgs::default()))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve what a configuration says; without one, the built-in demo.
    Serve(ServeArgs),
    /// Serve the files of a directory.
    Files(FilesArgs),
    /// Send requests on to one server.
    Proxy(ProxyArgs),
    /// Fetch a URL with our own HTTP/2 client.
    Get(GetArgs),
    /// Put load on a URL through our own HTTP/2 client and tell how it answered.
    Bench(BenchArgs),
    /// Look at a running gateway.
    #[command(flatten)]
    Look(Look),
    /// Write boards for Grafana and rules for Prometheus into a directory.
    Dashboards(DashboardsArgs),
    /// Write a commented configuration to begin with.
    Init(InitArgs),
    /// Say what is wrong with a configuration, with lines.
    Check(CheckArgs),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Print what a shell needs to complete the commands.
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for every command.
    Man(ManArgs),
}

/// What every command that serves is told.
#[derive(Args, Debug, Default)]
pub(crate) struct ServingArgs {
    /// Where cleartext HTTP is served [default: localhost:8080, or the next free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) plain: Option<Endpoint>,
    /// Where admin and metrics are served [default: 127.0.0.1:9901 or the next free port; files: nowhere]
    #[arg(long, value_name = "ADDR", value_parser = admin)]
    pub(crate) admin: Option<SocketAddr>,
    /// A file whose first line everyone who asks the admin address must know; wanted for all but loopback addresses
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_token: Option<PathBuf>,
    /// Threads that serve [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// What is logged to stderr: a level or targets with levels, as in info,hyper=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    #[command(flatten)]
    pub(crate) logs: LogArgs,
}

#[derive(Args, Debug, Default)]
pub(crate) struct ServeArgs {
    /// The configuration (see `stagedoor init`); flags go before what it says
    #[arg(short, long, value_name = "FILE", env = "STAGEDOOR_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Read the configuration again when its file changes, or one that it names
    #[arg(long, requires = "config")]
    pub(crate) watch: bool,
    /// Where HTTPS is served [default: localhost:8443, or the next free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) public: Option<Endpoint>,
    #[command(flatten)]
    pub(crate) serving: ServingArgs,
    /// No admin listener, and nothing is counted or recorded of sessions and streams
    #[arg(long, conflicts_with = "admin")]
    pub(crate) no_observe: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
  stagedoor proxy localhost:8080 http://127.0.0.1:3000           HTTP/2 and HTTP/1.1 in front of a server of HTTP/1.1
  stagedoor proxy https://localhost:8443 h2c://127.0.0.1:50051   TLS in front of a gRPC server
https takes the development certificate. More than one server, or a certificate of your own: stagedoor init.")]
pub(crate) struct ProxyArgs {
    /// Where to listen: ADDR, http://ADDR, https://ADDR or unix:/PATH
    #[arg(value_name = "FROM")]
    pub(crate) from: String,
    /// Where to send to: http://HOST:PORT, https://HOST, h2c://HOST:PORT or unix:/PATH
    #[arg(value_name = "TO")]
    pub(crate) to: String,
    /// Where admin and metrics are served [default: nowhere]
    #[arg(long, value_name = "ADDR", value_parser = admin)]
    pub(crate) admin: Option<SocketAddr>,
    /// A file whose first line everyone who asks the admin address must know
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_token: Option<PathBuf>,
    /// Threads that serve [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// What is logged to stderr: a level or targets with levels [default: info]
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    #[command(flatten)]
    pub(crate) logs: LogArgs,
}

#[derive(Args, Debug)]
pub(crate) struct FilesArgs {
    /// The directory
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// List directories that have no index.html
    #[arg(long)]
    pub(crate) listing: bool,
    /// Where HTTPS is served [default: localhost:8443, or the next free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<Endpoint>,
    #[command(flatten)]
    pub(crate) serving: ServingArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "\
https trusts this system's certificates and stagedoor's development authority. http is HTTP/2 with prior knowledge.

Exit codes:
  0    the response came whole, whatever its status (but see --fail)
  1    a bad URL, field or file
  3    no connection, no HTTP/2, or a response that is not whole
  130  stopped by a signal")]
pub(crate) struct GetArgs {
    /// http://host[:port]/path or https://...
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// Write the body to a file, which gets its name when it is whole [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// POST this; @FILE sends a file, - sends stdin
    #[arg(short, long, value_name = "DATA", allow_hyphen_values = true)]
    pub(crate) data: Option<String>,
    /// A field of the request, as in 'accept: text/html'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub(crate) fields: Vec<String>,
    /// Show the frames both ways on stderr, without credentials
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Insist on HTTP/2 in cleartext with prior knowledge, which http:// means anyway
    #[arg(long)]
    pub(crate) h2c: bool,
    /// Exit with 1 when the status is 400 or above; the body is written all the same
    #[arg(short, long)]
    pub(crate) fail: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
The load is closed: each stream of each connection sends its next request when the one before is answered. After GOAWAY \
a new connection takes over, with the requests the server did not look at. Latencies are whole exchanges, from the \
request to the last octet. It ends early when nothing moves for 30 seconds, or by Ctrl-C, with the figures so far.

Exit codes:
  0    every request was answered, whatever the status
  1    some were not, or the arguments were wrong
  3    the server could not be reached, or not any more")]
pub(crate) struct BenchArgs {
    /// http://host[:port]/path or https://...
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// Connections at once
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,
    /// Requests at once on each connection
    #[arg(short = 'm', long = "streams", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) streams: u32,
    /// End after so many requests
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub(crate) requests: Option<u64>,
    /// End after so long, as in 500ms, 10s or 2m; up to a day [default: 10s]
    #[arg(short, long, value_name = "TIME", value_parser = load_time)]
    pub(crate) duration: Option<Duration>,
    /// A field of the requests, as in 'accept: text/html'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub(crate) fields: Vec<String>,
    /// Threads that put the load on [default: one a core, at most one a connection]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Insist on HTTP/2 in cleartext with prior knowledge, which http:// means anyway
    #[arg(long)]
    pub(crate) h2c: bool,
    /// The figures as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
README.md in the directory says how to start Prometheus and Grafana with the files.

Exit codes:
  0    every file is there as it should be
  1    files there say something else, and nothing was written (see --force)
  3    the directory could not be read or written")]
pub(crate) struct DashboardsArgs {
    /// The directory; it is made when it is not there
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Write over files that say something else
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// The directory; it is made when it is not there
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Variables of the environment win over the file, as in STAGEDOOR__SERVER__WORKERS=2.

Exit codes:
  0    it can be run; there may be warnings
  1    it cannot: every error is shown")]
pub(crate) struct CheckArgs {
    /// The configuration
    #[arg(value_name = "FILE", default_value = stagedoor::config::FILE)]
    pub(crate) file: PathBuf,
    /// Print what is in force, and where each value came from
    #[arg(long)]
    pub(crate) show: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
  bash   stagedoor completions bash > ~/.local/share/bash-completion/completions/stagedoor
  zsh    stagedoor completions zsh > ~/.zfunc/_stagedoor     (a directory of fpath)
  fish   stagedoor completions fish > ~/.config/fish/completions/stagedoor.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// Write stagedoor.1 and a page for every command into a directory, which is made when it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// How long a load lasts.
fn load_time(text: &str) -> Result<Duration, String> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; a time looks like 500ms, 10s or 2m"))?;
    match duration {
        Duration::ZERO => Err("no load can be put on in no time".to_owned()),
        duration if duration > DAY => Err("a load lasts a day at most".to_owned()),
        duration => Ok(duration),
    }
}

/// An address to serve on: an IP address with a port, or `localhost` for both loopback addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// 127.0.0.1 and ::1, as far as this machine has them.
    Localhost(u16),
    /// One address.
    Address(SocketAddr),
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str =
            "an address looks like 127.0.0.1:8443, [::]:8443 or localhost:8443 (port 0 takes a free one)";
        if let Some((host, port)) = text.rsplit_once(':')
            && host.eq_ignore_ascii_case("localhost")
        {
            return port.parse().map(Self::Localhost).map_err(|_| HELP);
        }
        text.parse().map(Self::Address).map_err(|_| HELP)
    }
}

/// An admin address.
fn admin(text: &str) -> Result<SocketAddr, &'static str> {
    match text.parse()? {
        Endpoint::Localhost(port) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        Endpoint::Address(address) => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(flags: &[&str]) -> Result<ServeArgs, String> {
        let words = ["stagedoor", "serve"].iter().chain(flags);
        match Cli::try_parse_from(words) {
            Ok(cli) => {
                let Command::Serve(args) = cli.command() else { panic!("serve") };
                Ok(args)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn nothing_is_serve() {
        let cli = Cli::try_parse_from(["stagedoor"]).unwrap();
        assert!(matches!(cli.command(), Command::Serve(ServeArgs { public: None, no_observe: false, .. })));
    }

    #[test]
    fn files_need_a_directory() {
        assert!(Cli::try_parse_from(["stagedoor", "files"]).is_err());
        let cli = Cli::try_parse_from(["stagedoor", "files", "/srv", "--listing", "--plain", "localhost:0"]);
        let Command::Files(args) = cli.unwrap().command() else { panic!("files") };
        assert!(args.listing && args.listen.is_none() && args.dir.as_os_str() == "/srv");
        assert_eq!(args.serving.plain, Some(Endpoint::Localhost(0)));
    }

    #[test]
    fn addresses_are_ip_or_localhost() {
        let args =
            serve(&["--public", "localhost:0", "--plain", "[::]:80", "--admin", "localhost:1"]).unwrap();
        assert_eq!(args.public, Some(Endpoint::Localhost(0)));
        assert_eq!(args.serving.plain, Some(Endpoint::Address("[::]:80".parse().unwrap())));
        assert_eq!(args.serving.admin, Some("127.0.0.1:1".parse().unwrap()));
        for address in ["8443", "localhost", "localhost:99999", "example.org:80", ":80", ""] {
            assert!(
                serve(&["--public", address]).unwrap_err().contains("an address looks like"),
                "{address}"
            );
        }
    }

    #[test]
    fn no_observation_has_no_admin() {
        assert!(serve(&["--admin", "0.0.0.0:9901"]).is_ok(), "whether there is a token is seen later");
        assert!(serve(&["--admin", "[::1]:9901"]).is_ok());
        assert!(serve(&["--admin", "[::1]:9901", "--no-observe"]).is_err());
    }

    #[test]
    fn a_load_has_bounds() {
        let bench = |flags: &[&str]| {
            let words = ["stagedoor", "bench", "http://localhost/"].iter().chain(flags);
            match Cli::try_parse_from(words).map(Cli::command) {
                Ok(Command::Bench(args)) => Ok(args),
                Ok(_) => panic!("bench"),
                Err(error) => Err(error.to_string()),
            }
        };
        let args = bench(&[]).unwrap();
        assert_eq!((args.connections, args.streams, args.requests, args.duration), (10, 10, None, None));
        assert_eq!(bench(&["-d", "1500ms"]).unwrap().duration, Some(Duration::from_millis(1500)));
        for flags in [
            ["-c", "0"],
            ["-c", "10001"],
            ["-m", "0"],
            ["-m", "1001"],
            ["-n", "0"],
            ["-n", "-1"],
            ["-d", "0s"],
            ["-d", "25h"],
            ["-d", "soon"],
            ["--threads", "0"],
        ] {
            assert!(bench(&flags).is_err(), "{flags:?}");
        }
        assert!(bench(&["-n", "1", "-d", "1s"]).unwrap_err().contains("cannot be used with"));
    }

    #[test]
    fn a_configuration_is_looked_for_in_the_working_directory() {
        let check = |flags: &[&str]| {
            let cli = Cli::try_parse_from(["stagedoor", "check"].iter().chain(flags)).unwrap();
            let Command::Check(args) = cli.command() else { panic!("check") };
            (args.file, args.show)
        };
        assert_eq!(check(&[]), (PathBuf::from("stagedoor.toml"), false));
        assert_eq!(check(&["a.toml", "--show"]), (PathBuf::from("a.toml"), true));
        let cli = Cli::try_parse_from(["stagedoor", "init"]).unwrap();
        assert!(matches!(cli.command(), Command::Init(InitArgs { dir }) if dir.as_os_str() == "."));
    }

    #[test]
    fn workers_are_counted_from_one() {
        assert_eq!(serve(&["--workers", "1"]).unwrap().serving.workers, Some(1));
        for workers in ["0", "-1", "1025", "two"] {
            assert!(serve(&["--workers", workers]).is_err(), "{workers}");
        }
    }
}

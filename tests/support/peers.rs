//! Other people's programs, where they are installed. A test that needs one that is not says so on stderr,
//! past the capture of the test harness; with `CI=true` it fails.

use std::ffi::OsStr;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use super::written::Written;

/// A program by name, or none, loudly.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let places = std::env::var_os("PATH").unwrap_or_default();
    // Servers of Debian live where not everyone looks.
    let places = std::env::split_paths(&places).chain([PathBuf::from("/usr/sbin")]);
    let found = places.map(|place| place.join(name)).find(|path| path.is_file());
    if found.is_none() {
        absent(name);
    }
    found
}

/// Tells, past the capture of the test harness, that a test goes without something; with `CI=true` it fails.
pub(crate) fn absent(what: &str) {
    assert!(
        std::env::var_os("CI").as_deref() != Some(OsStr::new("true")),
        "{what} is not installed, and CI=true"
    );
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {test} needs {what}, which is not installed\n");
}

/// Runs a program to its end, in the English of its authors.
pub(crate) fn output(program: &PathBuf, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").env_remove("http_proxy").env_remove("https_proxy");
    command.env_remove("ALL_PROXY").stdin(Stdio::null()).output().expect("it runs")
}

/// What a program printed; it must have ended well.
pub(crate) fn stdout(program: &PathBuf, args: &[&str]) -> String {
    let output = output(program, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} {args:?}: {}\n{out}\n{err}", program.display(), output.status);
    out.into_owned()
}

/// A program that runs beside a test, and ends with it at the latest.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    written: Arc<Written>,
    name: String,
}

impl Running {
    /// Starts it; both its outputs are read, a line may be said to its input.
    pub(crate) fn start(program: &Path, args: &[&str]) -> Self {
        let name = format!("{} {}", program.display(), args.first().unwrap_or(&""));
        let mut child = Command::new(program)
            .args(args)
            .env("LC_ALL", "C")
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let written = Arc::new(Written::default());
        written.follow(child.stdout.take().unwrap());
        written.follow(child.stderr.take().unwrap());
        Self { input: child.stdin.take(), child, written, name }
    }

    /// Waits for a line that `fits`, on either output.
    pub(crate) fn line(&self, fits: impl Fn(&str) -> bool) -> String {
        self.try_line(fits).unwrap_or_else(|| panic!("no such line of {}", self.name))
    }

    /// The same; none when it ended without.
    pub(crate) fn try_line(&self, fits: impl Fn(&str) -> bool) -> Option<String> {
        self.written.line(fits)
    }

    /// [`Self::line`] in a future: whoever runs it goes on meanwhile.
    pub(crate) async fn line_said(&self, fits: impl Fn(&str) -> bool + Send + 'static) -> String {
        let written = Arc::clone(&self.written);
        let line = tokio::task::spawn_blocking(move || written.line(fits)).await.expect("it waits");
        line.unwrap_or_else(|| panic!("no such line of {}", self.name))
    }

    /// A line to its input.
    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("it listens");
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its good end; all it said.
    pub(crate) fn finish(mut self) -> String {
        assert!(self.written.ended(), "{} still runs", self.name);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{}: {status}", self.name);
        self.written.text()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said ---\n{}\n---", self.name, self.written.text());
        }
    }
}

/// Starts a server that has to be told its port: `start` with free ones of 127.0.0.1, again with others when it ended
/// without the line that says it listens.
pub(crate) fn listening(
    ports: usize,
    start: impl Fn(&[u16]) -> Running,
    is_up: impl Fn(&str) -> bool,
) -> (Running, Vec<SocketAddr>) {
    for _ in 0..5 {
        let held: Vec<_> =
            (0..ports).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")).collect();
        let free: Vec<_> = held.iter().map(|listener| listener.local_addr().unwrap()).collect();
        drop(held);
        let numbers: Vec<_> = free.iter().map(SocketAddr::port).collect();
        let running = start(&numbers);
        if running.try_line(&is_up).is_some() {
            return (running, free);
        }
        eprintln!("{} did not come up: {}", running.name, running.written.text());
    }
    panic!("no server on any port");
}

/// A certificate for `localhost` that vouches for itself, and its key, as files.
pub(crate) struct Certificate {
    /// The directory goes with it.
    _place: TempDir,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let place = tempfile::tempdir().expect("a directory");
        let (certificate, key) = (place.path().join("certificate.pem"), place.path().join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).expect("a file");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        Self { _place: place, certificate, key }
    }

    /// Their paths, as arguments: certificate, key.
    pub(crate) fn paths(&self) -> (&str, &str) {
        (self.certificate.to_str().expect("text"), self.key.to_str().expect("text"))
    }
}

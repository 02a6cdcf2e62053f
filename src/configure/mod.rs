//! Commands about the configuration that start nothing: `init` writes one, `check` judges one, `schema` says what one may
//! hold.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use stagedoor::config::{self, Defaults, Faults, Loaded};

use crate::banner::Colour;
use crate::cli::{CheckArgs, InitArgs};
use crate::failure::{Exit, Failure};
use crate::resources;
use crate::say::say;

/// What `init` writes.
const BEGINNING: &str = include_str!("init.toml");

/// Writes a configuration to begin with.
pub(crate) fn init(args: &InitArgs) -> Result<(), Failure> {
    let path = args.dir.join(config::FILE);
    let failed = |error: io::Error| {
        let failure = Failure::new(Exit::Input, format!("cannot write {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                failure.with_way_out("it stays as it is; name another directory, or move it away")
            }
            _ => failure,
        }
    };
    fs::create_dir_all(&args.dir).map_err(failed)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    file.write_all(BEGINNING.as_bytes()).map_err(failed)?;
    let path = path.display();
    print(&format!("wrote {path}\ntry   stagedoor check {path}\n      stagedoor serve -c {path}\n"))
}

/// Judges a configuration; with `--show` prints it whole.
pub(crate) fn check(args: &CheckArgs, colour: Colour) -> Result<(), Failure> {
    let loaded = load(&args.file, colour)?;
    if !loaded.warnings.is_empty() {
        say(Faults(loaded.warnings.clone()).render(colour == Colour::On));
    }
    if args.show {
        return print(loaded.show());
    }
    let config = &loaded.config;
    let (listeners, upstreams, routes) = (
        counted(config.listeners.len(), "listener"),
        counted(config.upstreams.len(), "upstream"),
        counted(config.routes.len(), "route"),
    );
    print(&format!("{} is good: {listeners}, {upstreams}, {routes}\n", args.file.display()))
}

/// Prints the schema.
pub(crate) fn schema() -> Result<(), Failure> {
    print(&format!("{:#}\n", config::schema()))
}

/// Reads a configuration with the environment of this process, and says what is wrong with it.
/// # Errors
/// That something is; the words are on stderr then.
pub(crate) fn load(path: &Path, colour: Colour) -> Result<Loaded, Failure> {
    let sessions = resources::raise_and_count_sessions();
    let defaults = Defaults { sessions: u32::try_from(sessions).unwrap_or(u32::MAX) };
    config::load(path, environment(), &defaults).map_err(|faults| {
        say(faults.render(colour == Colour::On));
        let errors = counted(faults.errors(), "error");
        Failure::new(Exit::Input, format!("{} has {errors}", path.display()))
    })
}

/// Variables that are text: others are none of ours.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// To stdout; whoever has stopped reading wants no more.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Input, format!("cannot write stdout: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_good_and_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let args = InitArgs { dir: dir.path().join("new") };
        init(&args).unwrap();
        let path = args.dir.join(config::FILE);
        let loaded = config::load(&path, std::iter::empty(), &Defaults::default())
            .unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(loaded.config.listeners.len(), 2);
        assert!(loaded.config.listeners[0].tls.as_ref().unwrap().certificates.is_empty());
        assert!(matches!(loaded.config.routes[0].action, config::Action::Demo));
        let codes: Vec<_> = loaded.warnings.iter().map(|warning| warning.code).collect();
        assert_eq!(codes, [config::Code::DevelopmentCertificate]);

        fs::write(&path, "mine").unwrap();
        let failure = init(&args).unwrap_err();
        assert_eq!(failure.exit, Exit::Input);
        assert!(failure.to_string().contains("it stays as it is"), "{failure}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn every_example_of_init_is_good_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(config::FILE);
        // Lines that are a key or a table behind "# "; what is left of files and certificates is not there to be found.
        let uncommented: String = BEGINNING
            .lines()
            .map(|line| match line.strip_prefix("# ").map(|rest| rest.strip_prefix("# ").unwrap_or(rest)) {
                Some(rest)
                    if rest.starts_with('[')
                        || rest.split_once(" = ").is_some_and(|(key, _)| {
                            key.chars().all(|sign| sign.is_ascii_lowercase() || sign == '_')
                        }) =>
                {
                    format!("{rest}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        fs::write(&path, uncommented).unwrap();
        let faults = config::load(&path, std::iter::empty(), &Defaults::default()).unwrap_err();
        let codes: std::collections::BTreeSet<_> = faults.0.iter().map(|fault| fault.code).collect();
        // The example of dns stands beside that of endpoints, that of rewrite does not stand alone.
        let expected = [config::Code::Conflict, config::Code::MissingFile];
        assert!(codes.iter().all(|code| expected.contains(code)), "{faults}");
        assert!(faults.0.iter().any(|fault| fault.message.contains("endpoints and dns")), "{faults}");
    }

    #[test]
    fn a_configuration_with_errors_ends_with_one() {
        let dir = tempfile::tempdir().unwrap();
        let args = CheckArgs { file: dir.path().join("none.toml"), show: false };
        let failure = check(&args, Colour::Off).unwrap_err();
        assert_eq!(failure.exit, Exit::Input);
        assert!(failure.to_string().ends_with("has 1 error"), "{failure}");
    }
}

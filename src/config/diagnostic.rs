//! What is said about a configuration: a code from a closed set, a sentence, a place, a way out. `render.rs` draws it.

use std::fmt;
use std::path::PathBuf;

use super::render;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing starts with it.
    Error,
    /// It works, and likely not as meant.
    Warning,
    /// Good to know.
    Notice,
}

impl Severity {
    /// The word it is shown with.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal,)*) => {
        /// What is wrong, as a closed set; shown as `config::name`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $code,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// Its name without `config::`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }
        }
    };
}

codes! {
    /// Not TOML.
    Syntax = "syntax",
    /// The file cannot be read.
    Unreadable = "unreadable",
    /// A variable of the environment names a place that is not there.
    BadEnvironment = "bad_environment",
    /// A key that means nothing.
    UnknownKey = "unknown_key",
    /// A number where a text is wanted, and the like.
    WrongType = "wrong_type",
    /// A word that is none of those allowed.
    UnknownValue = "unknown_value",
    /// A key that must be there.
    MissingKey = "missing_key",
    /// Keys that exclude each other.
    Conflict = "conflict",
    /// A number outside its range.
    OutOfRange = "out_of_range",
    /// Not a duration.
    BadDuration = "bad_duration",
    /// Not a number of octets.
    BadSize = "bad_size",
    /// Not a number of octets a second.
    BadRate = "bad_rate",
    /// Not a name for a listener, an upstream or a route.
    BadName = "bad_name",
    /// Not an address to bind or to ask.
    BadAddress = "bad_address",
    /// Not a block of addresses.
    BadCidr = "bad_cidr",
    /// Not the URL of an endpoint.
    BadUrl = "bad_url",
    /// Not a host, or a wildcard where none may stand.
    BadHost = "bad_host",
    /// Not a pattern of paths.
    BadPattern = "bad_pattern",
    /// Not a path.
    BadPath = "bad_path",
    /// Not a name or a value of a field, or one that is not ours to set.
    BadHeader = "bad_header",
    /// Not a method.
    BadMethod = "bad_method",
    /// Not a status that may stand here.
    BadStatus = "bad_status",
    /// Not a media type.
    BadMediaType = "bad_media_type",
    /// Not a filter of logs.
    BadFilter = "bad_filter",
    /// Not a key to hash or to count by.
    BadKey = "bad_key",
    /// Two things with one name.
    DuplicateName = "duplicate_name",
    /// Two listeners at one address.
    DuplicateBind = "duplicate_bind",
    /// An upstream that does not exist.
    UnknownUpstream = "unknown_upstream",
    /// A listener that does not exist.
    UnknownListener = "unknown_listener",
    /// A parameter that the pattern does not have.
    UnknownParameter = "unknown_parameter",
    /// A route that does nothing.
    NoAction = "no_action",
    /// A route that does several things.
    SeveralActions = "several_actions",
    /// Nothing to listen on.
    NoListener = "no_listener",
    /// Patterns that cannot be told apart.
    PatternConflict = "pattern_conflict",
    /// A file or directory that is not there, or not ours to read.
    MissingFile = "missing_file",
    /// A file that does not hold what it should.
    BadFile = "bad_file",
    /// A private key that is not the certificate's.
    KeyMismatch = "key_mismatch",
    /// The admin address can be reached from elsewhere and asks for no token.
    ExposedAdmin = "exposed_admin",
    /// Clients are to show certificates, and nobody says which.
    NoClientCa = "no_client_ca",
    /// A protocol that cannot be spoken to such an endpoint.
    ProtocolMismatch = "protocol_mismatch",
    /// Windows that do not fit.
    BadWindow = "bad_window",
    /// A certificate that has expired.
    CertificateExpired = "certificate_expired",
    /// TLS without a certificate of one's own.
    DevelopmentCertificate = "development_certificate",
    /// A route that is never taken.
    UnreachableRoute = "unreachable_route",
    /// An upstream that no route names.
    UnusedUpstream = "unused_upstream",
    /// Nothing says where requests go.
    NoRoute = "no_route",
    /// PROXY headers from nobody.
    NoTrustedProxies = "no_trusted_proxies",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config::{}", self.name())
    }
}

/// Where a text stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
}

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub source: Source,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Characters that are meant, within the line.
    pub length: usize,
    /// The whole line, without its end.
    pub text: String,
}

/// One thing that is said about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub code: Code,
    /// In a sentence.
    pub message: String,
    /// Where; `None` where no place is at fault.
    pub place: Option<Place>,
    /// What is said right at the place.
    pub label: String,
    /// A way out.
    pub help: Option<String>,
}

impl Diagnostic {
    /// The text, as a terminal shows it.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut text = String::new();
        render::draw(&mut text, self, colour);
        text
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Why there is no configuration: all errors of one run, and what was said beside them.
///
/// ```
/// use stagedoor::config::{Defaults, Severity, parse};
///
/// let faults = parse("test", "[server]\nworkers = \"two\"\n".to_owned(), &Defaults::default()).unwrap_err();
/// assert!(faults.errors() > 0 && faults.0.iter().any(|one| one.severity == Severity::Error));
/// eprint!("{}", faults.render(false));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Diagnostic>);

impl Faults {
    /// The text, as a terminal shows it.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        render::all(&self.0, colour)
    }

    /// How many errors, without warnings and notices.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|one| one.severity == Severity::Error).count()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert_eq!(Code::UnknownUpstream.to_string(), "config::unknown_upstream");
    }
}

//! How the command fails: an exit code, one line that says what is wrong, and where there is one a way out.

use std::fmt;
use std::process::ExitCode;

/// The exit codes of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The user's input was wrong.
    Input = 1,
    /// The command line was wrong.
    Usage = 2,
    /// An address could not be bound or reached, or who was reached did not answer whole.
    Reach = 3,
    /// Our bug.
    Bug = 70,
    /// A signal, as shells count INT.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the command ends early.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    way_out: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), way_out: None }
    }

    /// What is wrong, without a way out.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn with_way_out(mut self, way_out: impl Into<String>) -> Self {
        self.way_out = Some(way_out.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stagedoor: {}", self.message)?;
        match &self.way_out {
            Some(way_out) => write!(f, "\n  {way_out}"),
            None => Ok(()),
        }
    }
}

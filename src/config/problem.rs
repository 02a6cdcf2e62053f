//! What a word of the file says is wrong with it, on its way through serde: an error of serde is a text, so code,
//! label and help travel inside of one and are taken out again where it arrives.

use std::fmt;

use super::diagnostic::Code;

const MARK: char = '\u{1f}';

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: Code,
    /// After the name of the key: "is not a duration".
    pub(super) message: String,
    pub(super) label: String,
    pub(super) help: Option<String>,
}

impl Problem {
    pub(super) fn new(code: Code, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self { code, message: message.into(), label: label.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What [`Display`](fmt::Display) wrote.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (code, words) = text.strip_prefix(MARK)?.split_once(MARK)?;
        let code = Code::ALL.iter().copied().find(|one| one.name() == code)?;
        let (message, label, help): (String, String, Option<String>) = serde_json::from_str(words).ok()?;
        Some(Self { code, message, label, help })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = serde_json::json!([self.message, self.label, self.help]);
        write!(f, "{MARK}{}{MARK}{words}", self.code.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_arrives_as_it_was_sent() {
        let sent = Problem::new(Code::BadUrl, "is not \u{1f} a URL", "why\n").help("\"so\"");
        assert_eq!(Problem::read(&sent.to_string()), Some(sent));
        assert_eq!(Problem::read("invalid type: integer"), None);
        assert_eq!(Problem::read("\u{1f}no_such_code\u{1f}[\"\",\"\",null]"), None);
    }
}

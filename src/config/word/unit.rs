//! Durations, sizes and rates: numbers with a unit.

use std::fmt;
use std::time::Duration;

use schemars::{Schema, json_schema};

use super::super::diagnostic::Code;
use super::super::problem::Problem;
use super::Word;

/// A duration: `500ms`, `10s`, `2m`, `1h 30m`; up to ten years. `0` needs no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Time(pub(in super::super) Duration);

/// Octets: `20MiB`, `32KiB`, `10MB`, `512`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Size(pub(in super::super) u64);

/// Octets a second: `0`, `500`, `10k`, `2M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct SizePerSecond(pub(in super::super) u64);

super::words!(Time, Size, SizePerSecond);

impl Time {
    pub(in super::super) const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

/// Far enough for every deadline, near enough for every clock.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
const TIME_HELP: &str = "a duration is a number with a unit: 500ms, 10s, 2m, 1h";
const SIZE_HELP: &str = "a size is a number of octets, or one with a unit: 512, 32KiB, 20MiB, 10MB";
const RATE_HELP: &str =
    "a rate is octets a second, with k, M or G for thousands, millions and thousands of them: 0, 500, 10k";

impl Word for Time {
    const NAME: &'static str = "Duration";
    const WHAT: &'static str = "a duration such as \"10s\"";
    const NUMBERS: bool = true;

    fn read(text: &str) -> Result<Self, Problem> {
        let bad = |label: String| Problem::new(Code::BadDuration, "is not a duration", label).help(TIME_HELP);
        if text.trim() == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if text.trim().parse::<f64>().is_ok_and(|number| number >= 0.0) {
            return Err(bad("a unit is missing".to_owned()));
        }
        let duration = humantime::parse_duration(text).map_err(|error| match error {
            humantime::DurationError::UnknownUnit { unit, .. } => bad(format!("{unit:?} is not a unit")),
            humantime::DurationError::Empty => bad("it is empty".to_owned()),
            _ => bad("this cannot be read".to_owned()),
        })?;
        if duration > LONGEST {
            return Err(Problem::new(Code::OutOfRange, "is too long", "ten years at most"));
        }
        Ok(Self(duration))
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "maximum": 0, "minimum": 0, "description": "A duration: a number with a unit, or 0.", "pattern": "^\\s*(0|[0-9.]+\\s*[a-zµ]+(\\s*[0-9.]+\\s*[a-zµ]+)*)\\s*$", "examples": ["500ms", "10s", "2m"] })
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Duration::ZERO { f.write_str("0") } else { humantime::format_duration(self.0).fmt(f) }
    }
}

/// A number and what follows it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

fn read(text: &str, units: &[(&str, u64)], bad: impl Fn(String) -> Problem) -> Result<u64, Problem> {
    let (number, unit) = split(text);
    if number.is_empty() {
        return Err(bad("it begins with no number".to_owned()));
    }
    let known = units.iter().find(|(name, _)| *name == unit);
    let (_, factor) = known.ok_or_else(|| bad(format!("{unit:?} is not a unit")))?;
    let octets = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    // TOML and JSON have no numbers above this.
    octets.filter(|octets| i64::try_from(*octets).is_ok()).ok_or_else(|| bad("it is too large".to_owned()))
}

impl Word for Size {
    const NAME: &'static str = "Size";
    const WHAT: &'static str = "a size such as \"20MiB\"";
    const NUMBERS: bool = true;

    fn read(text: &str) -> Result<Self, Problem> {
        let bad = |label: String| Problem::new(Code::BadSize, "is not a size", label).help(SIZE_HELP);
        let units = [
            ("", 1),
            ("B", 1),
            ("kB", 1000),
            ("KB", 1000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("TiB", 1 << 40),
        ];
        read(text, &units, bad).map(Self)
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "description": "Octets.", "minimum": 0, "pattern": "^\\s*[0-9]+\\s*([kKMG]?B|[KMGT]iB)?\\s*$", "examples": ["20MiB", "32KiB"] })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let whole = |shift: u32| self.0 != 0 && self.0.trailing_zeros() >= shift;
        match units.iter().find(|(_, shift)| whole(*shift)) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Word for SizePerSecond {
    const NAME: &'static str = "Rate";
    const WHAT: &'static str = "a rate such as \"10k\"";
    const NUMBERS: bool = true;

    fn read(text: &str) -> Result<Self, Problem> {
        let bad = |label: String| Problem::new(Code::BadRate, "is not a rate", label).help(RATE_HELP);
        read(text, &[("", 1), ("k", 1000), ("M", 1_000_000), ("G", 1_000_000_000)], bad).map(Self)
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "description": "Octets a second.", "minimum": 0, "pattern": "^\\s*[0-9]+\\s*[kMG]?\\s*$", "examples": ["0", "10k"] })
    }
}

impl fmt::Display for SizePerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1000)];
        match units.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, milliseconds) in
            [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1h 30m", 5_400_000), ("0", 0), ("0s", 0)]
        {
            let time = Time::read(text).unwrap();
            assert_eq!(time.0, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(Time::read(&time.to_string()), Ok(time), "{text}");
        }
        for text in ["", "10", "1.5", "ten seconds", "10 parsecs", "-1s", "10s x", "s"] {
            assert_eq!(Time::read(text).unwrap_err().code, Code::BadDuration, "{text}");
        }
        assert_eq!(Time::read("11years").unwrap_err().code, Code::OutOfRange);
    }

    #[test]
    fn sizes_are_octets() {
        for (text, octets) in
            [("0", 0), ("512", 512), ("32KiB", 32 << 10), ("20 MiB", 20 << 20), ("10MB", 10_000_000)]
        {
            let size = Size::read(text).unwrap();
            assert_eq!(size.0, octets, "{text}");
            assert_eq!(Size::read(&size.to_string()), Ok(size), "{text}");
        }
        assert_eq!(Size::read("9223372036854775807").map(|size| size.0), Ok(i64::MAX as u64));
        for text in
            ["", "MiB", "-1", "1.5MiB", "10Mib", "9223372036854775808", "99999999999999999999", "9999999TiB"]
        {
            assert_eq!(Size::read(text).unwrap_err().code, Code::BadSize, "{text}");
        }
    }

    #[test]
    fn rates_are_decimal() {
        for (text, octets) in [("0", 0), ("10k", 10_000), ("1500", 1500), ("2M", 2_000_000)] {
            let rate = SizePerSecond::read(text).unwrap();
            assert_eq!(rate.0, octets, "{text}");
            assert_eq!(SizePerSecond::read(&rate.to_string()), Ok(rate), "{text}");
        }
        for text in ["", "k", "10KiB", "fast"] {
            assert_eq!(SizePerSecond::read(text).unwrap_err().code, Code::BadRate, "{text}");
        }
    }
}

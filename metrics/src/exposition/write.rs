//! What both text formats have in common: labels, escapes, numbers.
//! Knows no families.

use std::io::Write as _;

use crate::catalogue::LabelSpec;

/// Integers up to here are exact as floats, and written without a point.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Writes text as it is.
pub(super) fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Writes formatted text; writing to memory does not fail.
pub(super) fn format(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Writes text with backslash, line feed and, where `quotes` says so, double quote escaped.
pub(super) fn escaped(out: &mut Vec<u8>, text: &str, quotes: bool) {
    for octet in text.bytes() {
        match octet {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' if quotes => out.extend_from_slice(b"\\\""),
            _ => out.push(octet),
        }
    }
}

/// Writes `{a="b",le="c"}`, or nothing if there is no label.
pub(super) fn labels(out: &mut Vec<u8>, names: &[LabelSpec], values: &[&str], bound: Option<&str>) {
    let mut separator = b'{';
    for (name, value) in names.iter().zip(values) {
        out.push(separator);
        raw(out, name.name);
        raw(out, "=\"");
        escaped(out, value, true);
        out.push(b'"');
        separator = b',';
    }
    if let Some(bound) = bound {
        out.push(separator);
        raw(out, "le=\"");
        raw(out, bound);
        out.push(b'"');
        separator = b',';
    }
    if separator == b',' {
        out.push(b'}');
    }
}

/// Writes a sample without the end of its line: the parts of its name, its labels as [`labels`] takes them, its value.
pub(super) fn sample(
    out: &mut Vec<u8>,
    (name, suffix): (&str, &str),
    (names, values, bound): (&[LabelSpec], &[&str], Option<&str>),
    value: f64,
) {
    raw(out, name);
    raw(out, suffix);
    labels(out, names, values, bound);
    out.push(b' ');
    number(out, value);
}

/// Writes a sample value: an integer where it is one, else the shortest decimal that reads back the same.
pub(super) fn number(out: &mut Vec<u8>, value: f64) {
    if value.fract() == 0.0 && value.abs() <= EXACT {
        format(out, format_args!("{}", value as i64));
    } else if value.is_finite() {
        format(out, format_args!("{value}"));
    } else {
        raw(out, not_finite(value));
    }
}

fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// A float in the form OpenMetrics calls canonical: always with a point or an exponent, and an exponent
/// below 1e-4 and from 1e6 on.
pub(super) fn canonical(value: f64) -> String {
    if !value.is_finite() {
        return not_finite(value).to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_float_is_written_as_openmetrics_lists_it() {
        for (value, wanted) in [
            (0.0, "0.0"),
            (1e-10, "1e-10"),
            (0.00001, "1e-05"),
            (0.0001, "0.0001"),
            (0.0025, "0.0025"),
            (0.999, "0.999"),
            (1.0, "1.0"),
            (2.5, "2.5"),
            (86_400.0, "86400.0"),
            (262_144.0, "262144.0"),
            (1e6, "1e+06"),
            (1_048_576.0, "1.048576e+06"),
            (268_435_456.0, "2.68435456e+08"),
            (1e10, "1e+10"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(canonical(value), wanted);
        }
    }

    #[test]
    fn a_number_reads_back_as_it_was() {
        let written = |value| {
            let mut out = Vec::new();
            number(&mut out, value);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(0.0), "0");
        assert_eq!(written(-65_535.0), "-65535");
        assert_eq!(written(1.5), "1.5");
        assert_eq!(written(0.1 + 0.2), "0.30000000000000004");
        assert_eq!(written(1e300).parse(), Ok(1e300));
        assert_eq!(written(f64::INFINITY), "+Inf");
        assert_eq!(written(f64::NEG_INFINITY), "-Inf");
        assert_eq!(written(f64::NAN), "NaN");
    }
}

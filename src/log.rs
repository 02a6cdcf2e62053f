//! Logs: `tracing` events to stderr, filtered; and panics, which are events too.

use std::io;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;

use crate::failure::{Exit, Failure};
use crate::say::say;

/// Starts logging what passes `filter`.
///
/// # Errors
/// A filter that is none, with the directive that is wrong.
pub(crate) fn start(filter: &str, colour: bool) -> Result<(), Failure> {
    let filter = parse(filter)?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour)
        // A stderr that is gone would be told on stderr, and that panics.
        .log_internal_errors(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| Failure::new(Exit::Bug, format!("logging was started twice: {error}")))
}

/// Logs panics where they happen: handlers are contained, so this line is all that is seen of most.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let payload = info.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("(no message)");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!(location, "panic: {message}");
        } else {
            say(format_args!("stagedoor: panic at {location}: {message}"));
        }
    }));
}

fn parse(filter: &str) -> Result<EnvFilter, Failure> {
    for (place, directive) in directives(filter) {
        if let Err(error) = EnvFilter::builder().parse(directive) {
            return Err(bad(filter, place, directive, &error.to_string()));
        }
    }
    EnvFilter::builder().parse(filter).map_err(|error| bad(filter, 0, filter, &error.to_string()))
}

fn bad(filter: &str, place: usize, directive: &str, reason: &str) -> Failure {
    let column = filter[..place].chars().count() + 1;
    Failure::new(
        Exit::Usage,
        format!("--log {filter}: column {column}: '{directive}' is no filter ({reason})"),
    )
    .with_way_out(
        "a filter is a level (error, warn, info, debug, trace, off) or target=level, with commas between",
    )
}

/// The directives of a filter with their places: split at commas outside of `[...]` and `{...}`.
fn directives(filter: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut depth = 0_u32;
    let pieces = filter.split(move |sign| {
        match sign {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        sign == ',' && depth == 0
    });
    let mut place = 0;
    pieces.map(move |piece| {
        let start = place;
        place += piece.len() + 1;
        (start, piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_every_kind_pass() {
        for filter in
            ["info", "off", "warn,stagedoor_actors=debug", "[session{id=\"0-1\"}]=trace,info", "DEBUG"]
        {
            assert!(parse(filter).is_ok(), "{filter}");
        }
    }

    #[test]
    fn the_wrong_directive_is_named_with_its_column() {
        let failure = parse("info,hyper=loud,debug").unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        let shown = failure.to_string();
        assert!(shown.contains("column 6: 'hyper=loud'"), "{shown}");
    }

    #[test]
    fn commas_inside_of_braces_do_not_split() {
        let found: Vec<_> = directives("a[{b,c}]=info,d").collect();
        assert_eq!(found, [(0, "a[{b,c}]=info"), (14, "d")]);
    }
}

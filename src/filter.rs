//! What is logged: a filter that is read with care, and changed while the process runs. Installs no subscriber.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload;

/// A text that is no filter.
///
/// ```
/// use stagedoor::filter;
///
/// let error = filter::parse("info,stagedoor=loud").unwrap_err();
/// assert_eq!((error.column, &*error.directive), (6, "stagedoor=loud"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: '{directive}' is no filter ({reason})")]
pub struct BadFilter {
    /// Where in the text the directive begins, in characters, from 1.
    pub column: usize,
    /// The directive that is wrong.
    pub directive: String,
    /// Why.
    pub reason: String,
}

impl BadFilter {
    /// What a filter looks like, for whoever wrote one that is none.
    pub const WAY_OUT: &str =
        "a filter is a level (error, warn, info, debug, trace, off) or target=level, with commas between";
}

/// Reads a filter: directives with commas between, as `RUST_LOG` has them.
///
/// ```
/// let filter = stagedoor::filter::parse("info,stagedoor=debug").unwrap();
/// assert_eq!(filter.to_string(), "stagedoor=debug,info");
/// ```
/// # Errors
/// The first directive that is wrong.
pub fn parse(filter: &str) -> Result<EnvFilter, BadFilter> {
    let bad = |place: usize, directive: &str, reason: String| BadFilter {
        column: filter[..place].chars().count() + 1,
        directive: directive.to_owned(),
        reason,
    };
    for (place, directive) in directives(filter) {
        if let Err(error) = EnvFilter::builder().parse(directive) {
            return Err(bad(place, directive, error.to_string()));
        }
    }
    EnvFilter::builder().parse(filter).map_err(|error| bad(0, filter, error.to_string()))
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

type Reload = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

/// The filter of a subscriber that runs; a clone is the same filter.
#[derive(Clone)]
pub struct LogHandle(Arc<Inner>);

struct Inner {
    /// What is in force. Locked while it is changed, so that text and filter agree.
    text: Mutex<String>,
    reload: Box<Reload>,
}

impl LogHandle {
    /// Reads `filter` and makes what a layer is filtered by: `layer.with_filter(filter)`.
    /// # Errors
    /// See [`parse`].
    pub fn of<S: 'static>(filter: &str) -> Result<(Self, reload::Layer<EnvFilter, S>), BadFilter> {
        let (layer, handle) = reload::Layer::new(parse(filter)?);
        let reload = Box::new(move |filter| handle.reload(filter));
        Ok((Self(Arc::new(Inner { text: Mutex::new(filter.to_owned()), reload })), layer))
    }

    /// The filter in force.
    #[must_use]
    pub fn filter(&self) -> String {
        self.0.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes another filter; it holds for everything logged from now on. Takes a look at every place that logs: not
    /// for every request.
    /// # Errors
    /// See [`parse`]; the filter there was stays in force.
    pub fn set(&self, filter: &str) -> Result<(), BadFilter> {
        let filter = filter.trim();
        let parsed = parse(filter)?;
        let mut text = self.0.text.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = (self.0.reload)(parsed) {
            // Its subscriber is gone, or was poisoned by a panic of its own.
            return Err(BadFilter { column: 1, directive: filter.to_owned(), reason: error.to_string() });
        }
        filter.clone_into(&mut text);
        Ok(())
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogHandle").field(&self.filter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing_subscriber::Registry;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::prelude::*;

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
        let bad = parse("info,hyper=loud,debug").unwrap_err();
        assert_eq!((bad.column, &*bad.directive), (6, "hyper=loud"));
        assert!(bad.to_string().starts_with("column 6: 'hyper=loud' is no filter ("), "{bad}");
    }

    #[test]
    fn commas_inside_of_braces_do_not_split() {
        let found: Vec<_> = directives("a[{b,c}]=info,d").collect();
        assert_eq!(found, [(0, "a[{b,c}]=info"), (14, "d")]);
    }

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Page {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn another_filter_holds_from_its_setting_on() {
        let page = Page::default();
        let (handle, filter) = LogHandle::of::<Registry>("warn").unwrap();
        let layer = tracing_subscriber::fmt::layer().with_writer(page.clone()).without_time();
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(layer.with_filter(filter)),
            || {
                let say = || tracing::info!("heard");
                say();
                handle.set(" info\n").unwrap();
                assert_eq!(handle.filter(), "info");
                say();
                assert_eq!(handle.set("info,a=loud").unwrap_err().column, 6);
                assert_eq!(handle.filter(), "info");
                say();
                handle.set("off").unwrap();
                say();
            },
        );
        let page = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert_eq!(page.matches("heard").count(), 2, "{page}");
    }
}

//! The merged document as a tree of values with places: paths into it, what is taken out of it, how things in it are
//! called. Knows no keys of ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::source::Span;

/// One step from a table or list into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the root to a value.
pub(super) type Path = Vec<Step>;

/// A path as one text: `listener[0].limits.sessions`.
pub(super) fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                let dot = if text.is_empty() { "" } else { "." };
                let _ = write!(text, "{dot}{key}");
            }
            Step::Index(index) => {
                let _ = write!(text, "[{index}]");
            }
        }
    }
    text
}

/// The first entry whose key or value has exactly this span. An error of serde has one of both.
pub(super) fn find(table: &DeTable<'_>, span: &Span) -> Option<Path> {
    let mut path = Path::new();
    find_in_table(table, span, &mut path).then_some(path)
}

fn find_in_table(table: &DeTable<'_>, span: &Span, path: &mut Path) -> bool {
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        if key.span() == *span || find_in_value(value, span, path) {
            return true;
        }
        path.pop();
    }
    false
}

fn find_in_value(value: &Spanned<DeValue<'_>>, span: &Span, path: &mut Path) -> bool {
    match value.get_ref() {
        // What is inside first: a table written as `a.b = 1` may have the place of its only entry.
        DeValue::Table(table) if find_in_table(table, span, path) => return true,
        DeValue::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                path.push(Step::Index(index));
                if find_in_value(item, span, path) {
                    return true;
                }
                path.pop();
            }
        }
        _ => {}
    }
    value.span() == *span
}

/// The value at a path.
pub(super) fn get<'t, 'i>(table: &'t DeTable<'i>, path: &[Step]) -> Option<&'t Spanned<DeValue<'i>>> {
    let (Step::Key(first), rest) = path.split_first()? else { return None };
    let mut value = table.get(first.as_str())?;
    for step in rest {
        value = match (step, value.get_ref()) {
            (Step::Key(key), DeValue::Table(table)) => table.get(key.as_str())?,
            (Step::Index(index), DeValue::Array(list)) => list.get(*index)?,
            _ => return None,
        };
    }
    Some(value)
}

/// The value at a path, to be changed.
pub(super) fn get_mut<'t, 'i>(
    table: &'t mut DeTable<'i>,
    path: &[Step],
) -> Option<&'t mut Spanned<DeValue<'i>>> {
    let (Step::Key(first), rest) = path.split_first()? else { return None };
    let mut value = table.get_mut(first.as_str())?;
    for step in rest {
        value = match (step, value.get_mut()) {
            (Step::Key(key), DeValue::Table(table)) => table.get_mut(key.as_str())?,
            (Step::Index(index), DeValue::Array(list)) => list.get_mut(*index)?,
            _ => return None,
        };
    }
    Some(value)
}

/// Takes an entry out. Says whether there was one.
pub(super) fn remove(table: &mut DeTable<'_>, path: &[Step]) -> bool {
    let Some((last, above)) = path.split_last() else { return false };
    if above.is_empty() {
        return match last {
            Step::Key(key) => table.remove(key.as_str()).is_some(),
            Step::Index(_) => false,
        };
    }
    let Some(parent) = get_mut(table, above) else { return false };
    match (last, parent.get_mut()) {
        (Step::Key(key), DeValue::Table(table)) => table.remove(key.as_str()).is_some(),
        (Step::Index(index), DeValue::Array(list)) if *index < list.len() => {
            let items = std::mem::replace(list, DeArray::new()).into_iter().enumerate();
            *list = items.filter(|(at, _)| at != index).map(|(_, item)| item).collect();
            true
        }
        _ => false,
    }
}

/// A value with every place moved on by `by` octets.
pub(super) fn moved(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let on = |span: Span| span.start + by..span.end + by;
    let span = on(value.span());
    let value = match value.into_inner() {
        DeValue::Array(list) => DeValue::Array(list.into_iter().map(|item| moved(item, by)).collect()),
        DeValue::Table(table) => {
            let entry = |(key, value): (Spanned<_>, _)| {
                (Spanned::new(on(key.span()), key.into_inner()), moved(value, by))
            };
            DeValue::Table(table.into_iter().map(entry).collect())
        }
        value => value,
    };
    Spanned::new(span, value)
}

/// The place of every value, by its path.
pub(super) fn places(table: &DeTable<'_>) -> BTreeMap<Path, Span> {
    fn one(value: &Spanned<DeValue<'_>>, path: &mut Path, places: &mut BTreeMap<Path, Span>) {
        places.insert(path.clone(), value.span());
        match value.get_ref() {
            DeValue::Table(table) => all(table, path, places),
            DeValue::Array(list) => {
                for (index, item) in list.iter().enumerate() {
                    path.push(Step::Index(index));
                    one(item, path, places);
                    path.pop();
                }
            }
            _ => {}
        }
    }
    fn all(table: &DeTable<'_>, path: &mut Path, places: &mut BTreeMap<Path, Span>) {
        for (key, value) in table {
            path.push(Step::Key(key.get_ref().to_string()));
            one(value, path, places);
            path.pop();
        }
    }
    let mut places = BTreeMap::new();
    all(table, &mut Path::new(), &mut places);
    places
}

/// How a place is called: `listener "public": timeouts.idle`. Tables of a list go by their names.
pub(super) fn called(root: &DeTable<'_>, path: &[Step]) -> String {
    let mut whose = String::new();
    let mut rest = path;
    if let [Step::Key(kind), Step::Index(index), below @ ..] = path {
        let head = path.get(..2).unwrap_or_default();
        let name = get(root, head).and_then(|one| match one.get_ref() {
            DeValue::Table(table) => table.get("name")?.get_ref().as_str(),
            _ => None,
        });
        match name {
            Some(name) => {
                let _ = write!(whose, "{kind} {name:?}");
            }
            None => {
                let _ = write!(whose, "{kind} {}", index + 1);
            }
        }
        rest = below;
    }
    match (whose.is_empty(), rest.is_empty()) {
        (true, _) => written(rest),
        (false, true) => whose,
        (false, false) => format!("{whose}: {}", written(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
a = 1
[b]
c.d = [10, { e = 'x' }, 30]
[[listener]]
name = 'public'
limits = { sessions = 'many' }
[[listener]]
bind = 5
";

    fn path(text: &str) -> Path {
        text.split('.')
            .map(|step| step.parse().map_or_else(|_| Step::Key(step.to_owned()), Step::Index))
            .collect()
    }

    #[test]
    fn a_span_leads_to_its_entry() {
        let root = DeTable::parse(TEXT).unwrap().into_inner();
        for (word, way) in [
            ("1", "a"),
            ("10", "b.c.d.0"),
            ("'x'", "b.c.d.1.e"),
            ("30", "b.c.d.2"),
            ("'many'", "listener.0.limits.sessions"),
        ] {
            let start = TEXT.find(word).unwrap();
            let found = find(&root, &(start..start + word.len())).unwrap();
            assert_eq!(found, path(way), "{word}");
            assert!(get(&root, &found).is_some());
        }
        let key = TEXT.find("bind").unwrap();
        assert_eq!(find(&root, &(key..key + 4)).unwrap(), path("listener.1.bind"));
        assert_eq!(find(&root, &(9999..10_000)), None);
    }

    #[test]
    fn what_is_taken_out_is_gone_and_nothing_else() {
        let mut root = DeTable::parse(TEXT).unwrap().into_inner();
        assert!(remove(&mut root, &path("b.c.d.1")));
        assert!(remove(&mut root, &path("listener.0.limits.sessions")));
        assert!(remove(&mut root, &path("a")));
        for way in ["a", "b.c.d.7", "b.c.d.x", "nothing.at.all", "0"] {
            assert!(!remove(&mut root, &path(way)), "{way}");
        }
        assert!(!remove(&mut root, &[]));
        let places = places(&root);
        assert!(places.contains_key(&path("b.c.d.1")) && !places.contains_key(&path("b.c.d.2")));
        assert_eq!(&TEXT[places[&path("b.c.d.1")].clone()], "30");
    }

    #[test]
    fn things_go_by_their_names() {
        let root = DeTable::parse(TEXT).unwrap().into_inner();
        assert_eq!(
            called(&root, &path("listener.0.limits.sessions")),
            "listener \"public\": limits.sessions"
        );
        assert_eq!(called(&root, &path("listener.1.bind")), "listener 2: bind");
        assert_eq!(called(&root, &path("listener.1")), "listener 2");
        assert_eq!(called(&root, &path("b.c.d.1.e")), "b.c.d[1].e");
    }
}

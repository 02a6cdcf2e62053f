//! "Did you mean": the nearest of the names there are. Edit distance with neighbours swapped (Damerau, optimal string
//! alignment), letters of either case the same.

/// Names a list shows at most.
const SHOWN: usize = 16;

/// What to say about a word that is none of `names`, `what` in the plural: `known upstreams: api, auth`.
pub(super) fn help<'a>(word: &str, what: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    if names.is_empty() {
        return format!("there are no {what}");
    }
    let mut text = match nearest(word, &names) {
        Some(name) => format!("did you mean {name:?}? "),
        None => String::new(),
    };
    text.push_str("known ");
    text.push_str(what);
    text.push_str(": ");
    text.push_str(&names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", "));
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

/// The nearest, if it is near: a third of its letters may be wrong.
fn nearest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let near = |name: &&str| {
        let far = distance(word, name);
        (far <= (name.chars().count() / 3).max(1)).then_some(far)
    };
    names
        .iter()
        .filter_map(|name| Some((near(name)?, *name)))
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

fn distance(a: &str, b: &str) -> usize {
    // Nobody means a name by a text this long.
    const LONGEST: usize = 128;
    let letters =
        |text: &str| -> Vec<char> { text.chars().flat_map(char::to_lowercase).take(LONGEST).collect() };
    let (a, b) = (letters(a), letters(b));
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (row, one) in a.iter().enumerate() {
        let mut next = vec![row + 1; b.len() + 1];
        for (column, other) in b.iter().enumerate() {
            let cost = usize::from(one != other);
            let mut best = (last[column] + cost).min(last[column + 1] + 1).min(next[column] + 1);
            if row > 0 && column > 0 && *one == b[column - 1] && a[row - 1] == *other {
                best = best.min(before[column - 1] + 1);
            }
            next[column + 1] = best;
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_meant_if_it_is_near() {
        assert_eq!(nearest("apj", &["api", "auth"]), Some("api"));
        assert_eq!(nearest("wrokers", &["workers", "drain"]), Some("workers"));
        assert_eq!(nearest("LISTENER", &["listener"]), Some("listener"));
        assert_eq!(nearest("payments", &["api", "auth"]), None);
        assert_eq!(nearest("", &["api"]), None);
    }

    #[test]
    fn distances_count_edits() {
        for (a, b, far) in
            [("", "", 0), ("", "abc", 3), ("ab", "ba", 1), ("kitten", "sitting", 3), ("ä", "a", 1)]
        {
            assert_eq!(distance(a, b), far, "{a} {b}");
            assert_eq!(distance(b, a), far, "{b} {a}");
        }
        assert_eq!(distance(&"x".repeat(1_000_000), "x"), 127);
    }

    #[test]
    fn lists_end_somewhere() {
        let names: Vec<String> = (0..40).map(|n| format!("upstream-{n}")).collect();
        let text = help("zzz", "upstreams", names.iter().map(String::as_str));
        assert!(text.ends_with("upstream-15 and 24 more"), "{text}");
        assert_eq!(help("a", "upstreams", []), "there are no upstreams");
    }
}

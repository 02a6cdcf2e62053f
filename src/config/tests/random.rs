//! No text and no environment breaks the reader.

use proptest::prelude::*;

use super::sample::{SAMPLE, made_real};
use super::*;

/// Pieces that are more likely to go somewhere than random characters.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "[[",
        "]]",
        "[",
        "]",
        "{",
        "}",
        "=",
        "\"",
        "'",
        "\n",
        ",",
        ".",
        "#",
        "\\u001f",
        "\u{1f}",
        "\u{fffd}",
        "日",
        "\r\n",
        "\t",
        "true",
        "-1",
        "1e400",
        "99999999999999999999",
        "1979-05-27",
        "nan",
        "name",
        "listener",
        "route",
        "demo = {}",
    ];
    prop_oneof![
        prop::sample::select(words.to_vec()).prop_map(str::to_owned),
        ".{0,12}",
        "[a-z_.]{1,12} = [0-9a-z\"']{1,6}\n"
    ]
}

/// The nearest boundary of a character.
fn boundary(text: &str, at: prop::sample::Index) -> usize {
    let mut at = at.index(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_sample_is_judged(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), piece(), any::<bool>()), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut text = made_real(dir.path());
        for (from, to, piece, insert) in edits {
            let from = boundary(&text, from);
            let to = if insert { from } else { (from + to.index(40)).min(text.len()) };
            let to = (to..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap();
            text.replace_range(from..to, &piece);
        }
        match load_in(dir.path(), &text, &[]) {
            Ok(loaded) => prop_assert!(!loaded.show().is_empty()),
            Err(faults) => {
                prop_assert!(faults.errors() > 0);
                let shown = faults.render(true);
                let clean = |sign: char| matches!(sign, '\n' | '\u{1b}') || !sign.is_control();
                prop_assert!(shown.chars().all(clean), "{:?}", shown);
            }
        }
    }

    #[test]
    fn any_text_is_judged(pieces in prop::collection::vec(piece(), 0..30)) {
        let dir = tempfile::tempdir().unwrap();
        let faults = load_in(dir.path(), &pieces.concat(), &[]);
        prop_assert!(faults.is_err() || !faults.unwrap().config.listeners.is_empty());
    }

    #[test]
    fn any_environment_is_judged(
        name in "(SERVER|LISTENER|ROUTE|UPSTREAM|LOG|[A-Z_]{0,6})(__(PUBLIC|API|LIMITS|MATCH|0|[A-Z_]{0,6})){0,4}",
        value in prop_oneof![piece(), ".{0,20}"],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("STAGEDOOR__{name}");
        if let Err(faults) = load_in(dir.path(), &made_real(dir.path()), &[(&name, &value)]) {
            prop_assert!(faults.errors() > 0);
        }
    }
}

#[test]
fn every_beginning_of_the_sample_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    for (at, _) in SAMPLE.char_indices().step_by(7) {
        if let Err(faults) = load_in(dir.path(), &SAMPLE[..at], &[]) {
            assert!(!faults.to_string().is_empty());
        }
    }
}

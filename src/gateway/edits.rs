//! Edits of a header section, made once from the configuration: `remove`, then `set`, then `add`.

use stagedoor_protocol::Fields;

use crate::config::HeaderEdits;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits {
    /// What goes, and what is set anew.
    gone: Vec<Box<[u8]>>,
    /// `set` and `add`.
    new: Fields,
}

impl Edits {
    /// Of a route.
    pub(super) fn new(edits: &HeaderEdits) -> Self {
        let mut gone: Vec<Box<[u8]>> = edits.remove.iter().map(|name| name.as_bytes().into()).collect();
        gone.extend(edits.set.iter().map(|field| field.name.into()));
        gone.sort_unstable();
        gone.dedup();
        let mut new = Fields::new();
        new.extend(edits.set.iter());
        new.extend(edits.add.iter());
        Self { gone, new }
    }

    /// Nothing is edited.
    pub(super) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.new.is_empty()
    }

    /// Edits `fields`.
    pub(super) fn apply(&self, fields: &mut Fields) {
        if !self.gone.is_empty() {
            fields.retain(|field| !self.gone.iter().any(|name| **name == *field.name));
        }
        if !self.new.is_empty() {
            fields.extend(self.new.iter());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let list = |list: &[(&str, &str)]| list.iter().copied().collect::<Fields>();
        let edits = Edits::new(&HeaderEdits {
            remove: vec!["x-gone".to_owned(), "x-again".to_owned()],
            set: list(&[("x-set", "new")]),
            add: list(&[("x-again", "1"), ("x-kept", "2")]),
        });
        let mut fields =
            list(&[("x-gone", "1"), ("x-set", "a"), ("x-again", "0"), ("x-kept", "1"), ("x-set", "b")]);
        edits.apply(&mut fields);
        assert_eq!(fields, list(&[("x-kept", "1"), ("x-set", "new"), ("x-again", "1"), ("x-kept", "2")]));
        let untouched = fields.clone();
        assert!(Edits::default().is_empty() && !edits.is_empty());
        Edits::default().apply(&mut fields);
        assert_eq!(fields, untouched);
    }
}

//! A place in a list of which a page is seen. Invariant: the place is seen, and is one of the list unless that is empty.

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    at: usize,
    top: usize,
    len: usize,
    page: usize,
}

impl Cursor {
    /// The place; `None` in an empty list.
    pub(super) fn at(&self) -> Option<usize> {
        (self.len > 0).then_some(self.at)
    }

    /// The first that is seen.
    pub(super) fn top(&self) -> usize {
        self.top
    }

    /// The last of the list is the place.
    pub(super) fn is_at_end(&self) -> bool {
        self.at + 1 >= self.len
    }

    /// How many there are in the list.
    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len;
        self.go(self.at);
    }

    /// How many are seen.
    pub(super) fn set_page(&mut self, page: usize) {
        self.page = page;
        self.go(self.at);
    }

    /// Goes to a place, or the nearest there is.
    pub(super) fn go(&mut self, at: usize) {
        self.at = at.min(self.len.saturating_sub(1));
        let page = self.page.max(1);
        self.top = self.top.clamp((self.at + 1).saturating_sub(page), self.at);
        // A list that became shorter leaves no empty rows below it.
        self.top = self.top.min(self.len.saturating_sub(page));
    }

    /// Goes by rows.
    pub(super) fn step(&mut self, rows: isize) {
        self.go(self.at.saturating_add_signed(rows));
    }

    /// Goes by pages.
    pub(super) fn turn(&mut self, pages: isize) {
        self.step(pages.saturating_mul(self.page.max(2) as isize - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_always_seen() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.at(), None);
        let check = |cursor: &Cursor, len: usize, page: usize| {
            let at = cursor.at().unwrap();
            assert!(at < len && cursor.top() <= at && at < cursor.top() + page, "{cursor:?}");
        };
        for (len, page) in [(100, 10), (3, 10), (50, 1), (50, 7)] {
            cursor.set_len(len);
            cursor.set_page(page);
            check(&cursor, len, page);
            for rows in [1, 5, -3, 100, -2, 40, -200, 30] {
                cursor.step(rows);
                check(&cursor, len, page);
                cursor.turn(rows.signum());
                check(&cursor, len, page);
            }
        }
    }

    #[test]
    fn a_page_stays_while_the_place_is_on_it() {
        let mut cursor = Cursor::default();
        cursor.set_len(100);
        cursor.set_page(10);
        cursor.go(50);
        assert_eq!(cursor.top(), 41);
        cursor.step(-9);
        assert_eq!(cursor.top(), 41);
        cursor.step(-1);
        assert_eq!(cursor.top(), 40);
        cursor.set_len(45);
        assert_eq!((cursor.at(), cursor.top()), (Some(40), 35));
        cursor.set_len(0);
        assert_eq!((cursor.at(), cursor.top(), cursor.is_at_end()), (None, 0, true));
    }
}

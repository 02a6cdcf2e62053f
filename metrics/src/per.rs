//! Closed label sets and tables indexed by them.
//! Holds no values of its own: the sets are in `labels.rs`, the cells in `shard.rs`.
//!
//! Invariant: a set's index runs from 0 without gaps, in the order of `ALL`, so an index into a
//! [`Per`] cannot miss and a label cannot take a value the code does not list.

use std::fmt;
use std::ops::Index;

/// A closed set of values of one label.
///
/// ```
/// use stagedoor_metrics::{Label, Scope};
///
/// /// What a label may say.
/// fn values<L: Label>() -> &'static [&'static str] {
///     L::LABELS
/// }
/// assert_eq!(values::<Scope>(), ["stream", "connection"]);
/// ```
pub trait Label: Copy + 'static {
    /// One `T` per value.
    type Array<T>: AsRef<[T]>;
    /// Every value, in index order.
    const ALL: &'static [Self];
    /// The label text of every value, in index order.
    const LABELS: &'static [&'static str];

    /// Position in `ALL`.
    fn index(self) -> usize;

    /// Builds an array with one `T` per value.
    fn array<T>(make: impl FnMut(usize) -> T) -> Self::Array<T>;
}

/// One `T` for each value of the label `L`; indexed by the enum, so never out of bounds.
///
/// ```
/// use stagedoor_metrics::{Cell, Direction, Per};
///
/// let octets: Per<Direction, Cell> = Per::default();
/// octets[Direction::Tx].add(5);
/// let told: Vec<_> = octets.iter().map(|(direction, cell)| (direction.label(), cell.get())).collect();
/// assert_eq!(told, [("rx", 0), ("tx", 5)]);
/// ```
pub struct Per<L: Label, T>(L::Array<T>);

impl<L: Label, T> Per<L, T> {
    /// Every value with its `T`, in index order.
    pub fn iter(&self) -> impl Iterator<Item = (L, &T)> {
        L::ALL.iter().copied().zip(self.0.as_ref())
    }
}

impl<L: Label, T> Per<L, T> {
    /// A table made value by value.
    pub fn from_fn(mut make: impl FnMut(L) -> T) -> Self {
        Self(L::array(|index| make(L::ALL[index])))
    }
}

impl<L: Label, T: Default> Default for Per<L, T> {
    fn default() -> Self {
        Self(L::array(|_| T::default()))
    }
}

impl<L: Label, T> Index<L> for Per<L, T> {
    type Output = T;

    #[inline]
    fn index(&self, label: L) -> &T {
        &self.0.as_ref()[label.index()]
    }
}

impl<L: Label, T: fmt::Debug> fmt::Debug for Per<L, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(L::LABELS.iter().zip(self.0.as_ref())).finish()
    }
}

/// Defines a closed set: the enum, `ALL`, `COUNT`, `label()`, `from_index()` and [`Label`].
macro_rules! closed_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in index order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many values there are.
            pub const COUNT: usize = Self::ALL.len();
            /// The label text of every value, in index order.
            pub const LABELS: &'static [&'static str] = &[$($label,)+];

            /// The text this value has as a label.
            #[inline]
            #[must_use]
            pub const fn label(self) -> &'static str {
                Self::LABELS[self as usize]
            }

            /// The value at `index` of [`Self::ALL`].
            #[inline]
            #[must_use]
            pub const fn from_index(index: usize) -> Option<Self> {
                if index < Self::COUNT { Some(Self::ALL[index]) } else { None }
            }
        }

        impl $crate::per::Label for $name {
            type Array<T> = [T; $name::COUNT];
            const ALL: &'static [Self] = $name::ALL;
            const LABELS: &'static [&'static str] = $name::LABELS;

            #[inline]
            fn index(self) -> usize {
                self as usize
            }

            fn array<T>(make: impl FnMut(usize) -> T) -> Self::Array<T> {
                std::array::from_fn(make)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.label())
            }
        }
    };
}
pub(crate) use closed_set;

//! The words of the file: values written as text (or as a number) that mean more than that. Each is read once, where
//! serde meets it, so that what is wrong is known with its place.

mod address;
mod http;
mod number;
mod unit;

pub(super) use address::{AdminAt, BindTo, Block, EndpointUrl, FilePath, Host, Label, Lookup, ServerAddress};
pub(super) use http::{
    FieldName, FieldValue, Filter, Key, MediaType, Method, PathPrefix, Pattern, RateKey, RetryWord,
    StatusWord, Template,
};
pub(super) use number::{Int, PerSecond, Share};
pub(super) use unit::{Size, SizePerSecond, Time};

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::Schema;
use serde::de::{Deserializer, Visitor};

use super::problem::Problem;

/// A value that is written as text; [`Display`](fmt::Display) writes it so that it reads the same.
pub(super) trait Word: Sized + fmt::Display {
    /// Its name in the schema.
    const NAME: &'static str;
    /// What it is, for whoever wrote something else: "a duration".
    const WHAT: &'static str;
    /// A whole number is taken for its digits.
    const NUMBERS: bool = false;

    fn read(text: &str) -> Result<Self, Problem>;
    fn schema() -> Schema;
}

struct Words<W>(PhantomData<W>);

impl<W: Word> Visitor<'_> for Words<W> {
    type Value = W;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(W::WHAT)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<W, E> {
        W::read(text).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<W, E> {
        match W::NUMBERS {
            true => self.visit_str(&number.to_string()),
            false => Err(E::invalid_type(serde::de::Unexpected::Signed(number), &self)),
        }
    }
}

/// Reads a word where serde meets it.
fn deserialize<'de, W: Word, D: Deserializer<'de>>(deserializer: D) -> Result<W, D::Error> {
    deserializer.deserialize_any(Words(PhantomData))
}

fn schema_name<W: Word>() -> Cow<'static, str> {
    W::NAME.into()
}

/// What serde and schemars want of a [`Word`].
macro_rules! words {
    ($($word:ty),*) => { $(
        impl<'de> serde::Deserialize<'de> for $word {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::config::word::deserialize(deserializer)
            }
        }

        impl serde::Serialize for $word {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $word {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                crate::config::word::schema_name::<Self>()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <Self as crate::config::word::Word>::schema()
            }
        }
    )* };
}
use words;

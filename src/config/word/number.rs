//! Numbers within bounds.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::super::diagnostic::Code;
use super::super::problem::Problem;

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Int<const LEAST: u32, const MOST: u32>(pub(in super::super) u32);

/// A share: 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct Share(pub(in super::super) f64);

/// So often a second: more than 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct PerSecond(pub(in super::super) f64);

fn out_of_range(label: String) -> Problem {
    Problem::new(Code::OutOfRange, "is out of range", label)
}

struct Ints<const LEAST: u32, const MOST: u32>;

impl<const LEAST: u32, const MOST: u32> Visitor<'_> for Ints<LEAST, MOST> {
    type Value = Int<LEAST, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        let within = u32::try_from(number).ok().filter(|number| (LEAST..=MOST).contains(number));
        within.map(Int).ok_or_else(|| {
            let label = match MOST {
                u32::MAX if number < i64::from(LEAST) => format!("must be {LEAST} or more"),
                _ => format!("must be between {LEAST} and {MOST}"),
            };
            E::custom(out_of_range(label))
        })
    }
}

impl<'de, const LEAST: u32, const MOST: u32> Deserialize<'de> for Int<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Ints)
    }
}

impl<const LEAST: u32, const MOST: u32> Serialize for Int<LEAST, MOST> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<const LEAST: u32, const MOST: u32> JsonSchema for Int<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Int{LEAST}To{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}

/// Reads a number, with or without a fraction.
struct Floats;

impl Visitor<'_> for Floats {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(Floats)?;
        match (0.0..=1.0).contains(&number) {
            true => Ok(Self(number)),
            false => Err(serde::de::Error::custom(out_of_range("must be between 0 and 1".to_owned()))),
        }
    }
}

impl<'de> Deserialize<'de> for PerSecond {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(Floats)?;
        match number > 0.0 && number <= f64::from(u32::MAX) {
            true => Ok(Self(number)),
            false => Err(serde::de::Error::custom(out_of_range("must be more than 0".to_owned()))),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl Serialize for PerSecond {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

impl JsonSchema for PerSecond {
    fn schema_name() -> Cow<'static, str> {
        "PerSecond".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "exclusiveMinimum": 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, toml::de::Error> {
        T::deserialize(toml::de::ValueDeserializer::parse(text).unwrap())
    }

    #[test]
    fn bounds_come_in_pairs() {
        assert_eq!(read::<Int<1, 1000>>("1").unwrap().0, 1);
        assert_eq!(read::<Int<1, 1000>>("1000").unwrap().0, 1000);
        for text in ["0", "1001", "-1", "5000000000", "\"1\"", "1.0", "true"] {
            assert!(read::<Int<1, 1000>>(text).is_err(), "{text}");
        }
        assert!((read::<Share>("0.5").unwrap().0 - 0.5).abs() < 1e-9);
        for text in ["0", "1", "1.0"] {
            assert!(read::<Share>(text).is_ok(), "{text}");
        }
        for text in ["-0.1", "1.1", "nan", "inf", "2", "\"0.5\""] {
            assert!(read::<Share>(text).is_err(), "{text}");
        }
        assert!(read::<PerSecond>("0.1").is_ok() && read::<PerSecond>("50").is_ok());
        for text in ["0", "-1", "nan", "inf"] {
            assert!(read::<PerSecond>(text).is_err(), "{text}");
        }
    }
}

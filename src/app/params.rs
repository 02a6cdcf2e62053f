//! What a route's pattern takes from a path, and the types it can be read as.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the pattern of a route took from the path, decoded, in the order of the pattern.
///
/// ```
/// use stagedoor::{App, Params, get};
///
/// async fn one(params: Params) -> String {
///     params.get("id").unwrap_or("-").to_owned()
/// }
///
/// let app = App::new().route("/users/{id}", get(one));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/users/7%2F8").await.assert_text("7/8");
/// # });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn new(params: Vec<(String, String)>) -> Self {
        Self(params)
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The pattern has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn at(&self, place: usize) -> Result<(&str, &str), Unfit> {
        let param = self.0.get(place).ok_or_else(|| Unfit::Missing(place + 1))?;
        Ok((&param.0, &param.1))
    }
}

/// A path that a pattern takes and a handler cannot: answered 400.
///
/// ```
/// use stagedoor::{FromParam, Unfit};
///
/// match u8::from_param("age", "300") {
///     Err(Unfit::Value { name, value, .. }) => assert_eq!((&*name, &*value), ("age", "300")),
///     other => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The pattern has fewer parameters than the handler reads: a mistake of the program, 500.
    #[error("the pattern of the route has no parameter number {0}")]
    Missing(usize),
    /// The value cannot be read as the type.
    #[error("{name}: {value:?} is no {wanted}")]
    Value {
        /// The parameter's.
        name: String,
        /// As it came, decoded.
        value: String,
        /// What the handler reads it as.
        wanted: &'static str,
    },
}

/// What [`Path`](super::Path) can hold: text, numbers, addresses and booleans, tuples of them for patterns with several
/// parameters, a map of all, or a type of yours.
///
/// ```
/// use stagedoor::{App, FromParams, Params, Path, Unfit, get};
///
/// struct Item {
///     user: u64,
///     tag: String,
/// }
///
/// impl FromParams for Item {
///     fn from_params(params: &Params) -> Result<Self, Unfit> {
///         let (user, tag) = FromParams::from_params(params)?;
///         Ok(Self { user, tag })
///     }
/// }
///
/// async fn told(Path(item): Path<Item>) -> String {
///     format!("{} of {}\n", item.tag, item.user)
/// }
///
/// let app = App::new().route("/{user}/{tag}", get(told));
/// # stagedoor::testing::run(async {
/// # let server = stagedoor::testing::Server::new(app.factory(&stagedoor::Metrics::new("test")).unwrap());
/// # let client = server.client().await;
/// client.get("/7/red").await.assert_text("red of 7\n");
/// # });
/// ```
pub trait FromParams: Sized {
    /// Reads the parameters.
    /// # Errors
    /// [`Unfit`].
    fn from_params(params: &Params) -> Result<Self, Unfit>;
}

/// What one parameter of a pattern can be read as.
///
/// ```
/// use stagedoor::{FromParam, Unfit};
///
/// #[derive(Debug)]
/// struct Even(u32);
///
/// impl FromParam for Even {
///     fn from_param(name: &str, value: &str) -> Result<Self, Unfit> {
///         let number = u32::from_param(name, value)?;
///         let unfit = || Unfit::Value { name: name.into(), value: value.into(), wanted: "even number" };
///         (number % 2 == 0).then_some(Self(number)).ok_or_else(unfit)
///     }
/// }
///
/// assert_eq!(Even::from_param("n", "4").unwrap().0, 4);
/// assert_eq!(Even::from_param("n", "3").unwrap_err().to_string(), "n: \"3\" is no even number");
/// ```
pub trait FromParam: Sized {
    /// Reads the value of the parameter `name`.
    /// # Errors
    /// [`Unfit::Value`].
    fn from_param(name: &str, value: &str) -> Result<Self, Unfit>;
}

macro_rules! parsed {
    ($($type:ty: $words:literal),* $(,)?) => {$(
        impl FromParam for $type {
            fn from_param(name: &str, value: &str) -> Result<Self, Unfit> {
                value.parse().map_err(|_| Unfit::Value {
                    name: name.to_owned(),
                    value: value.to_owned(),
                    wanted: $words,
                })
            }
        }

        impl FromParams for $type {
            fn from_params(params: &Params) -> Result<Self, Unfit> {
                let (name, value) = params.at(0)?;
                Self::from_param(name, value)
            }
        }
    )*};
}

parsed! {
    String: "text", char: "character", bool: "boolean (true, false)",
    u8: "number from 0 to 255", u16: "number from 0 to 65535", u32: "whole number from 0 on", u64: "whole number from 0 on",
    u128: "whole number from 0 on", usize: "whole number from 0 on", i8: "number from -128 to 127", i16: "whole number",
    i32: "whole number", i64: "whole number", i128: "whole number", isize: "whole number", f32: "number", f64: "number",
    IpAddr: "IP address", Ipv4Addr: "IPv4 address", Ipv6Addr: "IPv6 address",
}

macro_rules! tuples {
    ($($type:ident $place:literal),*) => {
        impl<$($type: FromParam),*> FromParams for ($($type,)*) {
            fn from_params(params: &Params) -> Result<Self, Unfit> {
                Ok(($({
                    let (name, value) = params.at($place)?;
                    $type::from_param(name, value)?
                },)*))
            }
        }
    };
}
tuples!(A 0);
tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);

impl FromParams for HashMap<String, String> {
    fn from_params(params: &Params) -> Result<Self, Unfit> {
        Ok(params.0.iter().cloned().collect())
    }
}

impl FromParams for Params {
    fn from_params(params: &Params) -> Result<Self, Unfit> {
        Ok(params.clone())
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.iter().enumerate() {
            write!(f, "{}{name}={value}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn one_and_several_are_read_by_place() {
        let known = params(&[("user", "7"), ("tag", "red")]);
        assert_eq!(u64::from_params(&known), Ok(7));
        assert_eq!(<(u8, String)>::from_params(&known), Ok((7, "red".to_owned())));
        assert_eq!(HashMap::from_params(&known).map(|map| map["tag"].clone()), Ok("red".to_owned()));
    }

    #[test]
    fn what_does_not_fit_is_said_with_its_name() {
        let known = params(&[("user", "-1")]);
        let error = u64::from_params(&known).unwrap_err();
        assert_eq!(error.to_string(), "user: \"-1\" is no whole number from 0 on");
        assert_eq!(<(i8, u8)>::from_params(&known), Err(Unfit::Missing(2)));
    }
}

//! A value that is not to be shown.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What is shown in the place of a secret.
const REDACTED: &str = "***";

/// A value that logs, errors and panics do not show: a token or a password in an input, an output, the result of a step.
///
/// `Debug` and `Display` show `***`, and so does whatever is printed of a type that derives `Debug` around it. One that
/// cannot be decoded is not quoted in the error, as other values are. It is stored as what is in it: seal the file
/// ([`Builder::payload_codec`](crate::Builder::payload_codec)) where the disk is not to know it. Whoever may read inputs
/// and results of tasks, from the program or over HTTP, reads it too. That it is wiped from memory is not promised.
///
/// ```
/// use outlive::Secret;
/// #[derive(Debug, serde::Serialize, serde::Deserialize)]
/// struct Login {
///     user: String,
///     password: Secret<String>,
/// }
/// let login = Login { user: "ada".into(), password: Secret::new("hunter2".into()) };
/// assert_eq!(format!("{login:?}"), r#"Login { user: "ada", password: Secret(***) }"#);
/// assert_eq!(login.password.expose(), "hunter2");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub const fn new(value: T) -> Secret<T> {
        Secret(value)
    }

    /// The value, for whoever needs it; the name makes such places easy to find.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Secret<T> {
        Secret(value)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({REDACTED})")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T: Serialize> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Secret<T>, D::Error> {
        let read = T::deserialize(from);
        if cfg!(planted = "secret_quoted") {
            return read.map(Secret);
        }
        // The error would quote what it found.
        read.map(Secret).map_err(|_| {
            let expected = std::any::type_name::<T>();
            serde::de::Error::custom(format_args!("the secret is not a {expected}"))
        })
    }
}

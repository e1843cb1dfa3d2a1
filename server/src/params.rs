//! The parameters behind the `?` of a target: each is known, or the request is refused.

use crate::problem::{Kind, Problem};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::str::FromStr;

/// The pairs, until each was asked for.
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Params::of(parts.uri.query().unwrap_or_default()))
    }
}

impl Params {
    fn of(query: &str) -> Params {
        let pairs = form_urlencoded::parse(query.as_bytes());
        Params(
            pairs
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }

    /// Every value of this name.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(key, _)| key == name);
        self.0 = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// The value of this name, which may be given once.
    pub(crate) fn one(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let mut all = self.all(name);
        if all.len() > 1 {
            return Err(invalid(name, "it is given several times"));
        }
        Ok(all.pop())
    }

    /// As [`Params::one`], as something else than text.
    pub(crate) fn parsed<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>, Problem> {
        let value = self.one(name)?;
        let parsed = value.map(|value| value.parse().map_err(|_| invalid(name, "it is not one")));
        parsed.transpose()
    }

    /// Refuses what nobody asked for.
    pub(crate) fn end(self) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            Some((name, _)) if !cfg!(planted = "server_any_parameter") => {
                let problem = Problem::new(Kind::Invalid, "unknown_parameter");
                let hint = "GET /openapi.json lists the parameters";
                Err(problem.hint(hint).field("parameter", name))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A parameter has a value that it cannot have.
pub(crate) fn invalid(name: &'static str, why: &str) -> Problem {
    let problem = Problem::new(Kind::Invalid, "invalid_parameter");
    let detail = format!("{name}: {why}");
    problem.detail(detail).field("parameter", name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asked_for_is_refused() {
        let mut params = Params::of("tag=a%3A1&limit=10&tag=b%3A2");
        assert_eq!(params.all("tag"), ["a:1", "b:2"]);
        assert_eq!(params.parsed::<usize>("limit").ok().flatten(), Some(10));
        assert!(params.end().is_ok());
        assert!(Params::of("limt=10").end().is_err());
        assert!(Params::of("a=1&a=2").one("a").is_err());
        assert!(Params::of("a=x").parsed::<u64>("a").is_err());
    }
}

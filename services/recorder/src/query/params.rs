//! Parameters of a request's query string.
//!
//! A name that the route does not know is refused, because without the filter that was meant, the answer would be of everything.

use axum::extract::{FromRequestParts, Query};
use chassis::problem::Problem;
use http::{Uri, request::Parts};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, Visitor, value::Error},
    forward_to_deserialize_any,
};

/// Longest part of an unknown name that an error repeats.
const NAME_CHARS_MAX: usize = 100;

/// All parameters of a route in one struct. Its fields are the known names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UrlQuery<T>(pub(crate) T);

/// All parameters of a route in two structs. The fields of both are the known names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UrlQueries<A, B>(pub(crate) A, pub(crate) B);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for UrlQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        check_names(&parts.uri, &[names::<T>()])?;
        Ok(Self(read(&parts.uri)?))
    }
}

impl<A: DeserializeOwned, B: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for UrlQueries<A, B> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        check_names(&parts.uri, &[names::<A>(), names::<B>()])?;
        Ok(Self(read(&parts.uri)?, read(&parts.uri)?))
    }
}

fn read<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let Query(params) = Query::try_from_uri(uri)?;
    Ok(params)
}

/// The error for the first parameter that has none of the known names. It tells them all.
fn check_names(uri: &Uri, known: &[&[&str]]) -> Result<(), Problem> {
    let given = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let known = known.concat();
    for (name, _) in given {
        if !known.contains(&name.as_ref()) {
            let name: String = name.chars().take(NAME_CHARS_MAX).collect();
            let known = known.join(", ");
            return Err(Problem::bad_request(format!("unknown parameter `{name}`: there are {known}")));
        }
    }
    Ok(())
}

/// The names of the fields of a struct that derives `Deserialize`, as they are in a query string.
fn names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // Always an error, because the probe has no values.
    let nothing: Result<T, Error> = Deserialize::deserialize(NamesProbe(&mut names));
    drop(nothing);
    names
}

/// Learns the names of the fields that a struct asks for.
struct NamesProbe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for NamesProbe<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom("only the names are read"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("parameters are a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Page {
        #[serde(default)]
        since: u64,
        #[serde(default, rename = "type")]
        kind: String,
    }

    #[derive(Debug, Deserialize)]
    struct Clock {
        #[serde(default)]
        at: Option<f64>,
    }

    fn parts(uri: &str) -> Parts {
        http::Request::builder().uri(uri).body(()).expect("a request").into_parts().0
    }

    async fn detail(problem: Problem) -> String {
        let body = axum::body::to_bytes(problem.into_response().into_body(), 10_000).await.expect("a body");
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(problem["status"], 400);
        problem["detail"].as_str().expect("a detail").to_owned()
    }

    #[tokio::test]
    async fn each_struct_reads_its_own_parameters() {
        let uri = "/?since=3&at=1.5&%74ype=event&type=";
        assert!(UrlQueries::<Page, Clock>::from_request_parts(&mut parts(uri), &()).await.is_err(), "twice");
        let uri = "/?since=3&at=1.5&%74ype=event";
        let UrlQueries(page, clock) =
            UrlQueries::<Page, Clock>::from_request_parts(&mut parts(uri), &()).await.expect("parameters");
        assert_eq!((page.since, page.kind.as_str(), clock.at), (3, "event", Some(1.5)));
        for uri in ["/", "/?", "/?&"] {
            let UrlQuery(page) =
                UrlQuery::<Page>::from_request_parts(&mut parts(uri), &()).await.expect("defaults");
            assert_eq!((page.since, page.kind.as_str()), (0, ""));
        }
    }

    #[tokio::test]
    async fn unknown_name_is_refused_with_the_known_ones() {
        for uri in ["/?kind=event", "/?since=3&kind", "/?kind=", "/?since=x&kind=event"] {
            let refused = UrlQueries::<Page, Clock>::from_request_parts(&mut parts(uri), &()).await;
            let detail = detail(refused.expect_err("a refusal")).await;
            assert_eq!(detail, "unknown parameter `kind`: there are since, type, at", "{uri}");
        }
        let long = format!("/?{}=1", "x".repeat(1_000));
        let refused = UrlQuery::<Clock>::from_request_parts(&mut parts(&long), &()).await;
        assert!(detail(refused.expect_err("a refusal")).await.len() < 200);
    }
}

//! The connection string as a setting. An invalid one is a mistake in the configuration, so it is found before anything connects.

use futures::FutureExt as _;
use mongodb::options::{ClientOptions, ConnectionString};
use serde::de::{Deserialize, Deserializer, Error as _};

/// The part before the options is invalid.
const ADDRESS: &str = "is not a connection string: expected mongodb://[user:password@]host[:port][/database][?options], with a \
                       percent-encoded user and password";
/// Scheme of an address whose hosts a DNS server lists. The driver is built without its DNS client.
const SRV_SCHEME: &str = "mongodb+srv://";
/// The scheme is [`SRV_SCHEME`].
const SRV: &str =
    "has the scheme mongodb+srv, which is not supported: list the hosts instead, as in mongodb://a,b";
/// The part before the options is valid, the whole is not.
const OPTIONS: &str = "has an option with an invalid value, or two options that exclude one another";

/// Reads a connection string.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let uri = String::deserialize(deserializer)?;
    problem(&uri).map_or(Ok(uri), |problem| Err(D::Error::custom(problem)))
}

/// Says what is wrong. It repeats nothing of the text and nothing that the driver says, because both may contain the password.
fn problem(uri: &str) -> Option<&'static str> {
    if uri.starts_with(SRV_SCHEME) {
        return Some(SRV);
    }
    // Parsing is asynchronous only for names that have to be looked up. No other scheme has such names, so the answer is there at
    // once.
    let parsed = ClientOptions::parse(uri).into_future().now_or_never();
    if !matches!(parsed, Some(Err(_))) {
        return None;
    }
    let address = uri.split('?').next().unwrap_or_default();
    Some(if ConnectionString::parse(address).is_err() { ADDRESS } else { OPTIONS })
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    fn refusal(uri: &str) -> Option<String> {
        let read = serde_json::from_value::<Config>(serde_json::json!({"uri": uri, "database": "payment"}));
        read.err().map(|error| error.to_string())
    }

    #[test]
    fn usable_uris_are_accepted() {
        for uri in [
            "mongodb://127.0.0.1:8122/?directConnection=true",
            "mongodb://mongo:8122/?replicaSet=pitboss",
            "mongodb://casino:p%40ss@a:1,b:2/admin?w=majority&readPreference=primary",
            "mongodb://127.0.0.1",
        ] {
            assert_eq!(refusal(uri), None, "{uri}");
        }
    }

    #[test]
    fn invalid_uris_are_refused_unquoted() {
        let addresses =
            ["", "nonsense", "http://h", "mongodb://", "mongodb://u:hunter2", "mongodb://u:hunter2?@h"];
        let options =
            ["w=-1", "directConnection=perhaps", "maxPoolSize=0", "directConnection=true&loadBalanced=true"]
                .map(|options| format!("mongodb://u:hunter2@h/?{options}"));
        let several = ["mongodb://a,b/?directConnection=true".to_owned()];
        let srv = ["mongodb+srv://u:hunter2@h/", "mongodb+srv://u:hunter2@h/?w=-1"].map(str::to_owned);
        for (uris, problem) in [
            (addresses.map(str::to_owned).to_vec(), super::ADDRESS),
            ([options.to_vec(), several.to_vec()].concat(), super::OPTIONS),
            (srv.to_vec(), super::SRV),
        ] {
            assert!(!problem.contains("hunter2"));
            for uri in uris {
                assert_eq!(refusal(&uri).as_deref(), Some(problem), "{uri}");
            }
        }
    }
}

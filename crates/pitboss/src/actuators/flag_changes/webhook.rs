//! Receivers of flag changes: the recorder, and a real Sentry if the settings name one. Both take Sentry's generic webhook.

use std::time::Duration;

use contracts::parts::Ports;
use hmac::{Hmac, Mac as _};
use reqwest::{Client, Url, redirect};
use runtime::secrets::Secrets;
use runtime::{Layout, dotenv};
use serde_json::json;
use sha2::Sha256;

use super::record::Change;
use crate::checkout::{
    FLAG_HOOK_SECRET_VARIABLE as SECRET_VARIABLE, FLAG_HOOK_URL_VARIABLE as URL_VARIABLE, Running,
};

/// Header with the hexadecimal HMAC-SHA256 of the body.
const SIGNATURE: &str = "x-sentry-signature";
/// Version of the form.
const VERSION: u32 = 1;
/// Deadline of an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Something that takes changes.
pub(in crate::actuators) trait Receiver {
    /// Name in the file and in the log.
    fn name(&self) -> &'static str;

    /// Sends changes. They may arrive even if this fails.
    async fn post(&self, changes: &[Change]) -> Result<(), PostError>;
}

/// Reason why changes were not taken, which decides what follows.
#[derive(Debug, thiserror::Error)]
pub(in crate::actuators) enum PostError {
    /// The receiver does not run yet. They are sent again, and nothing is logged.
    #[error("it does not run yet")]
    NotUp,
    /// There was no answer, or one that can change. They are sent again.
    #[error("{0}")]
    Failed(String),
    /// The receiver does not accept them. They are dropped.
    #[error("{0}")]
    Refused(String),
}

/// A receiver that is reached by HTTP.
pub(in crate::actuators) struct Webhook {
    name: &'static str,
    to: Destination,
    http: Client,
}

enum Destination {
    /// The platform's own recorder, with the address and the secret of the running platform.
    Recorder(Layout),
    /// A real Sentry.
    Fixed { url: Url, secret: String },
}

impl Webhook {
    /// The receivers of this platform. What cannot be used is logged and left out.
    pub(in crate::actuators) fn all(layout: &Layout) -> Vec<Self> {
        let dotenv = dotenv::read(&layout.root().join(".env")).unwrap_or_else(|error| {
            tracing::error!("changes of faults are sent to the recorder only: {error}");
            Default::default()
        });
        let setting = |name: &str| {
            std::env::var(name).ok().or_else(|| dotenv.get(name).cloned()).filter(|v| !v.is_empty())
        };
        let sentry =
            Self::sentry(setting(URL_VARIABLE), setting(SECRET_VARIABLE)).unwrap_or_else(|problem| {
                tracing::error!("changes of faults are sent to the recorder only: {problem}");
                None
            });
        Self::recorder(layout).into_iter().chain(sentry).collect()
    }

    fn recorder(layout: &Layout) -> Option<Self> {
        let http = client().no_proxy().build();
        let http =
            http.inspect_err(|error| tracing::error!("changes of faults are not sent: {error}")).ok()?;
        Some(Self { name: "the recorder", to: Destination::Recorder(layout.clone()), http })
    }

    /// The real Sentry of these settings, if there are any.
    fn sentry(url: Option<String>, secret: Option<String>) -> Result<Option<Self>, String> {
        let (url, secret) = match (url, secret) {
            (Some(url), Some(secret)) => (url, secret),
            (None, None) => return Ok(None),
            _ => return Err(format!("{URL_VARIABLE} and {SECRET_VARIABLE} need each other")),
        };
        let url = Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| format!("{URL_VARIABLE} is not an address of HTTP"))?;
        let http = client().build().map_err(|error| error.to_string())?;
        Ok(Some(Self { name: "Sentry", to: Destination::Fixed { url, secret }, http }))
    }

    /// Address and secret, or None while the platform is not up.
    fn destination(&self) -> Option<(Url, String)> {
        match &self.to {
            Destination::Fixed { url, secret } => Some((url.clone(), secret.clone())),
            Destination::Recorder(layout) => {
                let running = Running::of(layout).filter(|running| running.complete)?;
                let port = Ports::new(running.port_base).ok()?.recorder_query();
                let path = "api/0/organizations/pitboss/flags/hooks/provider/generic/";
                let url = Url::parse(&format!("http://127.0.0.1:{port}/{path}")).ok()?;
                let secret = Secrets::load(layout)?.flag_hook_secret;
                (!secret.is_empty()).then_some((url, secret))
            }
        }
    }
}

impl Receiver for Webhook {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn post(&self, changes: &[Change]) -> Result<(), PostError> {
        let (url, secret) = self.destination().ok_or(PostError::NotUp)?;
        let body = json!({ "data": changes, "meta": { "version": VERSION } }).to_string();
        let signature = signature(&secret, body.as_bytes())
            .ok_or_else(|| PostError::Refused("its secret signs nothing".to_owned()))?;
        let request = self.http.post(url).header(SIGNATURE, signature);
        let request = request.header("content-type", "application/json").body(body);
        // Without the address, which may name an organisation.
        let failed = |error: reqwest::Error| format!("{:#}", anyhow::Error::from(error.without_url()));
        let response = request.send().await.map_err(|error| PostError::Failed(failed(error)))?;
        let status = response.status().as_u16();
        match status {
            200..=299 => Ok(()),
            400 | 413 | 422 => Err(PostError::Refused(format!("it answered {status}"))),
            _ => Err(PostError::Failed(format!("it answered {status}"))),
        }
    }
}

/// A redirect is not followed, because the body is signed for one receiver.
fn client() -> reqwest::ClientBuilder {
    Client::builder().timeout(ANSWER_DEADLINE).redirect(redirect::Policy::none())
}

fn signature(secret: &str, body: &[u8]) -> Option<String> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    Some(hex::encode(mac.chain_update(body).finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use serde_json::Value;

    use super::super::record::{Action, Author};
    use super::*;

    fn webhook(url: &str, secret: &str) -> Webhook {
        // Another test may have installed it before.
        drop(rustls::crypto::ring::default_provider().install_default());
        Webhook::sentry(Some(url.to_owned()), Some(secret.to_owned())).unwrap().unwrap()
    }

    fn change() -> Change {
        Change::new(Action::Created, 7, 0, Author::named("cli"), "consumer.slow".to_owned())
    }

    /// Answers one request with a status, and returns its header and its body.
    fn answer(listener: TcpListener, status: u16) -> (String, String) {
        let (mut stream, _) = listener.accept().unwrap();
        let (header, body) = read(&mut stream);
        let text = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).unwrap();
        (header, body)
    }

    fn read(stream: &mut TcpStream) -> (String, String) {
        let mut text = String::new();
        loop {
            let mut piece = [0; 4_096];
            let length = stream.read(&mut piece).unwrap();
            assert!(length > 0, "the request is cut: {text}");
            text.push_str(std::str::from_utf8(&piece[..length]).unwrap());
            let Some((header, body)) = text.split_once("\r\n\r\n") else { continue };
            let header = header.to_ascii_lowercase();
            let stated = header.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= stated.parse::<usize>().unwrap() {
                return (header, body.to_owned());
            }
        }
    }

    /// Posts one change to a server that answers with this status.
    async fn posted(status: u16) -> (Result<(), PostError>, String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || answer(listener, status));
        let result = webhook(&url, "key").post(&[change()]).await;
        let (header, body) = server.join().unwrap();
        (result, header, body)
    }

    #[test]
    fn signature_is_that_of_the_published_example() {
        let known = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
        let body = b"The quick brown fox jumps over the lazy dog";
        assert_eq!(signature("key", body).as_deref(), Some(known));
    }

    #[tokio::test]
    async fn body_is_signed_as_it_is_sent() {
        let (result, header, body) = posted(200).await;
        assert!(result.is_ok(), "{result:?}");
        let signed = format!("x-sentry-signature: {}", signature("key", body.as_bytes()).unwrap());
        assert!(header.starts_with("post /hook/ ") && header.contains(&signed), "{header}");
        let sent: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&sent["meta"]["version"], &sent["data"][0]["change_id"]), (&json!(1), &json!(7)));
    }

    #[tokio::test]
    async fn answer_decides_what_follows() {
        assert!(matches!(posted(400).await.0, Err(PostError::Refused(_))));
        for status in [302, 401, 429, 503] {
            let (result, ..) = posted(status).await;
            assert!(matches!(result, Err(PostError::Failed(_))), "{status}: {result:?}");
        }
    }

    #[test]
    fn settings_of_a_real_sentry_need_each_other() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let sentry = |url: Option<&str>, secret: Option<&str>| {
            Webhook::sentry(url.map(str::to_owned), secret.map(str::to_owned)).map(|found| found.is_some())
        };
        assert_eq!(sentry(None, None), Ok(false));
        assert_eq!(sentry(Some("https://sentry.example/hook/"), Some("s")), Ok(true));
        assert!(sentry(Some("https://sentry.example/hook/"), None).is_err());
        assert!(sentry(None, Some("s")).is_err() && sentry(Some("file:///etc"), Some("s")).is_err());
    }

    #[tokio::test]
    async fn recorder_is_not_up_without_a_platform() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let layout = Layout::new(std::path::Path::new("/nonexistent"), None, None);
        let webhook = Webhook::recorder(&layout).unwrap();
        assert!(matches!(webhook.post(&[change()]).await, Err(PostError::NotUp)));
    }
}

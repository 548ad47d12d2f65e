//! Proxy between one process and the document store that refuses or holds requests with certain words.
//!
//! Of the protocol it uses only that a message begins with its length and its number, and that names appear in it as plain bytes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use store::bson::doc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::harness::TIMEOUT;

/// Kind of every message except the first ones of a connection.
const MESSAGE: i32 = 2013;
/// Flag of an answer that is followed by more answers without a request.
const MORE_TO_COME: u8 = 2;
/// Error code after which no driver retries by itself.
const WRITE_CONFLICT: i32 = 112;

/// Words that identify a request, which contains all of them.
pub(crate) type Pattern = &'static [&'static str];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Pass,
    Refuse,
    Hold,
}

#[derive(Debug)]
struct Rule {
    action: Action,
    /// Number of requests that were refused or held.
    matched: usize,
    /// Number of held requests that the store has answered since.
    answered: usize,
}

#[derive(Clone)]
pub(crate) struct MongoProxy {
    address: SocketAddr,
    store: SocketAddr,
    rules: Arc<Mutex<HashMap<Pattern, Rule>>>,
    changed: Arc<Notify>,
}

impl MongoProxy {
    pub(crate) async fn start() -> Self {
        let uri = testkit::mongo();
        let store = uri.trim_start_matches("mongodb://").split('/').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Self { address, store, rules: Arc::default(), changed: Arc::default() };
        let accepting = proxy.clone();
        telemetry::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = accepting.clone();
                telemetry::spawn(async move { proxy.serve(client).await.ok() });
            }
        });
        proxy
    }

    /// Returns the URI of the store through this proxy.
    pub(crate) fn uri(&self) -> String {
        testkit::mongo().replace(&self.store.to_string(), &self.address.to_string())
    }

    /// Refuses these requests from now on. They do not reach the store.
    pub(crate) fn refuse(&self, pattern: Pattern) {
        self.rule(pattern, Action::Refuse);
    }

    /// Holds these requests from now on.
    pub(crate) fn hold(&self, pattern: Pattern) {
        self.rule(pattern, Action::Hold);
    }

    /// Forwards these requests from now on, including those that were held.
    pub(crate) fn forward(&self, pattern: Pattern) {
        self.rule(pattern, Action::Pass);
    }

    /// Waits until `count` of these requests were refused or held.
    pub(crate) async fn wait_for_matches(&self, pattern: Pattern, count: usize) {
        testkit::eventually("the request to be refused or held", TIMEOUT, || async {
            (self.with_rule(pattern, |rule| rule.matched) >= count).then_some(())
        })
        .await;
    }

    /// Waits until the store has answered all held requests.
    pub(crate) async fn wait_for_answers(&self, pattern: Pattern) {
        testkit::eventually("the store to answer", TIMEOUT, || async {
            self.with_rule(pattern, |rule| rule.answered == rule.matched).then_some(())
        })
        .await;
    }

    fn rule(&self, pattern: Pattern, action: Action) {
        let mut rules = self.rules.lock().unwrap();
        rules.entry(pattern).or_insert(Rule { action, matched: 0, answered: 0 }).action = action;
        drop(rules);
        self.changed.notify_waiters();
    }

    fn with_rule<R>(&self, pattern: Pattern, read: impl FnOnce(&Rule) -> R) -> R {
        read(&self.rules.lock().unwrap()[pattern])
    }

    /// Returns the rule that applies to a request, if any.
    fn match_request(&self, request: &[u8]) -> Option<(Pattern, Action)> {
        let mut rules = self.rules.lock().unwrap();
        let (pattern, rule) =
            rules.iter_mut().find(|(words, rule)| rule.action != Action::Pass && contains(request, words))?;
        rule.matched += 1;
        Some((*pattern, rule.action))
    }

    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(self.store).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        loop {
            let request = read(&mut client).await?;
            let held = match self.match_request(&request) {
                Some((_, Action::Refuse)) => {
                    client.write_all(&refusal(&request)).await?;
                    continue;
                }
                Some((pattern, _)) => {
                    self.until_released(pattern).await;
                    Some(pattern)
                }
                None => None,
            };
            server.write_all(&request).await?;
            loop {
                let answer = read(&mut server).await?;
                // Counted before it is forwarded, because the client may have disconnected by now.
                if let Some(pattern) = held {
                    self.answered(pattern);
                }
                client.write_all(&answer).await?;
                if !announces_more(&answer) {
                    break;
                }
            }
        }
    }

    async fn until_released(&self, pattern: Pattern) {
        loop {
            let changed = self.changed.notified();
            if self.with_rule(pattern, |rule| rule.action != Action::Hold) {
                return;
            }
            changed.await;
        }
    }

    fn answered(&self, pattern: Pattern) {
        if let Some(rule) = self.rules.lock().unwrap().get_mut(pattern) {
            rule.answered += 1;
        }
    }
}

fn contains(request: &[u8], words: &[&str]) -> bool {
    words.iter().all(|word| request.windows(word.len()).any(|window| window == word.as_bytes()))
}

fn announces_more(answer: &[u8]) -> bool {
    answer.get(12..16) == Some(MESSAGE.to_le_bytes().as_slice())
        && answer.get(16).is_some_and(|flags| flags & MORE_TO_COME != 0)
}

/// Builds the answer to a request that did not reach the store.
fn refusal(request: &[u8]) -> Vec<u8> {
    let error = doc! { "ok": 0.0, "code": WRITE_CONFLICT, "codeName": "WriteConflict", "errmsg": "not now" };
    let error = error.to_vec().unwrap();
    let length = i32::try_from(16 + 4 + 1 + error.len()).unwrap();
    let mut answer = Vec::new();
    answer.extend(length.to_le_bytes());
    answer.extend(0_i32.to_le_bytes());
    answer.extend_from_slice(&request[4..8]);
    answer.extend(MESSAGE.to_le_bytes());
    // No flags, and a section of the kind that is one document.
    answer.extend([0; 5]);
    answer.extend(error);
    answer
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_i32_le().await?;
    let mut message = vec![0; usize::try_from(length).map_err(io::Error::other)?.max(16)];
    message[..4].copy_from_slice(&length.to_le_bytes());
    stream.read_exact(&mut message[4..]).await?;
    Ok(message)
}

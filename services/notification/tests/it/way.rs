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

use crate::harness::PATIENCE;

/// Kind of every message except the first ones of a connection.
const MESSAGE: i32 = 2013;
/// Flag of an answer that is followed by more answers without a request.
const MORE_TO_COME: u8 = 2;
/// Error code after which no driver retries by itself.
const WRITE_CONFLICT: i32 = 112;

/// Words that identify a request, which contains all of them.
pub(crate) type Words = &'static [&'static str];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Pass,
    Refuse,
    Hold,
}

#[derive(Debug)]
struct Rule {
    deed: Deed,
    /// Number of requests that were refused or held.
    met: usize,
    /// Number of held requests that the store has answered since.
    answered: usize,
}

#[derive(Clone)]
pub(crate) struct Way {
    address: SocketAddr,
    store: SocketAddr,
    rules: Arc<Mutex<HashMap<Words, Rule>>>,
    changed: Arc<Notify>,
}

impl Way {
    pub(crate) async fn start() -> Self {
        let uri = testkit::mongo();
        let store = uri.trim_start_matches("mongodb://").split('/').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Self { address, store, rules: Arc::default(), changed: Arc::default() };
        let accepting = way.clone();
        telemetry::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let way = accepting.clone();
                telemetry::spawn(async move { way.carry(client).await.ok() });
            }
        });
        way
    }

    /// Returns the URI of the store through this proxy.
    pub(crate) fn uri(&self) -> String {
        testkit::mongo().replace(&self.store.to_string(), &self.address.to_string())
    }

    /// Refuses these requests from now on. They do not reach the store.
    pub(crate) fn refuse(&self, words: Words) {
        self.rule(words, Deed::Refuse);
    }

    /// Holds these requests from now on.
    pub(crate) fn hold(&self, words: Words) {
        self.rule(words, Deed::Hold);
    }

    /// Forwards these requests from now on, including those that were held.
    pub(crate) fn let_pass(&self, words: Words) {
        self.rule(words, Deed::Pass);
    }

    /// Waits until `count` of these requests were refused or held.
    pub(crate) async fn until_met(&self, words: Words, count: usize) {
        testkit::eventually("the request to be on its way", PATIENCE, || async {
            (self.look(words, |rule| rule.met) >= count).then_some(())
        })
        .await;
    }

    /// Waits until the store has answered all held requests.
    pub(crate) async fn until_answered(&self, words: Words) {
        testkit::eventually("the store to answer", PATIENCE, || async {
            self.look(words, |rule| rule.answered == rule.met).then_some(())
        })
        .await;
    }

    fn rule(&self, words: Words, deed: Deed) {
        let mut rules = self.rules.lock().unwrap();
        rules.entry(words).or_insert(Rule { deed, met: 0, answered: 0 }).deed = deed;
        drop(rules);
        self.changed.notify_waiters();
    }

    fn look<R>(&self, words: Words, at: impl FnOnce(&Rule) -> R) -> R {
        at(&self.rules.lock().unwrap()[words])
    }

    /// Returns the rule that applies to a request, if any.
    fn meet(&self, request: &[u8]) -> Option<(Words, Deed)> {
        let mut rules = self.rules.lock().unwrap();
        let (words, rule) =
            rules.iter_mut().find(|(words, rule)| rule.deed != Deed::Pass && has_all(request, words))?;
        rule.met += 1;
        Some((*words, rule.deed))
    }

    async fn carry(&self, mut client: TcpStream) -> io::Result<()> {
        let mut server = TcpStream::connect(self.store).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        loop {
            let request = read(&mut client).await?;
            let held = match self.meet(&request) {
                Some((_, Deed::Refuse)) => {
                    client.write_all(&refusal(&request)).await?;
                    continue;
                }
                Some((words, _)) => {
                    self.until_let_pass(words).await;
                    Some(words)
                }
                None => None,
            };
            server.write_all(&request).await?;
            loop {
                let answer = read(&mut server).await?;
                // Counted before it is forwarded, because the client may have disconnected by now.
                if let Some(words) = held {
                    self.answered(words);
                }
                client.write_all(&answer).await?;
                if !announces_more(&answer) {
                    break;
                }
            }
        }
    }

    async fn until_let_pass(&self, words: Words) {
        loop {
            let changed = self.changed.notified();
            if self.look(words, |rule| rule.deed != Deed::Hold) {
                return;
            }
            changed.await;
        }
    }

    fn answered(&self, words: Words) {
        if let Some(rule) = self.rules.lock().unwrap().get_mut(words) {
            rule.answered += 1;
        }
    }
}

fn has_all(request: &[u8], words: &[&str]) -> bool {
    words.iter().all(|word| request.windows(word.len()).any(|window| window == word.as_bytes()))
}

fn announces_more(answer: &[u8]) -> bool {
    answer.get(12..16) == Some(MESSAGE.to_le_bytes().as_slice())
        && answer.get(16).is_some_and(|flags| flags & MORE_TO_COME != 0)
}

/// Builds the answer to a request that did not reach the store.
fn refusal(request: &[u8]) -> Vec<u8> {
    let says = doc! { "ok": 0.0, "code": WRITE_CONFLICT, "codeName": "WriteConflict", "errmsg": "not now" };
    let says = says.to_vec().unwrap();
    let length = i32::try_from(16 + 4 + 1 + says.len()).unwrap();
    let mut answer = Vec::new();
    answer.extend(length.to_le_bytes());
    answer.extend(0_i32.to_le_bytes());
    answer.extend_from_slice(&request[4..8]);
    answer.extend(MESSAGE.to_le_bytes());
    // No flags, and a section of the kind that is one document.
    answer.extend([0; 5]);
    answer.extend(says);
    answer
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_i32_le().await?;
    let mut message = vec![0; usize::try_from(length).map_err(io::Error::other)?.max(16)];
    message[..4].copy_from_slice(&length.to_le_bytes());
    stream.read_exact(&mut message[4..]).await?;
    Ok(message)
}

//! A broker that keeps what it receives and answers each request with the request's own body, and a client for it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) const PRODUCE: i16 = 0;
pub(crate) const METADATA: i16 = 3;

/// Bytes of a request's header: API key, API version and correlation id.
const HEADER_BYTES: usize = 8;

/// A broker that runs until the test ends.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    answers: watch::Sender<bool>,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (answers, may_answer) = watch::channel(true);
        let kept = Arc::clone(&received);
        telemetry::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, may_answer) = (Arc::clone(&kept), may_answer.clone());
                telemetry::spawn(serve(stream, kept, may_answer));
            }
        });
        Self { address, received, answers }
    }

    /// Holds back all answers, or sends them.
    pub(crate) fn answer(&self, answers: bool) {
        self.answers.send_replace(answers);
    }

    /// Frames that it received, without their length.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        self.received.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, kept: Arc<Mutex<Vec<Vec<u8>>>>, mut may_answer: watch::Receiver<bool>) {
    while let Some(frame) = read_frame(&mut stream).await {
        let answer = frame[HEADER_BYTES - 4..].to_vec();
        kept.lock().unwrap().push(frame);
        if may_answer.wait_for(|may| *may).await.is_err() {
            return;
        }
        let length = u32::try_from(answer.len()).unwrap().to_be_bytes();
        if stream.write_all(&[length.as_slice(), &answer].concat()).await.is_err() {
            return;
        }
    }
}

/// Reads one frame without its length. None: the connection was closed before it.
pub(crate) async fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = stream.read_u32().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

/// A whole request with its length.
pub(crate) fn request(api_key: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap();
    let header = [api_key.to_be_bytes(), 9_i16.to_be_bytes()].concat();
    [length.to_be_bytes().as_slice(), &header, &correlation_id.to_be_bytes(), body].concat()
}

/// The frame that answers such a request.
pub(crate) fn answer(correlation_id: i32, body: &[u8]) -> Vec<u8> {
    [correlation_id.to_be_bytes().as_slice(), body].concat()
}

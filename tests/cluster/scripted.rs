//! A server that answers what no healthy one does. Not a stand-in: where a test is about what a cluster does, a real
//! one is asked.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::{Client, Response};
use socket2::SockRef;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method and path with its query.
    pub(crate) line: String,
    /// By their names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What is done with a request.
pub(crate) enum Reply {
    /// These bytes are written, and the next request is read.
    Bytes(Vec<u8>),
    /// These bytes are written, and the connection is closed.
    Last(Vec<u8>),
    /// These bytes are written, and the connection is reset.
    Reset(Vec<u8>),
    /// Nothing, until the other side closes the connection.
    Hang,
    /// A byte now and then, until the other side has enough.
    Trickle,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::with(status, &[("content-type", "application/json")], body.as_bytes())
    }

    pub(crate) fn with(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        Self::Bytes(response(status, headers, body))
    }
}

fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status} Of\r\ncontent-length: {}\r\n", body.len()).into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) struct Scripted {
    pub(crate) url: String,
    pub(crate) requests: Receiver<Seen>,
    /// Says so whenever a connection was closed by the other side while nothing was sent to it.
    pub(crate) given_up: Receiver<()>,
}

/// Wraps a connection, for TLS.
pub(crate) trait Wrap: Fn(TcpStream) -> io::Result<Box<dyn ReadWrite>> + Send + Sync + 'static {}
impl<F: Fn(TcpStream) -> io::Result<Box<dyn ReadWrite>> + Send + Sync + 'static> Wrap for F {}

pub(crate) trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

impl Scripted {
    pub(crate) fn new(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::wrapped("http", |stream| Ok(Box::new(stream)), reply)
    }

    /// A proxy of a node, which passes on what it does not answer itself.
    pub(crate) fn before(node: &str, reply: impl Fn(&Forward, &Seen) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let forward = Forward::to(node);
        Self::new(move |request| reply(&forward, request).unwrap_or_else(|| Reply::Bytes(forward.bytes(request))))
    }

    pub(crate) fn wrapped(
        scheme: &str,
        wrap: impl Wrap,
        reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let ((seen, requests), (closed, given_up)) = (channel(), channel());
        let (reply, wrap) = (Arc::new(reply), Arc::new(wrap));
        // It ends with the process: it waits for connections that a test may not make.
        thread::Builder::new()
            .name("scripted".to_owned())
            .spawn(move || {
                for stream in listener.incoming() {
                    let (reply, wrap, seen, closed) =
                        (Arc::clone(&reply), Arc::clone(&wrap), seen.clone(), closed.clone());
                    let connection = move || {
                        let stream = stream.unwrap();
                        let socket = stream.try_clone().unwrap();
                        let Ok(stream) = wrap(stream) else { return };
                        let mut stream = BufReader::new(stream);
                        while let Ok(Some(request)) = read(&mut stream) {
                            let _ = seen.send(request.clone());
                            let is_over = match reply(&request) {
                                Reply::Bytes(bytes) => stream.get_mut().write_all(&bytes).is_err(),
                                Reply::Last(bytes) => {
                                    let _ = stream.get_mut().write_all(&bytes);
                                    true
                                }
                                Reply::Reset(bytes) => {
                                    let _ = stream.get_mut().write_all(&bytes);
                                    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
                                    true
                                }
                                Reply::Hang => {
                                    let _ = stream.read(&mut [0]);
                                    let _ = closed.send(());
                                    true
                                }
                                Reply::Trickle => {
                                    let head = b"HTTP/1.1 200 Of\r\ncontent-length: 1000000\r\n\r\n";
                                    let mut result = stream.get_mut().write_all(head);
                                    while result.is_ok() {
                                        thread::park_timeout(Duration::from_millis(20));
                                        result = stream.get_mut().write_all(b" ");
                                    }
                                    let _ = closed.send(());
                                    true
                                }
                            };
                            if is_over {
                                return;
                            }
                        }
                    };
                    thread::Builder::new().name("scripted".to_owned()).spawn(connection).unwrap();
                }
            })
            .unwrap();
        Self { url, requests, given_up }
    }
}

/// Passes requests on to a node.
pub(crate) struct Forward {
    node: String,
    http: Client,
}

impl Forward {
    pub(crate) fn to(node: &str) -> Self {
        let http = Client::builder().timeout(Duration::from_mins(2)).build().unwrap();
        Self { node: node.to_owned(), http }
    }

    /// What the node answers, if it does.
    pub(crate) fn answer(&self, request: &Seen) -> Option<Response> {
        let (method, path) = request.line.split_once(' ').unwrap();
        let method: Method = method.parse().unwrap();
        let mut forwarded = self.http.request(method, format!("{}{path}", self.node)).body(request.body.clone());
        for name in ["content-type", "content-encoding", "accept-encoding"] {
            if let Some(value) = request.headers.get(name) {
                forwarded = forwarded.header(name, value);
            }
        }
        forwarded.send().ok()
    }

    /// The same as bytes: none if it does not.
    pub(crate) fn bytes(&self, request: &Seen) -> Vec<u8> {
        let Some(answer) = self.answer(request) else { return Vec::new() };
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let passed: Vec<_> = ["content-type", "content-encoding"]
            .into_iter()
            .filter_map(|name| Some((name, headers.get(name)?.to_str().unwrap())))
            .collect();
        answer.bytes().map_or_else(|_| Vec::new(), |body| response(status, &passed, &body))
    }
}

fn read(stream: &mut impl BufRead) -> io::Result<Option<Seen>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header)?;
        match header.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(Seen { line, headers, body }))
}

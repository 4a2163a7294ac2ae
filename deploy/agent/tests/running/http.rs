//! What a running agent answers over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Where the agents of these tests are asked; each is in a network namespace of its own.
pub(crate) const ADDRESS: &str = "127.0.0.1:9642";

/// The status and the body of the answer to a request for `path`.
pub(crate) fn ask(path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(ADDRESS).expect("the agent listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
        .expect("it can be asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// What `/metrics` says of the series with this name and these labels, as it is written.
pub(crate) fn metric(series: &str) -> Option<f64> {
    let (status, text) = ask("/metrics");
    assert_eq!(status, 200, "{text}");
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

//! Requests without a client library: all that tests ask of a management port, and of the servers that they start.

use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Status and body of `http://address/path`.
///
/// # Errors
/// When nobody listens there, or the answer is not HTTP, or does not come in time.
pub async fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    send("GET", address, path, "").await
}

/// The same with another method and a body.
pub(crate) async fn send(method: &str, address: SocketAddr, path: &str, body: &str) -> io::Result<(u16, String)> {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    tokio::time::timeout(ANSWER_MAX, ask(address, &request)).await?
}

async fn ask(address: SocketAddr, request: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let not_http = || io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(not_http)?;
    Ok((status, body.to_owned()))
}

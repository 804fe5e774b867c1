//! One GET without a client library: all that tests ask of the management port.

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
    tokio::time::timeout(ANSWER_MAX, ask(address, path)).await?
}

async fn ask(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let not_http = || io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {answer:?}"));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(not_http)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(not_http)?;
    Ok((status, body.to_owned()))
}

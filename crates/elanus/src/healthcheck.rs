//! `elanus healthcheck`: asks the management port of a process, for places that can only run a program to know how a
//! container is. It needs nothing that a small image does not have, and changes nothing.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::{
    io::Write as _,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The management port looks at each store for three seconds at most.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// Longer than any answer with a line per reason.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

const HELP: &str = "\
Examples:
  elanus healthcheck                              the process on this machine, at its usual port
  elanus healthcheck --management 127.0.0.1:9092  one at another port
  HEALTHCHECK CMD [\"elanus\", \"healthcheck\"]       in a Dockerfile, with ELANUS_MANAGEMENT as for the service

Exit codes:
  0  it is ready (with --live: it lives); also when it is degraded, which the output says
  1  it is not, or does not answer; the output says why
  2  the command line is wrong";

/// Ask a process on this machine whether it is ready
///
/// Asks /readyz of the management port, and prints the answer.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct HealthcheckArgs {
    /// Management address of the process, as the process was told; 0.0.0.0 is asked at 127.0.0.1
    #[arg(long, value_name = "IP:PORT", env = "ELANUS_MANAGEMENT", default_value = "127.0.0.1:9091")]
    management: SocketAddr,
    /// Ask /healthz instead: is it alive, also while it starts or stops?
    #[arg(long)]
    live: bool,
}

/// Runs the command.
pub(crate) async fn run(args: &HealthcheckArgs) -> ExitCode {
    let address = reachable(args.management);
    let path = if args.live { "/healthz" } else { "/readyz" };
    let answer = tokio::time::timeout(ANSWER_MAX, get(address, path)).await;
    let (text, code) = match answer {
        Ok(Ok((200, body))) => (body, ExitCode::SUCCESS),
        Ok(Ok((status, body))) => (format!("HTTP {status}\n{body}"), ExitCode::FAILURE),
        Ok(Err(error)) => (format!("{error:#}"), ExitCode::FAILURE),
        Err(_) => {
            (format!("no answer from http://{address}{path} within {} s", ANSWER_MAX.as_secs()), ExitCode::FAILURE)
        }
    };
    // A closed stdout does not change how the process is.
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
    code
}

/// Where a process that listens on `address` is reached from this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

/// Status and body. HTTP/1.0: the end of the connection is the end of the answer.
async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("could not connect to {address}"))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await
        .with_context(|| format!("the answer of {address} broke off; is it a management port?"))?;
    parse(&String::from_utf8_lossy(&answer)).with_context(|| format!("{address} is not a management port"))
}

fn parse(answer: &str) -> Result<(u16, String)> {
    let status = answer.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).map(str::trim);
    let (Some(status), Some((_, body))) = (status, answer.split_once("\r\n\r\n")) else {
        bail!("the answer is not HTTP");
    };
    Ok((status.parse().context("the answer has no status")?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_machine_is_reached_at_loopback() {
        for (listens, asked) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")] {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = "HTTP/1.0 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nno\n";
        assert_eq!(parse(answer).unwrap(), (503, "no\n".to_owned()));
        for bad in
            ["", "HTTP/1.1", "HTTP/1.1 x OK\r\n\r\n", "HTTP/1.1 200 OK", "SSH-2.0-OpenSSH\r\n\r\n", "\u{1}\r\n\r\n"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

//! One HTTP/1.1 request over a new connection, as bytes: also for requests no library would send.

use holdfast_shared::process::connect_unix;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Held requests may wait for half a minute; past that it is a failure.
const REPLY_DEADLINE: Duration = Duration::from_secs(45);

/// A reply, read to the end of the connection.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code; 0 when what came was no HTTP.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Body, with chunk framing removed.
    pub body: String,
}

/// GET of a path.
///
/// # Errors
/// What the connection said.
pub async fn get(address: &str, path: &str, token: Option<&str>) -> io::Result<Reply> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{authorization}\r\n");
    raw(address, request.as_bytes()).await
}

/// POST of a JSON body.
///
/// # Errors
/// What the connection said.
pub async fn post(address: &str, path: &str, token: Option<&str>, body: &str) -> io::Result<Reply> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n{authorization}\r\n{body}",
        body.len()
    );
    raw(address, request.as_bytes()).await
}

/// Any bytes.
///
/// # Errors
/// What the connection said.
pub async fn raw(address: &str, request: &[u8]) -> io::Result<Reply> {
    exchange(TcpStream::connect(address).await?, request).await
}

/// GET of a path on a Unix socket.
///
/// # Errors
/// What the connection said.
pub async fn get_local(socket: &Path, path: &str) -> io::Result<Reply> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    exchange(connect_unix(socket)?, request.as_bytes()).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> io::Result<Reply> {
    stream.write_all(request).await?;
    let mut bytes = Vec::new();
    match tokio::time::timeout(REPLY_DEADLINE, stream.read_to_end(&mut bytes)).await {
        Ok(read) => {
            read?;
        }
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no end of the reply")),
    }
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

fn parse(text: &str) -> Reply {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Reply { status, head: head.to_owned(), body }
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        if size == 0 || rest.len() < size {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

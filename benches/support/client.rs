//! A client on one kept connection that costs next to nothing: what is measured is the server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// One connection to a server.
pub struct Client {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Client {
    /// Connects to `http://<address>:<port>`.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn connect(url: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(url.trim_start_matches("http://"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(256 * 1024, stream), body: Vec::new() })
    }

    /// Asks for a path; the status, and the body.
    ///
    /// # Panics
    /// If the connection breaks, or the answer has no `Content-Length`.
    pub fn get(&mut self, path: &str, token: Option<&str>) -> (u16, &[u8]) {
        let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}\r\n");
        self.stream.get_mut().write_all(request.as_bytes()).expect("the server reads");
        let mut line = String::new();
        let mut next = |stream: &mut BufReader<TcpStream>| {
            line.clear();
            stream.read_line(&mut line).expect("the server answers");
            line.trim_end().to_ascii_lowercase()
        };
        let status = next(&mut self.stream).split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut length = None;
        loop {
            let header = next(&mut self.stream);
            if header.is_empty() {
                break;
            }
            length = length.or_else(|| header.strip_prefix("content-length:")?.trim().parse().ok());
        }
        self.body.resize(length.expect("a Content-Length"), 0);
        self.stream.read_exact(&mut self.body).expect("the whole body");
        (status, &self.body)
    }
}

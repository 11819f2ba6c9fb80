//! A client that can say anything, and reads the answer strictly.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::http1::{Broken, Framing, Head, Pipe};

/// One connection to the proxy.
#[derive(Debug)]
pub struct Client {
    /// The connection itself.
    pub pipe: Pipe,
}

/// A whole answer, or as much of one as came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Its head.
    pub head: Head,
    /// The body that came.
    pub body: Vec<u8>,
    /// The trailer, if the body ended as it should.
    pub end: Result<Head, Broken>,
}

impl Answer {
    /// The value of a field, or nothing.
    pub fn field(&self, name: &str) -> String {
        self.head.field(name).unwrap_or_default()
    }

    /// The version that answered.
    pub fn version(&self) -> String {
        self.field("x-model-version")
    }

    /// Whether the body ended as its head said it would.
    pub fn is_whole(&self) -> bool {
        self.end.is_ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// A connection to that address.
    pub fn new(address: SocketAddr) -> Self {
        Self::try_new(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// A connection, if somebody listens.
    pub fn try_new(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        Ok(Self { pipe: Pipe::new(stream, PATIENCE) })
    }

    /// Over a connection that stands already.
    pub fn over(stream: TcpStream) -> Self {
        Self { pipe: Pipe::new(stream, PATIENCE) }
    }

    /// Sends bytes as they are; what became of them shows in the answer.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.pipe.send(bytes.as_ref());
        self
    }

    /// The next answer, informational ones left out.
    pub fn answer(&mut self) -> Result<Answer, Broken> {
        self.answer_to("GET")
    }

    /// The next answer to a request of that method.
    pub fn answer_to(&mut self, method: &str) -> Result<Answer, Broken> {
        let head = loop {
            let head = self.pipe.head()?;
            if !head.word(1).starts_with('1') || head.word(1) == "101" {
                break head;
            }
        };
        let status = status_of(&head)?;
        let without = match status {
            101 | 204 | 304 => Framing::Length(0),
            _ => Framing::UntilClose,
        };
        let framing = head.framing(without).map_err(Broken::Garbage)?;
        let bodiless = method == "HEAD" || without != Framing::UntilClose;
        let framing = if bodiless { Framing::Length(0) } else { framing };
        let (body, end) = self.pipe.body(framing);
        Ok(Answer { status, head, body, end })
    }

    /// The next head alone, informational or not.
    pub fn head(&mut self) -> Result<(u16, Head), Broken> {
        let head = self.pipe.head()?;
        Ok((status_of(&head)?, head))
    }

    /// Sends one request and takes its answer, which must come whole.
    pub fn ask(&mut self, request: &Request) -> Answer {
        self.send(request.bytes());
        let answer = self.answer_to(&request.method);
        answer.unwrap_or_else(|broken| {
            panic!("{} {}: {broken:?}", request.method, request.target)
        })
    }

    /// Whether the proxy closes within that time; bytes that come before are let pass.
    pub fn is_closed(&mut self, within: Duration) -> bool {
        self.pipe.stream.set_read_timeout(Some(within)).unwrap();
        let end = loop {
            if let Err(broken) = self.pipe.some() {
                break broken;
            }
        };
        self.pipe.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        matches!(end, Broken::Closed | Broken::Reset)
    }
}

fn status_of(head: &Head) -> Result<u16, Broken> {
    let right = head.word(0) == "HTTP/1.1" && head.word(1).len() == 3;
    let status = head.word(1).parse().ok().filter(|_| right);
    status.ok_or_else(|| Broken::Garbage(head.first.clone()))
}

/// A request that is written as it should be.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    host: String,
    fields: String,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.into(),
            target: target.into(),
            host: "models.test".into(),
            fields: String::new(),
            body: None,
        }
    }

    /// `GET` that target.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// An inference that may be sent again: a JSON body to [`INFER`].
    pub fn infer(body: impl AsRef<[u8]>) -> Self {
        Self::post(INFER, body).field("content-type", "application/json")
    }

    /// `POST` that body.
    pub fn post(target: &str, body: impl AsRef<[u8]>) -> Self {
        Self { body: Some(body.as_ref().to_vec()), ..Self::new("POST", target) }
    }

    /// One more field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields += &format!("{name}: {value}\r\n");
        self
    }

    /// The same with another method.
    pub fn named(self, method: &str) -> Self {
        Self { method: method.into(), ..self }
    }

    /// The same below that path.
    pub fn below(self, path: &str) -> Self {
        Self { target: format!("{path}{}", self.target), ..self }
    }

    /// Its method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Another host.
    pub fn host(self, host: &str) -> Self {
        Self { host: host.into(), ..self }
    }

    /// How it is written.
    pub fn bytes(&self) -> Vec<u8> {
        let length = self
            .body
            .as_ref()
            .map_or(String::new(), |body| format!("content-length: {}\r\n", body.len()));
        let mut bytes = format!(
            "{} {} HTTP/1.1\r\nhost: {}\r\n{}{length}\r\n",
            self.method, self.target, self.host, self.fields
        )
        .into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Its answer over a connection of its own.
    pub fn ask(&self, address: SocketAddr) -> Answer {
        Client::new(address).ask(self)
    }
}

/// A path whose requests may be sent again whatever their method.
pub const INFER: &str = "/v2/models/iris/infer";
/// How long a client waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

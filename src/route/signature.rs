//! The few facts of a request that routing may look at.

/// Reads a request header by its lower-case name; `None` when it is absent, repeated or not
/// text.
pub trait HeaderLookup {
    /// The one value of that header.
    fn only(&self, name: &str) -> Option<&str>;
}

/// What routing may know of a request.
#[derive(Debug)]
pub struct Signature<'a, H> {
    /// Host without port, as sent; empty when an HTTP/1.0 request has none.
    pub host: &'a str,
    /// The path that will be sent on, without query.
    pub path: &'a str,
    /// The request's headers.
    pub headers: &'a H,
    /// A uniformly random number, independent of all that the request says or does.
    pub coin: u64,
}

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
    /// A uniformly random number, independent of all that the request says or does; or the
    /// one of its session ([`crate::route::session_coin`]).
    pub coin: u64,
    /// The coin is its session's.
    pub sticky: bool,
    /// The model that it names.
    pub model: Model<'a>,
    /// The version of a model that it names, in its path or message.
    pub version: Option<&'a str>,
    /// The version that a trusted caller demands.
    pub pin: Option<&'a str>,
}

/// The model that a request names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model<'a> {
    /// It names none.
    #[default]
    None,
    /// Its body may name one and has not been read.
    Unread,
    /// This one.
    Named(&'a str),
}

impl<'a, H> Signature<'a, H> {
    /// A request that names no model and no version and belongs to no session.
    #[must_use]
    pub fn new(host: &'a str, path: &'a str, headers: &'a H, coin: u64) -> Self {
        let (model, version, pin) = (Model::None, None, None);
        Self { host, path, headers, coin, sticky: false, model, version, pin }
    }
}

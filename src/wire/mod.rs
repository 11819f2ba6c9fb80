//! Bytes on connections: HTTP/1.1 and the body types that every path shares.

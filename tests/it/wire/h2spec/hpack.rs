//! Header blocks that cannot be decoded: h2spec's suite `hpack`.

use super::cases::{Case, Then, case};
use super::conn::{COMPRESSION, Conn, common};
use crate::support::h2::END_STREAM;

/// The cases.
pub const CASES: &[Case] = &[
    case("hpack/2.3.3 an index beyond both tables", |c| ends(c, b"\xfe"), BROKEN),
    case("hpack/2.3.3 a name beyond both tables", |c| ends(c, b"\x7e\x04test"), BROKEN),
    case("hpack/4.2 a size update at the end", |c| ends(c, b"\x21"), BROKEN),
    case(
        "hpack/5.2 padding of more than seven bits",
        |c| ends(c, b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"),
        BROKEN,
    ),
    case(
        "hpack/5.2 padding of zeros",
        |c| ends(c, b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"),
        BROKEN,
    ),
    case(
        "hpack/5.2 the end of string within a string",
        |c| ends(c, b"\x00\x85\xf2\xb2\x4a\x87\xff\xff\xff\xfd\x25\x42\x7f"),
        BROKEN,
    ),
    case("hpack/6.1 index zero", |c| ends(c, b"\x80"), BROKEN),
    case(
        "hpack/6.3 a table larger than was allowed",
        |c| {
            let block = [b"\x3f\xe2\x1f", &common("GET", &[])[..]].concat();
            c.headers(END_STREAM, 1, &block);
        },
        BROKEN,
    ),
    case("hpack an integer without end", |c| ends(c, &[0xff; 40]), BROKEN),
    case(
        "hpack a string longer than the block",
        |c| ends(c, b"\x00\x7f\xff\x01x"),
        BROKEN,
    ),
];

fn ends(c: &mut Conn, bytes: &[u8]) {
    c.headers(END_STREAM, 1, &[&common("GET", &[]), bytes].concat());
}

const BROKEN: Then = Then::Connection(&[COMPRESSION]);

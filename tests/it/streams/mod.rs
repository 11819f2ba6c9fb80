//! Streams of events: every way in which one can fail after its 200 counts against its
//! version, a failed start is answered by stable without a trace, a stream that cannot be
//! rescued any more ends with its dialect's error, and all the while each chunk leaves when
//! it came. (issue 5, item 4; rows 24, 26, 42, 43, 50)

mod endings;
mod faults;
mod openings;
mod pace;
mod passing;

//! The outbox with sinks that do as they are told: who gets what and when (`delivery`), what
//! survives (`survival`), and lines of the audit log (`lines`). Time is the runtime's and
//! passes at once; the store is a real file.

mod delivery;
mod fake;
mod lines;
mod survival;

//! Every sink against a server that speaks its product's documented shapes.
//!
//! [`server`] is the server: it tells what it was asked and answers as it is told. The
//! others are one test file for each kind of product, and `failures` is what may go wrong
//! with any of them.

mod endings;
mod failures;
mod people;
mod server;
mod stores;
mod tickets;

//! What inference protocols say inside requests and answers: which model a request names,
//! how a stream reports content, its end and its failure, and how an error is worded so that
//! the caller's client understands it.
//!
//! Everything here looks at bytes that are on their way through and keeps at most a bounded
//! part of them; nothing holds a body up and nothing changes one. An answer is looked at by
//! a [`StreamScan`]: bytes in, [`Progress`] out, and at the end a class. Its parts are pure
//! functions over bytes ([`Events`], [`error_object`]), so that they can be fuzzed alone.

mod anthropic;
mod error;
mod failing;
mod farewell;
mod generate;
mod grpc;
mod inflate;
mod json;
mod model;
mod model_body;
mod openai;
mod pick;
mod scan;
mod sse;
mod state;
mod whole;

pub use error::{OwnError, Worded, grpc_status, object, word};
pub use farewell::farewell;
pub use grpc::{GRPC_NAME_BYTES, GrpcModel, grpc_model, is_grpc, is_unary_inference};
pub use model::{PathNames, path_names};
pub use model_body::{BODY_NAME_BYTES, BodyModel, MODEL_NAME_BYTES, ModelScan};
pub use pick::pick;
pub use scan::{AnswerHead, Progress, StreamScan};
pub use sse::{EVENT_MAX, Event, Events};
pub use state::{Finish, Usage};
pub use whole::{WHOLE_MAX, error_object};

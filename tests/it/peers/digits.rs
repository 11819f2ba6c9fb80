//! MLServer with a model of digits in two versions, trained when the environment is made.

use std::path::Path;

use crate::support::client::Request;
use crate::support::peers::{Peer, Python, done};
use crate::support::wait;

/// The environment with the models.
pub fn set_up() -> Python {
    Python::with("mlserver", &["train.py"], |python| {
        let mut train = python.script("train.py");
        done("the training", train.arg(python.place().join("models")));
    })
}

/// One MLServer with one version of the model.
pub struct MlServer(Peer);

impl MlServer {
    /// Starts it and waits until it has loaded its model. It fails while there is a file at
    /// `cue`.
    pub fn start(python: &Python, version: &str, cue: &Path) -> Self {
        let mut command = python.script("serve.py");
        command
            .args(["start", "."])
            .current_dir(python.place().join("models").join(version))
            .env("PYTHONPATH", python.source(""))
            .env("DIGITS_CUE", cue);
        let server = Self(Peer::start(&mut command));
        let address = server.rest();
        let address = address.strip_prefix("http://").unwrap().parse().unwrap();
        wait::eventually("MLServer has loaded its model", MINUTES, || {
            let answer = Request::get("/v2/models/digits/ready").ask(address);
            (answer.status == 200).then_some(())
        });
        server
    }

    /// Where its REST API is, from its own log.
    pub fn rest(&self) -> String {
        self.0.says("Uvicorn running on ")
    }

    /// Where its gRPC API is.
    pub fn grpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.says("gRPC on port "))
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.0.kill();
    }
}

const MINUTES: std::time::Duration = std::time::Duration::from_secs(180);

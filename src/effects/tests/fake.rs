//! Sinks that do as they are told, and an outbox before them in a directory of its own.
//! Apart because every test of the outbox begins with them.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

use crate::clock;
use crate::effects::outbox::Outbox;
use crate::effects::queue::{Outlet, Way};
use crate::effects::settings::Filter;
use crate::effects::sink::{
    BoxFuture, Earlier, Repeats, Shipped, Shipper, Sink, SinkError, Taken,
};
use crate::effects::view::SinkView;
use crate::vocab::notice::{Delivery, Notice, Severity, State, Topic};

/// A directory that goes when the test ends.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        let name =
            format!("switchback-outbox-{}-{}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What a sink was given, and what it says to it.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) given: Vec<String>,
    pub(super) lines: Vec<Vec<String>>,
    pub(super) says: VecDeque<SinkError>,
    pub(super) shipped: VecDeque<Shipped>,
    /// What is said once `says` is used up; `None`: taken.
    pub(super) always: Option<SinkError>,
    pub(super) at: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Fake {
    pub(super) script: Arc<Mutex<Script>>,
    pub(super) repeats: Option<Repeats>,
}

impl Fake {
    pub(super) fn failing(error: SinkError) -> Self {
        let fake = Self::default();
        fake.script.lock().unwrap().always = Some(error);
        fake
    }

    pub(super) fn says(&self, error: SinkError) {
        self.script.lock().unwrap().says.push_back(error);
    }

    pub(super) fn always(&self, error: Option<SinkError>) {
        self.script.lock().unwrap().always = error;
    }

    pub(super) fn given(&self) -> Vec<String> {
        self.script.lock().unwrap().given.clone()
    }

    fn next(&self) -> Result<(), SinkError> {
        let mut script = self.script.lock().unwrap();
        script.at.push(clock::wall().0);
        match script.says.pop_front().or_else(|| script.always.clone()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    pub(super) fn outlet(&self, name: &str) -> Outlet {
        let filter = Filter { topics: Vec::new(), least: Severity::Info };
        self.filtered(name, filter)
    }

    pub(super) fn filtered(&self, name: &str, filter: Filter) -> Outlet {
        let way = Way::Notices(filter, Arc::new(self.clone()));
        Outlet { name: name.to_owned(), type_name: "fake", way }
    }

    pub(super) fn store(&self, name: &str) -> Outlet {
        let way = Way::Lines(Arc::new(self.clone()));
        Outlet { name: name.to_owned(), type_name: "fake", way }
    }
}

impl Sink for Fake {
    fn deliver<'a>(
        &'a self,
        notice: &'a Notice,
        earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<Taken, SinkError>> {
        Box::pin(async move {
            self.next()?;
            let known = earlier.reference.map_or("", |_| "+");
            self.script.lock().unwrap().given.push(format!("{}{known}", notice.key));
            let reference = Some(format!("ticket of {}", notice.incident));
            Ok(Taken { reference, recipients: vec!["ops".to_owned()] })
        })
    }

    fn repeats(&self) -> Option<Repeats> {
        self.repeats
    }
}

impl Shipper for Fake {
    fn ship<'a>(
        &'a self,
        lines: &'a [String],
    ) -> BoxFuture<'a, Result<Shipped, SinkError>> {
        Box::pin(async move {
            let outcome = self.next();
            let mut script = self.script.lock().unwrap();
            script.lines.push(lines.to_vec());
            outcome.map(|()| script.shipped.pop_front().unwrap_or_default())
        })
    }
}

pub(super) fn notice(key: &str, incident: &str, state: State) -> Notice {
    Notice {
        key: key.to_owned(),
        incident: incident.to_owned(),
        topic: Topic::RollbackStarted,
        severity: Severity::High,
        state,
        at: clock::wall(),
        route: None,
        version: None,
        to_version: None,
        summary: format!("summary of {key}"),
        details: String::new(),
        record: json!({}),
        audit_head: String::new(),
    }
}

pub(super) fn event(key: &str) -> Notice {
    notice(key, &format!("incident of {key}"), State::Event)
}

pub(super) fn down() -> SinkError {
    SinkError::again("it is down")
}

pub(super) type Told = mpsc::Receiver<Delivery>;

pub(super) fn begin(scratch: &Scratch, outlets: Vec<Outlet>) -> (Outbox, Told) {
    Outbox::begin(outlets, &scratch.0).unwrap()
}

/// Waits until a sink's view is so.
pub(super) async fn until(
    outbox: &Outbox,
    sink: usize,
    is_so: impl Fn(&SinkView) -> bool,
) -> SinkView {
    let mut looks = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..200_000 {
        looks.tick().await;
        let view = outbox.view();
        if is_so(&view.sinks[sink]) {
            return view.sinks[sink].clone();
        }
    }
    panic!("it never was so: {:#?}", outbox.view());
}

pub(super) fn is_idle(view: &SinkView) -> bool {
    view.waiting == 0
}

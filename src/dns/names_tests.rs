//! Names looked up at a name server of the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::Names;
use crate::dns::settings::Settings;
use crate::tasks;

/// Name and kind (1 or 28) with the bytes of the answer: its RCODE and its addresses.
type Zone = Arc<Mutex<BTreeMap<(String, u8), (u8, Vec<Vec<u8>>)>>>;

/// A server for these names; all others do not exist.
async fn server(zone: &Zone) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (at, zone) = (socket.local_addr().unwrap(), Arc::clone(zone));
    let _serving = tasks::shared("test name server", async move {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
            let asked = &bytes[..length];
            let (mut name, mut at) = (Vec::new(), 12);
            while asked[at] > 0 {
                let end = at + 1 + usize::from(asked[at]);
                name.push(String::from_utf8(asked[at + 1..end].to_vec()).unwrap());
                at = end;
            }
            let kind = asked[at + 2];
            let known = zone.lock().unwrap().get(&(name.join("."), kind)).cloned();
            let (rcode, rows) = known.unwrap_or((3, Vec::new()));
            let mut answer = asked[..at + 5].to_vec();
            answer[2..4].copy_from_slice(&[0x81, 0x80 | rcode]);
            answer[7] = u8::try_from(rows.len()).unwrap();
            answer[11] = 0;
            for row in rows {
                answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0]);
                answer.push(u8::try_from(row.len()).unwrap());
                answer.extend(row);
            }
            let _sent = socket.send_to(&answer, from).await;
        }
    });
    at
}

fn settings(server: SocketAddr) -> Settings {
    Settings {
        servers: vec![server],
        timeout: Duration::from_millis(200),
        min_ttl: Duration::from_millis(50),
        ..Settings::default()
    }
}

fn set(zone: &Zone, name: &str, rcode: u8, addresses: &[[u8; 4]]) {
    let rows = addresses.iter().map(|ip| ip.to_vec()).collect();
    zone.lock().unwrap().insert((name.to_owned(), 1), (rcode, rows));
}

async fn until(names: &Names, name: &str, addresses: &[&str]) {
    let seen = async {
        loop {
            let known = names.known(name);
            let shown: Vec<String> = known
                .iter()
                .flat_map(|known| known.addresses.iter().map(ToString::to_string))
                .collect();
            if shown == addresses {
                return;
            }
            names.changed().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap();
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_name_is_followed_as_its_answers_change() {
    let zone = Zone::default();
    set(&zone, "models.svc", 0, &[[10, 0, 0, 1]]);
    let names = Names::start(settings(server(&zone).await));
    let wanted = BTreeSet::from(["models.svc", "localhost", "nobody"]);
    names.prepare(&wanted, LONG).await;
    names.follow(&wanted);
    assert_eq!(names.known("models.svc").unwrap().addresses.len(), 1);
    assert_eq!(names.known("localhost").unwrap().addresses[0].to_string(), "127.0.0.1");
    let nobody = names.known("nobody").unwrap();
    let (_, why) = nobody.failing.clone().unwrap();
    assert_eq!(why, "there is no address for nobody");
    set(&zone, "models.svc", 0, &[[10, 0, 0, 3], [10, 0, 0, 2]]);
    until(&names, "models.svc", &["10.0.0.2", "10.0.0.3"]).await;
    set(&zone, "nobody", 0, &[[10, 0, 0, 9]]);
    until(&names, "nobody", &["10.0.0.9"]).await;
    // What is no longer followed is forgotten after a while, and not asked for by `all`.
    names.follow(&BTreeSet::from(["nobody"]));
    assert_eq!(names.all().len(), 1);
}

#[tokio::test]
async fn the_search_domains_are_walked_and_the_one_that_is_meant_stays_meant() {
    let zone = Zone::default();
    set(&zone, "models.prod", 0, &[[10, 0, 0, 1]]);
    set(&zone, "models.corp", 0, &[[6, 6, 6, 6]]);
    let search = Some(vec!["dev".to_owned(), "prod".to_owned(), "corp".to_owned()]);
    let settings = Settings { search, ..settings(server(&zone).await) };
    let names = Names::start(settings);
    let wanted = BTreeSet::from(["models"]);
    names.follow(&wanted);
    names.prepare(&wanted, LONG).await;
    until(&names, "models", &["10.0.0.1"]).await;
    // It is gone for a moment: what somebody else has under a later domain is not taken.
    set(&zone, "models.prod", 3, &[]);
    let failing = async {
        while names.known("models").unwrap().failing.is_none() {
            names.changed().await;
        }
    };
    tokio::time::timeout(LONG, failing).await.unwrap();
    until(&names, "models", &["10.0.0.1"]).await;
    // An earlier domain is what is meant as soon as it has the name.
    set(&zone, "models.dev", 0, &[[10, 0, 0, 7]]);
    until(&names, "models", &["10.0.0.7"]).await;
}

#[tokio::test]
async fn a_server_that_fails_is_passed_over_and_new_settings_hold_at_once() {
    let zone = Zone::default();
    set(&zone, "models", 2, &[]);
    let bad = server(&zone).await;
    let names = Names::start(settings(bad));
    let wanted = BTreeSet::from(["models"]);
    names.follow(&wanted);
    names.prepare(&wanted, LONG).await;
    let (_, why) = names.known("models").unwrap().failing.clone().unwrap();
    assert_eq!(why, format!("name server {bad} answers SERVFAIL"));
    let other = Zone::default();
    set(&other, "models", 0, &[[10, 0, 0, 1]]);
    let good = server(&other).await;
    names.configure(&Settings { servers: vec![bad, good], ..settings(good) });
    until(&names, "models", &["10.0.0.1"]).await;
}

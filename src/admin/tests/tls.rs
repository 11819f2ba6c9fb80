//! The API behind a certificate: names, tokens, and operators who are certificates.

use super::support::{Side, status};
use crate::admin::AdminClient;
use crate::admin::settings::{OperatorRole, OperatorSettings, Settings};
use crate::admin::wire::{Done, Share, StatusView, WeightOrder};
use crate::tls::{Authority, ClientSettings, Fingerprint, MinVersion, ServerSettings};

struct Behind {
    authority: Authority,
    side: Side,
}

impl Behind {
    fn new(asks: bool, operators: Vec<OperatorSettings>, authority: Authority) -> Self {
        let (cert_file, key_file) =
            authority.issue("server", &["localhost", "127.0.0.1"]);
        let client_ca_file = asks.then(|| authority.file());
        let min_version = MinVersion::Tls13;
        let tls =
            Some(ServerSettings { cert_file, key_file, client_ca_file, min_version });
        let loopback = ([127, 0, 0, 1], 0).into();
        let side = Side::serve(Settings { tls, operators, ..Settings::on(loopback) });
        Self { authority, side }
    }

    fn client(&self, token: Option<&str>, identity: Option<&str>) -> AdminClient {
        let url = format!("https://localhost:{}", self.side.admin.port());
        let (cert_file, key_file) =
            identity.map(|name| self.authority.issue(name, &[name])).unzip();
        let ca_file = Some(self.authority.file());
        let certificates = ClientSettings { ca_file, cert_file, key_file };
        AdminClient::new(&url, token).unwrap().with_certificates(&certificates).unwrap()
    }
}

fn order() -> WeightOrder {
    WeightOrder {
        version: "v2.5".to_owned(),
        weight: Share::Number(5.0),
        reason: "slow".to_owned(),
    }
}

const WEIGHT: &str = "/api/v1/routes/iris/weight";

#[tokio::test]
async fn a_certificate_is_believed_by_who_knows_its_authority() {
    let behind = Behind::new(false, Vec::new(), Authority::new());
    let client = behind.client(None, None);
    assert_eq!(client.get::<StatusView>("/api/v1/status").await.unwrap(), status());

    let url = format!("https://localhost:{}", behind.side.admin.port());
    let stranger = AdminClient::new(&url, None).unwrap();
    let said = stranger.get::<StatusView>("/api/v1/status").await.unwrap_err();
    let why = std::error::Error::source(&said).unwrap().to_string();
    assert!(said.is_unreachable() && why.contains("UnknownIssuer"), "{why}");

    let plain = AdminClient::new(&url.replace("https", "http"), None).unwrap();
    assert!(
        plain.get::<StatusView>("/api/v1/status").await.unwrap_err().is_unreachable()
    );
    let odd = AdminClient::new("http://localhost:1", None).unwrap();
    let said = odd.with_certificates(&ClientSettings::default()).unwrap_err().to_string();
    assert!(said.contains("begins with https://"), "{said}");
}

#[tokio::test]
async fn an_operator_is_named_by_a_certificate_or_a_token() {
    let authority = Authority::new();
    let (alice, _) = authority.issue("alice", &["alice"]);
    let pem = std::fs::read(&alice).unwrap();
    let fingerprint = fingerprint(&pem);
    let operators = vec![
        OperatorSettings {
            name: "alice".to_owned(),
            token: None,
            certificate: Some(fingerprint),
            role: OperatorRole::Operator,
        },
        OperatorSettings {
            name: "bob".to_owned(),
            token: Some("bob-token".to_owned()),
            certificate: None,
            role: OperatorRole::Operator,
        },
    ];
    let key = authority.file().with_file_name("alice.key");
    let behind = Behind::new(true, operators, authority);
    let as_alice = |token: Option<&str>| {
        let url = format!("https://localhost:{}", behind.side.admin.port());
        let certificates = ClientSettings {
            ca_file: Some(behind.authority.file()),
            cert_file: Some(alice.clone()),
            key_file: Some(key.clone()),
        };
        AdminClient::new(&url, token).unwrap().with_certificates(&certificates).unwrap()
    };
    let done: Done = as_alice(None).post(WEIGHT, &order()).await.unwrap();
    assert_eq!(done.operator, "alice");
    let done: Done = as_alice(Some("bob-token")).post(WEIGHT, &order()).await.unwrap();
    assert_eq!(done.operator, "bob");
    let said = as_alice(Some("no-token")).post::<_, Done>(WEIGHT, &order()).await;
    assert_eq!(said.unwrap_err().to_string(), "no operator has this token (HTTP 401)");
    let other = behind.client(None, Some("carol"));
    let said = other.post::<_, Done>(WEIGHT, &order()).await.unwrap_err().to_string();
    assert!(said.starts_with("this needs the token of an operator"), "{said}");
    let nobody = behind.client(Some("bob-token"), None);
    let said = nobody.post::<_, Done>(WEIGHT, &order()).await.unwrap_err();
    assert!(said.is_unreachable(), "{said}");
    assert_eq!(
        behind.side.orders(),
        ["weight iris v2.5 5% alice: slow", "weight iris v2.5 5% bob: slow"]
    );
}

/// As openssl would print it.
fn fingerprint(pem: &[u8]) -> Fingerprint {
    let text = std::str::from_utf8(pem).unwrap();
    let base64: String = text.lines().filter(|line| !line.starts_with("---")).collect();
    Fingerprint::of(&decode(&base64))
}

/// RFC 4648, section 4.
fn decode(base64: &str) -> Vec<u8> {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for c in base64.trim_end_matches('=').chars() {
        held = (held << 6) | u32::try_from(digits.find(c).unwrap()).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).unwrap());
        }
    }
    bytes
}

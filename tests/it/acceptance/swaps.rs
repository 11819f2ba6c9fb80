//! Given clients at work, when the routing table is swapped 10,000 times, then no request
//! fails or waits, and each swap is in force.

use std::time::Duration;

use crate::support::client::Client;
use crate::support::config::{Config, NO_RULES};
use crate::support::load::Load;
use crate::support::model_server::ModelServer;
use crate::support::street::Street;

#[test]
fn ten_thousand_swaps_under_load_fail_no_request() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "10%", &canary).workers(2).route_with(NO_RULES);
    let street = Street::open(&config);
    let before = street.status()["generation"].as_u64().unwrap();
    let load = Load::new(street.http).clients(4).start();
    let admin = street.admin;
    let operator = move |number: u64| {
        let mut line = Client::new(admin);
        for turn in 0..SWAPS / OPERATORS {
            // Never the weight that is in force already.
            let weight = 10.0 + ((turn * OPERATORS + number) % 80) as f64;
            let answer = line.ask(&Street::weight_order("iris", "v2", weight));
            assert_eq!(answer.status, 200, "order {turn}: {}", answer.text());
        }
    };
    let operators: Vec<_> = (0..OPERATORS)
        .map(|number| std::thread::spawn(move || operator(number)))
        .collect();
    for operator in operators {
        operator.join().unwrap();
    }
    let count = load.stop();

    count.is_clean();
    assert!(count.all() > 1_000, "only {} requests met the swaps", count.all());
    assert!(count.longest < Duration::from_secs(2), "one waited {:?}", count.longest);
    let after = street.status()["generation"].as_u64().unwrap();
    assert!(after >= before + SWAPS, "{} tables of {SWAPS}", after - before);
    let share = street.metrics().sum("switchback_version_weight", &[("version", "v2")]);
    let weight = street.version("v2")["weight"].as_f64().unwrap();
    assert!(weight >= 10.0 && (share - weight).abs() < 0.01, "{share} is not {weight}");
}

#[test]
fn a_weight_takes_effect_with_the_answer_to_its_order() {
    let (stable, canary) = (ModelServer::good("v1"), ModelServer::good("v2"));
    let config = Config::pair(&stable, "0%", &canary).workers(2).route_with(NO_RULES);
    let street = Street::open(&config);
    let mut line = Client::new(street.admin);
    for (weight, version) in [(100.0, "v2"), (0.0, "v1"), (100.0, "v2")] {
        let order = Street::weight_order("iris", "v2", weight);
        assert_eq!(line.ask(&order).status, 200);
        let count = Load::new(street.http).requests(200).run();
        count.is_clean();
        assert_eq!(count.of(version), 200, "at {weight} %: {:?}", count.good);
    }
    let wrong = [("iris", "v9", 10.0), ("nowhere", "v2", 10.0), ("iris", "v2", 130.0)];
    for (route, version, weight) in wrong {
        let answer = line.ask(&Street::weight_order(route, version, weight));
        assert!((400..500).contains(&answer.status), "{route} {version} {weight}");
    }
    assert_eq!(street.version("v2")["weight"], 100.0);
}

const SWAPS: u64 = 10_000;
const OPERATORS: u64 = 16;

//! What a configuration means for requests by what they say: which belong to a route, and
//! which choose their own version by a header, a pin or a session. Apart from the rest of
//! the description for its length.

use super::describe::Teller;
use super::units::show_span;
use crate::control::RouteSettings;
use crate::vocab::policy::Affinity;

impl Teller<'_> {
    pub(super) fn matcher(&mut self, path: &str, route: &RouteSettings) {
        let matcher = &route.matcher;
        let hosts = if matcher.hosts.is_empty() {
            "any host".to_owned()
        } else {
            self.say(&format!("{path}.hosts"), matcher.hosts.join(", "))
        };
        let prefix = self.say(&format!("{path}.pathPrefix"), &matcher.path_prefix);
        let headers: Vec<String> = matcher
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let headers = if headers.is_empty() {
            String::new()
        } else {
            let shown = self.say(&format!("{path}.headers"), headers.join(", "));
            format!(", headers {shown}")
        };
        let model = matcher.model.as_ref().map_or_else(String::new, |model| {
            let model = self.say(&format!("{path}.model"), model);
            format!(", that name the model {model}")
        });
        let what = format!("{hosts}, path {prefix}{headers}{model}");
        self.line(1, format!("takes requests for {what}"));
    }

    pub(super) fn overrides(&mut self, path: &str, route: &RouteSettings) {
        for (place, (header, value, to)) in route.overrides.iter().enumerate() {
            let Some(version) = route.versions.get(*to) else { continue };
            let path = format!("{path}.overrides[{place}]");
            let name = self.say(&format!("{path}.header"), header);
            let value = self.say(&format!("{path}.value"), value);
            let to = self.say(&format!("{path}.to"), &version.name);
            self.line(1, format!("requests with {name}: {value} go to {to}"));
        }
    }

    pub(super) fn choice(&mut self, path: &str, route: &RouteSettings) {
        if let Some(pin) = &route.policy.pin {
            let path = format!("{path}.pin");
            let header = self.say(&format!("{path}.header"), &pin.header);
            let names: Vec<&str> = pin.allowed.iter().map(|it| it.as_str()).collect();
            let names = self.say(&format!("{path}.allowed"), names.join(", "));
            let out = if pin.refuse { "is refused with 409" } else { "goes to stable" };
            let out = self.say(&format!("{path}.quarantined"), out);
            self.line(
                1,
                format!(
                    "trusted callers may demand {names} by {header}; a demand for what takes no requests {out}"
                ),
            );
        }
        let path = format!("{path}.sessionAffinity");
        let text = match &route.policy.affinity {
            None => return,
            Some(Affinity::Header(name)) => {
                let name = self.say(&format!("{path}.name"), name);
                format!("a session, told by the header {name}, stays with its version")
            }
            Some(Affinity::Cookie { name, max_age }) => {
                let name = self.say(&format!("{path}.name"), name);
                let age = self.say(&format!("{path}.maxAge"), show_span(*max_age));
                format!(
                    "a session, told by the cookie {name} for {age}, stays with its version"
                )
            }
        };
        self.line(1, text);
        self.line(2, "one request of it in a minute counts as evidence");
    }
}

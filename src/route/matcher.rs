//! Which requests belong to a route: host, path prefix, headers and model, most specific
//! first.

use super::signature::{HeaderLookup, Model, Signature};

/// What a request must look like to belong to a route. Empty parts match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMatch {
    /// Host names without port, lower case; `*.example.com` matches one or more labels.
    pub hosts: Vec<String>,
    /// The path must be this, or go on after it at a `/`.
    pub path_prefix: String,
    /// Header names (lower case) and the exact values they must have.
    pub headers: Vec<(String, String)>,
    /// The model that the request names, exactly.
    pub model: Option<String>,
}

/// Whether a request belongs to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// That depends on a model that only its body can name.
    Unread,
}

impl RouteMatch {
    /// Whether the request belongs here.
    #[must_use]
    pub fn fit<H: HeaderLookup>(&self, sig: &Signature<'_, H>) -> Fit {
        let fits = self.fits_path(sig.path)
            && self.fits_host(sig.host)
            && self
                .headers
                .iter()
                .all(|(name, value)| sig.headers.only(name) == Some(value));
        match (&self.model, sig.model) {
            _ if !fits => Fit::No,
            (None, _) => Fit::Yes,
            (Some(_), Model::Unread) => Fit::Unread,
            (Some(want), Model::Named(model)) if want == model => Fit::Yes,
            (Some(_), Model::Named(_) | Model::None) => Fit::No,
        }
    }

    /// How narrow the match is; the table tries narrower ones first. A named host beats
    /// everything, then the longer path, then more headers, then a model.
    #[must_use]
    pub fn rank(&self) -> (bool, usize, usize, bool) {
        (
            !self.hosts.is_empty(),
            self.path_prefix.trim_end_matches('/').len(),
            self.headers.len(),
            self.model.is_some(),
        )
    }

    fn fits_path(&self, path: &str) -> bool {
        let prefix = self.path_prefix.trim_end_matches('/');
        match path.strip_prefix(prefix) {
            Some(rest) => rest.is_empty() || prefix.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    fn fits_host(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|want| fits_one_host(want, host))
    }
}

fn fits_one_host(want: &str, host: &str) -> bool {
    match want.strip_prefix('*') {
        Some(suffix) => {
            host.len() > suffix.len()
                && host
                    .get(host.len() - suffix.len()..)
                    .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        }
        None => want.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Fit, RouteMatch};
    use crate::route::signature::{HeaderLookup, Model, Signature};

    impl HeaderLookup for HashMap<&str, &str> {
        fn only(&self, name: &str) -> Option<&str> {
            self.get(name).copied()
        }
    }

    fn hit(rule: &RouteMatch, host: &str, path: &str, headers: &[(&str, &str)]) -> bool {
        let headers: HashMap<&str, &str> = headers.iter().copied().collect();
        rule.fit(&Signature::new(host, path, &headers, 0)) == Fit::Yes
    }

    #[test]
    fn a_model_matches_exactly_and_only_once_it_is_known() {
        let rule = RouteMatch {
            path_prefix: "/v1".into(),
            model: Some("meta/llama".into()),
            ..Default::default()
        };
        let headers = HashMap::new();
        for (model, path, fit) in [
            (Model::Named("meta/llama"), "/v1/chat/completions", Fit::Yes),
            (Model::Named("meta/Llama"), "/v1/chat/completions", Fit::No),
            (Model::Named("meta/llama2"), "/v1/chat/completions", Fit::No),
            (Model::Named(""), "/v1/chat/completions", Fit::No),
            (Model::None, "/v1/chat/completions", Fit::No),
            (Model::Unread, "/v1/chat/completions", Fit::Unread),
            (Model::Unread, "/v2", Fit::No),
        ] {
            let sig = Signature { model, ..Signature::new("h", path, &headers, 0) };
            assert_eq!(rule.fit(&sig), fit, "{model:?}");
        }
        let any = RouteMatch { path_prefix: "/v1".into(), ..Default::default() };
        assert!(rule.rank() > any.rank());
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let rule =
            RouteMatch { path_prefix: "/v2/models/iris".into(), ..Default::default() };
        assert!(hit(&rule, "h", "/v2/models/iris", &[]));
        assert!(hit(&rule, "h", "/v2/models/iris/infer", &[]));
        assert!(!hit(&rule, "h", "/v2/models/iris2/infer", &[]));
        assert!(!hit(&rule, "h", "/v2", &[]));
        let all = RouteMatch { path_prefix: "/".into(), ..Default::default() };
        assert!(
            hit(&all, "h", "/x", &[]) && hit(&all, "", "*", &[]) == "*".starts_with("")
        );
    }

    #[test]
    fn hosts_match_without_case_and_by_wildcard() {
        let rule = RouteMatch {
            hosts: vec!["a.example".into(), "*.b.example".into()],
            ..Default::default()
        };
        assert!(hit(&rule, "A.Example", "/", &[]));
        assert!(hit(&rule, "x.y.b.example", "/", &[]));
        assert!(!hit(&rule, "b.example", "/", &[]));
        assert!(!hit(&rule, "xb.example", "/", &[]));
        assert!(!hit(&rule, "", "/", &[]));
    }

    #[test]
    fn headers_match_exactly() {
        let rule = RouteMatch {
            headers: vec![("x-team".into(), "risk".into())],
            ..Default::default()
        };
        assert!(hit(&rule, "h", "/", &[("x-team", "risk")]));
        assert!(!hit(&rule, "h", "/", &[("x-team", "Risk")]));
        assert!(!hit(&rule, "h", "/", &[]));
    }
}

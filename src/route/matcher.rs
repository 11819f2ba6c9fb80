//! Which requests belong to a route: host, path prefix and headers, most specific first.

use super::signature::{HeaderLookup, Signature};

/// What a request must look like to belong to a route. Empty parts match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMatch {
    /// Host names without port, lower case; `*.example.com` matches one or more labels.
    pub hosts: Vec<String>,
    /// The path must be this, or go on after it at a `/`.
    pub path_prefix: String,
    /// Header names (lower case) and the exact values they must have.
    pub headers: Vec<(String, String)>,
}

impl RouteMatch {
    /// Whether the request belongs here.
    #[must_use]
    pub fn matches<H: HeaderLookup>(&self, sig: &Signature<'_, H>) -> bool {
        self.fits_path(sig.path)
            && self.fits_host(sig.host)
            && self
                .headers
                .iter()
                .all(|(name, value)| sig.headers.only(name) == Some(value))
    }

    /// How narrow the match is; the table tries narrower ones first. A named host beats
    /// everything, then the longer path, then more headers.
    #[must_use]
    pub fn rank(&self) -> (bool, usize, usize) {
        (
            !self.hosts.is_empty(),
            self.path_prefix.trim_end_matches('/').len(),
            self.headers.len(),
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

    use super::RouteMatch;
    use crate::route::signature::{HeaderLookup, Signature};

    impl HeaderLookup for HashMap<&str, &str> {
        fn only(&self, name: &str) -> Option<&str> {
            self.get(name).copied()
        }
    }

    fn hit(rule: &RouteMatch, host: &str, path: &str, headers: &[(&str, &str)]) -> bool {
        let headers: HashMap<&str, &str> = headers.iter().copied().collect();
        rule.matches(&Signature { host, path, headers: &headers, coin: 0 })
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
